package signature_test

import (
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/signature"
)

func TestKeyForm(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		form   signature.KeyForm
		secret string
		want   string // "": refused
	}{
		{"verbatim", signature.KeyUTF8, "whsec_abc", "whsec_abc"},
		{"verbatim, with its blanks", signature.KeyUTF8, " a ", " a "},
		{"hex", signature.KeyHex, "6b6579", "key"},
		{"upper-case hex", signature.KeyHex, "6B6579", "key"},
		{"odd hex", signature.KeyHex, "6b657", ""},
		{"no hex", signature.KeyHex, "key!", ""},
		{"base64", signature.KeyBase64, "a2V5IQ==", "key!"},
		{"base64 does not take whsec_", signature.KeyBase64, "whsec_a2V5IQ==", ""},
		{"base64 without padding", signature.KeyBase64, "a2V5IQ", ""},
		{"whsec", signature.KeyWhsec, "whsec_a2V5IQ==", "key!"},
		{"whsec without the prefix", signature.KeyWhsec, "a2V5IQ==", "key!"},
		{"whsec twice", signature.KeyWhsec, "whsec_whsec_a2V5IQ==", ""},
		{"whsec that is no base64", signature.KeyWhsec, "whsec_key!", ""},
		{"empty", signature.KeyUTF8, "", ""},
		{"empty hex", signature.KeyHex, "", ""},
		{"empty behind whsec_", signature.KeyWhsec, "whsec_", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.form.Decode([]byte(tc.secret))
			if (err != nil) != (tc.want == "") || string(got) != tc.want {
				t.Errorf("%q, %v; want %q", got, err, tc.want)
			}
			if err != nil && tc.secret != "" && strings.Contains(err.Error(), tc.secret) && tc.secret != "whsec_" {
				t.Errorf("the error repeats the secret: %v", err)
			}
		})
	}
}
