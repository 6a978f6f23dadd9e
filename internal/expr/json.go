package expr

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// maxJSONDepth is how deep lists and objects of a result may stand in one another.
const maxJSONDepth = 100

// writeJSON writes a result as JSON (RFC 8259): object keys sorted, so that equal values are equal bytes; bytes as
// base64, timestamps as RFC 3339, durations as seconds with an s, an empty optional as null. It refuses what has
// no such form (NaN, infinity, types), depth, and what grows beyond limit bytes: it stops there, so that neither
// memory nor time goes beyond what the bytes are worth.
func writeJSON(value any, limit int) ([]byte, error) {
	w := writer{limit: limit}
	if err := w.value(value); err != nil {
		return nil, err
	}
	return w.out, nil
}

type writer struct {
	out   []byte
	limit int
	depth int
}

func (w *writer) room(n int) error {
	if n > w.limit-len(w.out) {
		return failuref("the result is larger than %d bytes of JSON", w.limit)
	}
	return nil
}

func (w *writer) raw(s string) error {
	if err := w.room(len(s)); err != nil {
		return err
	}
	w.out = append(w.out, s...)
	return nil
}

// value takes a value of CEL, or one of a body's as decodeJSON gives it.
func (w *writer) value(value any) error {
	switch v := value.(type) {
	case nil, types.Null:
		return w.raw("null")
	case bool:
		return w.raw(strconv.FormatBool(v))
	case types.Bool:
		return w.raw(strconv.FormatBool(bool(v)))
	case int64:
		return w.raw(strconv.FormatInt(v, 10))
	case types.Int:
		return w.raw(strconv.FormatInt(int64(v), 10))
	case uint64:
		return w.raw(strconv.FormatUint(v, 10))
	case types.Uint:
		return w.raw(strconv.FormatUint(uint64(v), 10))
	case float64:
		return w.double(v)
	case types.Double:
		return w.double(float64(v))
	case string:
		return w.string(v)
	case types.String:
		return w.string(string(v))
	case types.Bytes:
		if err := w.room(base64.StdEncoding.EncodedLen(len(v))); err != nil {
			return err
		}
		return w.string(base64.StdEncoding.EncodeToString(v))
	case types.Timestamp:
		return w.string(v.UTC().Format(time.RFC3339Nano))
	case types.Duration:
		return w.string(strconv.FormatFloat(v.Seconds(), 'f', -1, 64) + "s")
	case *types.Optional:
		if !v.HasValue() {
			return w.raw("null")
		}
		return w.value(v.GetValue())
	}
	return w.compound(value)
}

func (w *writer) compound(value any) error {
	if w.depth++; w.depth > maxJSONDepth {
		return failuref("the result is nested deeper than %d", maxJSONDepth)
	}
	defer func() { w.depth-- }()
	switch v := value.(type) {
	case []any:
		return w.list(func(each folder) {
			for i, element := range v {
				if !each.FoldEntry(i, element) {
					return
				}
			}
		})
	case traits.Lister:
		return w.list(func(each folder) { types.ToFoldableList(v).Fold(each) })
	case map[string]any:
		return w.object(len(v), func(each folder) {
			for key, element := range v {
				if !each.FoldEntry(key, element) {
					return
				}
			}
		})
	case traits.Mapper:
		size, _ := v.Size().(types.Int)
		return w.object(int(size), func(each folder) { types.ToFoldableMap(v).Fold(each) })
	case *eventValue:
		return w.object(len(eventFields), func(each folder) {
			for _, f := range eventFields {
				each.FoldEntry(f.name, f.get(v))
			}
		})
	}
	if _, ok := value.(ref.Val); !ok {
		if adapted := types.DefaultTypeAdapter.NativeToValue(value); !types.IsError(adapted) {
			return w.value(adapted)
		}
	}
	return failuref("the result has a value without a JSON form")
}

// A folder is called for each entry of a list or map.
type folder func(key, element any) bool

// FoldEntry makes a folder what CEL calls.
func (f folder) FoldEntry(key, element any) bool { return f(key, element) }

func (w *writer) list(fold func(folder)) error {
	err := w.raw("[")
	first := true
	fold(func(_, element any) bool {
		if err == nil && !first {
			err = w.raw(",")
		}
		first = false
		if err == nil {
			err = w.value(element)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	return w.raw("]")
}

type member struct {
	key   string
	value any
}

func (w *writer) object(size int, fold func(folder)) error {
	// Each member takes five bytes at least ("":0 and what parts it): what cannot fit is not even sorted.
	if err := w.room(5 * size); err != nil {
		return err
	}
	members := make([]member, 0, size)
	var err error
	fold(func(key, value any) bool {
		var name string
		if name, err = keyText(key); err == nil {
			members = append(members, member{name, value})
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.key, b.key) })
	if err := w.raw("{"); err != nil {
		return err
	}
	for i, m := range members {
		if i > 0 {
			if m.key == members[i-1].key {
				return failuref("the result has a map with two keys that are the same text")
			}
			if err := w.raw(","); err != nil {
				return err
			}
		}
		if err := w.string(m.key); err != nil {
			return err
		}
		if err := w.raw(":"); err != nil {
			return err
		}
		if err := w.value(m.value); err != nil {
			return err
		}
	}
	return w.raw("}")
}

// keyText is a map key as JSON has it, which knows only strings.
func keyText(key any) (string, error) {
	switch k := key.(type) {
	case string:
		return k, nil
	case types.String:
		return string(k), nil
	case types.Int:
		return strconv.FormatInt(int64(k), 10), nil
	case types.Uint:
		return strconv.FormatUint(uint64(k), 10), nil
	case types.Bool:
		return strconv.FormatBool(bool(k)), nil
	}
	if _, ok := key.(ref.Val); !ok {
		return keyText(types.DefaultTypeAdapter.NativeToValue(key))
	}
	return "", failuref("the result has a map key that is not a string, an integer or a boolean")
}

// double writes the shortest form that reads back as the same number, without an exponent where encoding/json has none.
func (w *writer) double(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return failuref("the result has a number that JSON cannot say: NaN or infinity")
	}
	if f == 0 {
		return w.raw("0") // a zero with a sign reads back as an integer, which has none
	}
	form := byte('f')
	if size := math.Abs(f); size < 1e-6 || size >= 1e21 {
		form = 'e'
	}
	return w.raw(strconv.FormatFloat(f, form, -1, 64))
}

func (w *writer) string(s string) error {
	if err := w.room(len(s) + 2); err != nil {
		return err
	}
	const digits = "0123456789abcdef"
	w.out = append(w.out, '"')
	clean := 0 // s[clean:i] needs no escape
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			if c >= ' ' && c != '"' && c != '\\' {
				continue
			}
			w.out = append(w.out, s[clean:i-1]...)
			switch c {
			case '"', '\\':
				w.out = append(w.out, '\\', c)
			case '\n':
				w.out = append(w.out, '\\', 'n')
			case '\r':
				w.out = append(w.out, '\\', 'r')
			case '\t':
				w.out = append(w.out, '\\', 't')
			default:
				w.out = append(w.out, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
			}
			clean = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			w.out = append(w.out, s[clean:i]...)
			w.out = append(w.out, `\ufffd`...)
			clean = i + 1
		}
		i += size
	}
	w.out = append(w.out, s[clean:]...)
	w.out = append(w.out, '"')
	return w.room(0)
}
