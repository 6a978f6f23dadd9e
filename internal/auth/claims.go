package auth

import (
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tributary-hub/tributary/internal/hub"
)

const (
	// leeway is for issuers whose clock is ahead of ours: for nbf and iat. An expired token is given none.
	leeway = 5 * time.Minute
	// maxSubject is OpenID Connect Core 1.0, 2: at most 255 characters.
	maxSubject = 255
	// maxTime is the last second of the year 9999; what is later was not meant as seconds.
	maxTime = 253402300799
)

// times of a token. Issued is zero where it does not say.
type times struct {
	issued, expires time.Time
}

// checkUse refuses what is signed by the same key and is no credential of a user: logout tokens and other security
// events (RFC 8417), and tokens bound to a key that their bearer would have to prove (RFC 7800).
func checkUse(claims map[string]any) error {
	if _, ok := claims["events"]; ok {
		return refused("the token is a security event, such as a logout token")
	}
	if _, ok := claims["cnf"]; ok {
		return refused("the token is bound to a key (cnf), which nobody proves here")
	}
	return nil
}

// checkTimes reads exp, nbf and iat (RFC 7519, 4.1).
func checkTimes(claims map[string]any, now time.Time) (times, error) {
	expires, ok, err := numericDate(claims, "exp")
	switch {
	case err != nil:
		return times{}, err
	case !ok:
		return times{}, refused("the token has no exp")
	case !now.Before(expires):
		return times{}, refused("the token has expired")
	}
	notBefore, _, err := numericDate(claims, "nbf")
	if err != nil {
		return times{}, err
	}
	if notBefore.After(now.Add(leeway)) {
		return times{}, refused("the token is not valid yet (nbf)")
	}
	issued, _, err := numericDate(claims, "iat")
	if err != nil {
		return times{}, err
	}
	if issued.After(now.Add(leeway)) {
		return times{}, refused("the token was issued in the future (iat)")
	}
	return times{issued: issued, expires: expires}, nil
}

// numericDate reads seconds since 1970; a fraction is cut off.
func numericDate(claims map[string]any, name string) (at time.Time, ok bool, err error) {
	value, ok := claims[name]
	if !ok {
		return time.Time{}, false, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, false, refused("the token's " + name + " is not a number")
	}
	seconds, err := number.Float64()
	if err != nil || seconds < 0 || seconds > maxTime {
		return time.Time{}, false, refused("the token's " + name + " is not a time in seconds")
	}
	return time.Unix(int64(seconds), 0).UTC(), true, nil
}

// subject reads sub. What cannot be told apart, or not be written down, is no subject.
func subject(claims map[string]any) (string, error) {
	sub, _ := claims["sub"].(string)
	switch {
	case sub == "":
		return "", refused("the token has no sub")
	case len(sub) > maxSubject:
		return "", refused("the token's sub is longer than 255 bytes")
	case strings.ContainsFunc(sub, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }):
		return "", refused("the token's sub has characters that no name has")
	}
	return sub, nil
}

// checkRow judges the token by one row of its issuer: whom it is for, and what the row wants besides.
func checkRow(claims map[string]any, row hub.Issuer) error {
	if err := checkAudience(claims, row); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(row.RequiredClaims)) {
		if got, ok := claimAt(claims, path); !ok || !equal(got, row.RequiredClaims[path]) {
			return hub.Errorf(hub.Unauthenticated, "the token lacks a claim that the issuer's row requires, or its value: %s", path)
		}
	}
	return nil
}

func checkAudience(claims map[string]any, row hub.Issuer) error {
	audiences, err := audiencesOf(claims)
	if err != nil {
		return err
	}
	for _, audience := range audiences {
		if slices.Contains(row.Audiences, audience) {
			return nil
		}
	}
	if party := partyOf(claims); party != "" && slices.Contains(row.AuthorizedParties, party) {
		return nil
	}
	switch {
	case len(row.AuthorizedParties) == 0:
		return refused("the token's aud is none of the issuer's audiences")
	case len(row.Audiences) == 0:
		return refused("the token's azp (or, without one, its client_id) is none of the issuer's authorized parties")
	default:
		return refused("neither the token's aud nor its azp (or, without one, its client_id) is one of the issuer's row")
	}
}

// partyOf is whom the token was issued to: azp (OpenID Connect Core 1.0, 2), or, where there is none, client_id (RFC
// 9068, 2.2). Cognito's access tokens have nothing else that says whose they are. An azp that is no string is nobody.
func partyOf(claims map[string]any) string {
	party, ok := claims["azp"]
	if !ok {
		party = claims["client_id"]
	}
	name, _ := party.(string)
	return name
}

func audiencesOf(claims map[string]any) ([]string, error) {
	switch value := claims["aud"].(type) {
	case nil:
		return nil, nil
	case string:
		return []string{value}, nil
	case []any:
		audiences := make([]string, 0, len(value))
		for _, element := range value {
			audience, ok := element.(string)
			if !ok {
				return nil, refused("the token's aud is not a string or a list of strings")
			}
			audiences = append(audiences, audience)
		}
		return audiences, nil
	default:
		return nil, refused("the token's aud is not a string or a list of strings")
	}
}

// claimAt finds a claim by its path: realm.name is name inside of realm. A claim that has the whole path as its name,
// as those with a URL for a name do, comes first.
func claimAt(claims map[string]any, path string) (any, bool) {
	if value, ok := claims[path]; ok {
		return value, true
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		if inner, ok := claims[path[:i]].(map[string]any); ok {
			if value, ok := claimAt(inner, path[i+1:]); ok {
				return value, true
			}
		}
	}
	return nil, false
}

// equal compares a claim with what a row says. Numbers are equal by value, whatever decoded them; one that a float64
// does not hold exactly is equal to none.
func equal(got, want any) bool {
	if a, ok := number(got); ok {
		b, ok := number(want)
		return ok && a == b && math.Abs(a) < 1<<53
	}
	switch got := got.(type) {
	case []any:
		want, ok := want.([]any)
		return ok && slices.EqualFunc(got, want, equal)
	case map[string]any:
		want, ok := want.(map[string]any)
		if !ok || len(got) != len(want) {
			return false
		}
		for name, value := range got {
			other, ok := want[name]
			if !ok || !equal(value, other) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(got, want)
	}
}

func number(value any) (float64, bool) {
	switch n := value.(type) {
	case json.Number:
		f, err := n.Float64()
		return f, err == nil
	case float64:
		return n, true
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	default:
		return 0, false
	}
}
