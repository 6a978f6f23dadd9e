package signature

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// A KeyForm says how the secret that a user pastes becomes the key. It is a fact of the provider and never guessed:
// Stripe takes whsec_… verbatim, Standard Webhooks decodes it.
type KeyForm string

// The forms of keys.
const (
	KeyUTF8   KeyForm = "utf8"   // the text's bytes, verbatim
	KeyHex    KeyForm = "hex"    // hex text
	KeyBase64 KeyForm = "base64" // padded standard base64
	KeyWhsec  KeyForm = "whsec"  // the same, perhaps after whsec_
)

// WhsecPrefix begins the secrets of Standard Webhooks.
const WhsecPrefix = "whsec_"

func (f KeyForm) valid() bool {
	return f == KeyUTF8 || f == KeyHex || f == KeyBase64 || f == KeyWhsec
}

// Decode gives the key of a secret. It refuses an empty one, with which anybody could sign. The error says what is
// wrong with the form and holds nothing of the secret.
func (f KeyForm) Decode(secret []byte) ([]byte, error) {
	key, err := f.decode(secret)
	if err != nil {
		return nil, err
	}
	if len(key) == 0 {
		return nil, errors.New("the secret is empty")
	}
	return key, nil
}

func (f KeyForm) decode(secret []byte) ([]byte, error) {
	switch f {
	case KeyUTF8:
		return secret, nil
	case KeyHex:
		key := make([]byte, hex.DecodedLen(len(secret)))
		if _, err := hex.Decode(key, secret); err != nil {
			return nil, errors.New("the secret is not hex text: an even number of 0-9 and a-f")
		}
		return key, nil
	case KeyBase64:
		return decodeBase64Key(secret, "the secret is not base64 text with its padding")
	default:
		text := secret
		if strings.HasPrefix(string(secret), WhsecPrefix) {
			text = secret[len(WhsecPrefix):]
		}
		return decodeBase64Key(text, "the secret is not base64 text with its padding, perhaps after whsec_")
	}
}

func decodeBase64Key(text []byte, problem string) ([]byte, error) {
	key := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(key, text)
	if err != nil {
		return nil, errors.New(problem)
	}
	return key[:n], nil
}
