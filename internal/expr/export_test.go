package expr

// What tests reach from outside.
var (
	DecodeJSON    = decodeJSON
	WriteJSON     = writeJSON
	ParseBody     = parseBody
	SplitTemplate = splitTemplate
	Instructions  = instructions
)

const (
	MaxBodyDepth = maxBodyDepth
	MaxJSONDepth = maxJSONDepth
	MaxPatterns  = maxPatterns
)

// Text and IsExpression let tests read fragments.
func (f fragment) Text() string       { return f.text }
func (f fragment) IsExpression() bool { return f.expression }

// BodyParsed says whether an expression has looked at the event's body: if none has, none will find one now.
func (e *Event) BodyParsed() bool {
	parsed := true
	e.value.bodyOnce.Do(func() { parsed = false })
	return parsed
}
