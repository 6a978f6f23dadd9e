package expr

import (
	"encoding/json"
	"math"
	"strings"

	"cel.dev/cel-go/cel"
)

// Claims are the claims of one token as expressions see them.
type Claims struct{ values map[string]any }

// ClaimsOf takes claims as a JSON decoder gives them. A number without a fraction is an integer, whether it came
// as json.Number or as float64; as float64 only below 2^53, since a larger one may already be another number than
// the issuer wrote, and two users would meet in one channel.
func ClaimsOf(claims map[string]any) *Claims {
	values := make(map[string]any, len(claims))
	for name, value := range claims {
		values[name] = exact(value)
	}
	return &Claims{values}
}

func exact(value any) any {
	switch v := value.(type) {
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	case json.Number:
		text := v.String()
		return number(text, !strings.ContainsAny(text, ".eE"))
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = exact(element)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, element := range v {
			object[name] = exact(element)
		}
		return object
	}
	return value
}

func (c *Claims) activation() cel.Activation { return c }

// ResolveName gives the variable claims.
func (c *Claims) ResolveName(name string) (any, bool) {
	if name == "claims" {
		return c.values, true
	}
	return nil, false
}

// Parent is none: there are no other variables.
func (c *Claims) Parent() cel.Activation { return nil }
