package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/tributary-hub/tributary/internal/egress"
	"github.com/tributary-hub/tributary/internal/hub"
)

// maxToken bounds a token, in bytes: what a header may hold anyway.
const maxToken = 16 << 10

// token is a token taken apart, of which nothing is verified yet. What it carries of keys and addresses of keys (jwk,
// jku, x5c, x5u) is nobody's business: the issuer's row says where its keys are.
type token struct {
	raw    string
	jws    *jose.JSONWebSignature
	keyID  string
	alg    string
	claims map[string]any // numbers are json.Number; names are told apart by case
}

// parseToken reads the compact form of a signed token (RFC 7515, 7.1), and only that.
func parseToken(raw string) (*token, error) {
	switch {
	case len(raw) > maxToken:
		return nil, refused("the token is longer than 16 KiB")
	case !isCompact(raw):
		return nil, refused("the token is not three parts of base64url between dots")
	}
	jws, err := jose.ParseSignedCompact(raw, algorithms())
	if unexpected, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok && unexpected != nil {
		return nil, refused("the token is not signed with an asymmetric algorithm that we take")
	}
	if err != nil || len(jws.Signatures) != 1 {
		return nil, refused("the token's header is not one of a signed JWT")
	}
	header := jws.Signatures[0].Protected
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	claims, err := parseClaims(jws.UnsafePayloadWithoutVerification()) // the bytes that verify is to judge
	if err != nil {
		return nil, err
	}
	return &token{raw: raw, jws: jws, keyID: header.KeyID, alg: header.Algorithm, claims: claims}, nil
}

func algorithms() []jose.SignatureAlgorithm {
	names := egress.Algorithms()
	algorithms := make([]jose.SignatureAlgorithm, len(names))
	for i, name := range names {
		algorithms[i] = jose.SignatureAlgorithm(name)
	}
	return algorithms
}

// isCompact is stricter than the parser, which skips line ends.
func isCompact(raw string) bool {
	dots := 0
	for i := range len(raw) {
		c := raw[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.':
			dots++
		default:
			return false
		}
	}
	return dots == 2
}

// checkHeader refuses tokens that are made for another use, and headers that would change how the token is read.
func checkHeader(header jose.Header) error {
	if kind, ok := header.ExtraHeaders[jose.HeaderType]; ok {
		name, _ := kind.(string)
		if !strings.EqualFold(name, "JWT") && !strings.EqualFold(name, "at+jwt") {
			return refused("the token's typ is neither JWT nor at+jwt")
		}
	}
	for _, name := range []jose.HeaderKey{"crit", "b64", "enc", "zip"} {
		if _, ok := header.ExtraHeaders[name]; ok {
			return refused("the token's header has an extension that we do not take")
		}
	}
	return nil
}

func parseClaims(payload []byte) (map[string]any, error) {
	if !utf8.Valid(payload) { // a decoder would put the same character for whatever is not
		return nil, refused("the token's claims are not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	var claims map[string]any
	if err := decoder.Decode(&claims); err != nil || claims == nil {
		return nil, refused("the token's claims are not a JSON object")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, refused("the token's claims are not a JSON object")
	}
	return claims, nil
}

// refused says which rule a token breaks. The text never repeats what the token says.
func refused(sentence string) error {
	return hub.Errorf(hub.Unauthenticated, "%s", sentence)
}
