package expr

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/tributary-hub/tributary/internal/hub"
)

// An Event is one event as expressions see it. Headers and body are made when an expression first looks at them,
// once for all expressions. It is safe for concurrent use.
type Event struct{ value eventValue }

// NewEvent shows expressions an event: its own fields, headers and body, and the name of its endpoint. What carries
// a credential has been taken out of header and body before.
func NewEvent(event *hub.Event, endpoint string) *Event {
	return &Event{value: eventValue{event: event, endpoint: endpoint}}
}

func (e *Event) activation() cel.Activation { return &e.value }

// eventValue is both the variables of a route (there is one, event) and the value of that variable.
type eventValue struct {
	event    *hub.Event
	endpoint string

	headersOnce sync.Once
	headers     map[string]string
	bodyOnce    sync.Once
	body        any
}

// ResolveName gives the variable event.
func (v *eventValue) ResolveName(name string) (any, bool) {
	if name == "event" {
		return v, true
	}
	return nil, false
}

// Parent is none: there are no other variables.
func (v *eventValue) Parent() cel.Activation { return nil }

func (v *eventValue) lookHeaders() map[string]string {
	v.headersOnce.Do(func() { v.headers = headersOf(v.event.Header) })
	return v.headers
}

// headersOf has names in lower case and, for each, the values joined by commas, as RFC 9110 allows.
func headersOf(header http.Header) map[string]string {
	headers := make(map[string]string, len(header))
	for name, values := range header {
		name = strings.ToLower(name)
		if carriesCredential(name) {
			continue
		}
		text := strings.ToValidUTF8(strings.Join(values, ", "), "\uFFFD")
		if before, ok := headers[name]; ok {
			text = before + ", " + text
		}
		headers[name] = text
	}
	return headers
}

// carriesCredential is a second lock: such headers are sealed before an event is stored, and none should be here.
func carriesCredential(name string) bool {
	switch name {
	case "authorization", "cookie", "proxy-authorization":
		return true
	}
	return false
}

func (v *eventValue) lookBody() any {
	v.bodyOnce.Do(func() { v.body = parseBody(v.event.Header.Get("Content-Type"), v.event.Body) })
	return v.body
}

//nolint:gochecknoglobals // a type's description, never changed
var eventType = types.NewObjectType("tributary.Event")

// An eventField is one field of event. What is empty or zero counts as not set: has() is false and .? gives none.
type eventField struct {
	name string
	kind *types.Type
	get  func(*eventValue) any
}

var eventFields = []eventField{
	{"id", types.StringType, func(v *eventValue) any { return v.event.ID.String() }},
	{"provider_id", types.StringType, func(v *eventValue) any { return v.event.ProviderID }},
	{"type", types.StringType, func(v *eventValue) any { return v.event.Type }},
	{"provider", types.StringType, func(v *eventValue) any { return v.event.Provider }},
	{"endpoint", types.StringType, func(v *eventValue) any { return v.endpoint }},
	{"received_at", types.TimestampType, func(v *eventValue) any { return v.event.ReceivedAt.UTC() }},
	{"verified", types.BoolType, func(v *eventValue) any { return v.event.Verified }},
	{"headers", types.NewMapType(types.StringType, types.StringType), func(v *eventValue) any { return v.lookHeaders() }},
	{"body", types.DynType, func(v *eventValue) any { return v.lookBody() }},
}

// eventDescriptor tells CEL the fields of event, so that a misspelt one is found when a route is saved.
type eventDescriptor struct{ *types.Type }

// ReflectType is none: no Go value becomes an event by conversion.
func (eventDescriptor) ReflectType() reflect.Type { return nil }

// FieldNames lists the fields.
func (eventDescriptor) FieldNames() []string {
	names := make([]string, len(eventFields))
	for i, f := range eventFields {
		names[i] = f.name
	}
	return names
}

// FindFieldType gives a field's type and how to read it.
func (eventDescriptor) FindFieldType(name string) (*types.FieldType, bool) {
	for _, f := range eventFields {
		if f.name == name {
			return &types.FieldType{
				Type:    f.kind,
				IsSet:   func(target any) bool { return isSet(f.get(target.(*eventValue))) },
				GetFrom: func(target any) (any, error) { return f.get(target.(*eventValue)), nil },
			}, true
		}
	}
	return nil, false
}

func isSet(value any) bool {
	if text, ok := value.(string); ok {
		return text != ""
	}
	return value != nil
}

// NewValue refuses: expressions do not make events.
func (eventDescriptor) NewValue(types.Adapter, map[string]ref.Val) ref.Val {
	return wrong("an expression cannot make an event")
}

// Adapt gives the value as it is.
func (eventDescriptor) Adapt(_ types.Adapter, value any) ref.Val { return value.(*eventValue) }

// ConvertToNative refuses: nothing outside wants an event back.
func (v *eventValue) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fmt.Errorf("an event is not a %v", to)
}

// ConvertToType knows only type(event).
func (v *eventValue) ConvertToType(to ref.Type) ref.Val {
	if to == types.TypeType {
		return eventType
	}
	return wrong("an event cannot be converted")
}

// Equal compares by identity.
func (v *eventValue) Equal(other ref.Val) ref.Val { return types.Bool(other == ref.Val(v)) }

// Type is tributary.Event.
func (v *eventValue) Type() ref.Type { return eventType }

// Value is the event itself; the getters of its fields take it.
func (v *eventValue) Value() any { return v }
