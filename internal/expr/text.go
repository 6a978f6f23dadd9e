package expr

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/tributary-hub/tributary/internal/hub"
)

// maxText bounds what a function may make of texts, in bytes: more than a message takes serves nobody.
const maxText = hub.MaxMessageBytes

// texts declares the functions on strings that CEL's own extension has, under the same names, with bounds: that
// one computes first and counts later, and 'x'.replace(”, y) alone can fill a machine. And segment, which is ours.
// Offsets count characters, as everywhere in CEL.
func texts() cel.EnvOption {
	s, i, list := cel.StringType, cel.IntType, cel.ListType(cel.StringType)
	member := func(name, id string, result *cel.Type, run func(args ...ref.Val) ref.Val, args ...*cel.Type) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload(id, args, result, cel.FunctionBinding(run)))
	}
	options := []cel.EnvOption{
		member("charAt", "string_char_at_int", s, charAt, s, i),
		member("indexOf", "string_index_of_string", i, indexOf, s, s),
		member("indexOf", "string_index_of_string_int", i, indexOf, s, s, i),
		member("lastIndexOf", "string_last_index_of_string", i, lastIndexOf, s, s),
		member("lowerAscii", "string_lower_ascii", s, lowerASCII, s),
		member("upperAscii", "string_upper_ascii", s, upperASCII, s),
		member("trim", "string_trim", s, trim, s),
		member("substring", "string_substring_int", s, substring, s, i),
		member("substring", "string_substring_int_int", s, substring, s, i, i),
		member("replace", "string_replace_string_string", s, replace, s, s, s),
		member("replace", "string_replace_string_string_int", s, replace, s, s, s, i),
		member("split", "string_split_string", list, split, s, s),
		member("split", "string_split_string_int", list, split, s, s, i),
		member("join", "list_join", s, join, list),
		member("join", "list_join_string", s, join, list, s),
		cel.Function("segment", cel.Overload("segment_dyn", []*cel.Type{cel.DynType}, cel.DynType, cel.UnaryBinding(segment))),
	}
	return func(env *cel.Env) (*cel.Env, error) {
		var err error
		for _, option := range options {
			if env, err = option(env); err != nil {
				return nil, err
			}
		}
		return env, nil
	}
}

// ownFunctions are those of texts: their price is the weight of what they read and make.
var ownFunctions = []string{"charAt", "indexOf", "join", "lastIndexOf", "lowerAscii", "replace", "segment", "split", "substring", "trim", "upperAscii"}

func ownFunction(name string) bool {
	_, found := slices.BinarySearch(ownFunctions, name)
	return found
}

func text(v ref.Val) string { return string(v.(types.String)) }

func wrong(sentence string) ref.Val { return types.WrapErr(fault(sentence)) }

// offset turns a count of characters into one of bytes.
func offset(s string, characters types.Int) (int, bool) {
	if characters < 0 || characters > types.Int(len(s)) {
		return 0, false
	}
	at := 0
	for range characters {
		if at == len(s) {
			return 0, false
		}
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
	}
	return at, true
}

func charAt(args ...ref.Val) ref.Val {
	s := text(args[0])
	at, ok := offset(s, args[1].(types.Int))
	if !ok {
		return wrong("charAt: the string has no such index")
	}
	_, size := utf8.DecodeRuneInString(s[at:])
	return types.String(s[at : at+size])
}

func indexOf(args ...ref.Val) ref.Val {
	s, start := text(args[0]), 0
	if len(args) == 3 {
		from := args[2].(types.Int)
		if from < 0 {
			return wrong("indexOf: the offset is negative")
		}
		var ok bool
		if start, ok = offset(s, from); !ok {
			return types.Int(-1)
		}
	}
	at := strings.Index(s[start:], text(args[1]))
	if at < 0 {
		return types.Int(-1)
	}
	return types.Int(utf8.RuneCountInString(s[:start+at]))
}

func lastIndexOf(args ...ref.Val) ref.Val {
	s := text(args[0])
	at := strings.LastIndex(s, text(args[1]))
	if at < 0 {
		return types.Int(-1)
	}
	return types.Int(utf8.RuneCountInString(s[:at]))
}

func lowerASCII(args ...ref.Val) ref.Val {
	return types.String(strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, text(args[0])))
}

func upperASCII(args ...ref.Val) ref.Val {
	return types.String(strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - ('a' - 'A')
		}
		return r
	}, text(args[0])))
}

func trim(args ...ref.Val) ref.Val { return types.String(strings.TrimSpace(text(args[0]))) }

func substring(args ...ref.Val) ref.Val {
	s := text(args[0])
	start, ok := offset(s, args[1].(types.Int))
	end, reached := len(s), true
	if len(args) == 3 {
		end, reached = offset(s, args[2].(types.Int))
	}
	if !ok || !reached || start > end {
		return wrong("substring: the string has no such range")
	}
	return types.String(s[start:end])
}

func replace(args ...ref.Val) ref.Val {
	s, from, to, most := text(args[0]), text(args[1]), text(args[2]), -1
	if len(args) == 4 {
		most = clamp(args[3].(types.Int))
	}
	times := strings.Count(s, from)
	if most >= 0 {
		times = min(times, most)
	}
	// In int64 times (at most a MiB and one) times len(to) cannot overflow.
	if int64(len(s))+int64(times)*int64(len(to)-len(from)) > maxText {
		return wrong("replace: the result is too long")
	}
	return types.String(strings.Replace(s, from, to, most))
}

func split(args ...ref.Val) ref.Val {
	most := -1
	if len(args) == 3 {
		most = clamp(args[2].(types.Int))
	}
	return types.NewStringList(types.DefaultTypeAdapter, strings.SplitN(text(args[0]), text(args[1]), most))
}

func clamp(n types.Int) int {
	return int(min(max(n, -1), maxText))
}

func join(args ...ref.Val) ref.Val {
	separator := ""
	if len(args) == 2 {
		separator = text(args[1])
	}
	var b strings.Builder
	list := args[0].(traits.Lister)
	size := list.Size().(types.Int)
	for i := range size {
		if i > 0 {
			b.WriteString(separator)
		}
		element, ok := list.Get(i).(types.String)
		if !ok {
			return wrong("join: the list has an element that is not a string")
		}
		b.WriteString(string(element))
		if b.Len() > maxText {
			return wrong("join: the result is too long")
		}
	}
	return types.String(b.String())
}

// segment percent-encodes a string or integer so that it is one segment of a channel: every byte but
// A–Z a–z 0–9 . _ ~ @ - becomes %XX, the percent sign too, so that two values never meet. Null stays null and the
// empty string empty: both give nothing in braces.
func segment(value ref.Val) ref.Val {
	switch v := value.(type) {
	case types.String:
		return encodeSegment(string(v))
	case types.Int:
		return types.String(strconv.FormatInt(int64(v), 10))
	case types.Uint:
		return types.String(strconv.FormatUint(uint64(v), 10))
	case types.Null:
		return v
	}
	return wrong("segment takes a string or an integer")
}

func encodeSegment(s string) ref.Val {
	if len(s) > hub.MaxChannelLength {
		return wrong("segment: the string is longer than a channel")
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; unreserved(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return types.String(b.String())
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._~@-", c) >= 0
}
