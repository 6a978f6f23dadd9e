package expr

import (
	"context"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Template makes the name of a channel: text with expressions in braces, such as customer:{event.body.customer}.
type Template struct{ pieces []piece }

// A piece is text, or an expression where program is set.
type piece struct {
	text    string
	program *program
}

// Channel compiles a route's channel template, which stands at location in the request. Its plain text must be
// such that some value can make it a channel.
func (e *Env) Channel(location, source string) (*Template, error) {
	at := place{location: location}
	pieces, err := e.pieces(at, source, nil, types.StringKind, types.IntKind, types.UintKind, types.NullTypeKind)
	if err != nil {
		return nil, err
	}
	if err := hub.ValidateChannel(filled(pieces)); err != nil {
		return nil, at.errorf("%v", err)
	}
	return &Template{pieces}, nil
}

// pieces compiles a template's expressions. replace, where set, may say another text for what stands in a pair of
// braces, and whether it is plain; shift is by how much the other text is longer at its beginning.
func (e *Env) pieces(at place, source string, replace func(string) (text string, plain bool, shift int), kinds ...types.Kind) ([]piece, error) {
	if len(source) > hub.MaxExpressionBytes {
		return nil, at.errorf("a channel template has at most %d bytes", hub.MaxExpressionBytes)
	}
	fragments, where, problem := splitTemplate(source)
	if problem != "" {
		return nil, at.errorf("1:%d: %s", column(source, where)+1, problem)
	}
	pieces := make([]piece, 0, len(fragments))
	for _, f := range fragments {
		if !f.expression {
			pieces = append(pieces, piece{text: f.text})
			continue
		}
		text, plain, shift := f.text, false, 0
		if replace != nil {
			text, plain, shift = replace(f.text)
		}
		if plain {
			pieces = append(pieces, piece{text: text})
			continue
		}
		inside := place{location: at.location, column: column(source, f.at) - shift}
		p, err := e.compile(inside, text)
		if err != nil {
			return nil, err
		}
		if !p.gives(kinds...) {
			return nil, at.errorf("1:%d: a channel takes a string or an integer in braces, not a %s", column(source, f.at)+1, p.output)
		}
		pieces = append(pieces, piece{program: p})
	}
	return pieces, nil
}

// filled is the template with one letter for each pair of braces: what its plain text alone makes of a channel.
func filled(pieces []piece) string {
	var b strings.Builder
	for _, p := range pieces {
		if p.program == nil {
			b.WriteString(p.text)
		} else {
			b.WriteByte('x')
		}
	}
	return b.String()
}

// Name makes the channel's name. ok is false where an expression gave nothing (null, absent, empty): then there is
// no channel and nothing is wrong. The error is a *Failure, or the context's cause.
func (t *Template) Name(ctx context.Context, in Input) (name string, ok bool, err error) {
	var b strings.Builder
	for _, p := range t.pieces {
		text := p.text
		if p.program != nil {
			value, err := p.program.eval(ctx, in)
			if err == nil {
				text, err = segmentText(value)
			}
			if absent(err) || err == nil && text == "" {
				return "", false, nil
			}
			if err != nil {
				return "", false, err
			}
		}
		b.WriteString(text)
	}
	name = b.String()
	if err := hub.ValidateChannel(name); err != nil {
		return "", false, failuref("%v", err)
	}
	return name, true, nil
}

// Loops says whether an expression of the template can run long.
func (t *Template) Loops() bool {
	for _, p := range t.pieces {
		if p.program != nil && p.program.loops {
			return true
		}
	}
	return false
}

// segmentText is the text of a value in braces: "" for null and the empty optional, and never anything but what
// the value is.
func segmentText(value ref.Val) (string, error) {
	if optional, ok := value.(*types.Optional); ok && optional.HasValue() {
		return segmentText(optional.GetValue())
	}
	s, err := scalarText(value)
	if err != nil || s == "" || hub.IsSegment(s) {
		return s, err
	}
	return "", failuref("a value in braces has characters that a channel's segment cannot have; segment(…) encodes them")
}

func scalarText(value ref.Val) (string, error) {
	switch v := value.(type) {
	case types.String:
		return string(v), nil
	case types.Int, types.Uint:
		return string(v.ConvertToType(types.StringType).(types.String)), nil
	case types.Null:
		return "", nil
	case *types.Optional:
		return "", nil
	}
	return "", failuref("a channel takes a string or an integer in braces, not a %s", value.Type().TypeName())
}
