package provider

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"iter"
	"strings"

	"github.com/tributary-hub/tributary/internal/signature"
)

// A keyVariant is a key that the secret would be if it had been pasted or read otherwise.
type keyVariant struct {
	key []byte
	how string // completes "the signature fits the secret …"
}

// keyVariants gives the forms in which one secret is mistaken for another.
func keyVariants(form signature.KeyForm, secret []byte) []keyVariant {
	var out []keyVariant
	add := func(key []byte, how string) {
		if len(key) > 0 {
			out = append(out, keyVariant{key, how})
		}
	}
	for _, v := range []struct{ text, how string }{
		{strings.TrimSpace(string(secret)), "without the white space at its ends: paste it again without"},
		{strings.Trim(strings.TrimSpace(string(secret)), `"'`), "without the quotation marks around it: paste it again without"},
		{string(secret) + "\n", "with a line break at its end: the sender has it with one"},
	} {
		if v.text == string(secret) {
			continue
		}
		if key, err := form.Decode([]byte(v.text)); err == nil {
			add(key, v.how)
		}
	}
	text := strings.TrimSpace(string(secret))
	bare := strings.TrimPrefix(text, signature.WhsecPrefix)
	if form != signature.KeyUTF8 {
		add([]byte(text), "taken as plain text: the sender does not decode it")
		add([]byte(bare), "taken as plain text after whsec_: the sender does not decode it")
	}
	if key, err := base64.StdEncoding.DecodeString(bare); err == nil {
		add(key, "decoded from base64: the sender follows another scheme than this preset")
	}
	if key, err := hex.DecodeString(text); err == nil {
		add(key, "decoded from hex: the sender follows another scheme than this preset")
	}
	if bare != text {
		add([]byte(bare), "without whsec_: the sender leaves the prefix out")
	} else {
		add([]byte(signature.WhsecPrefix+text), "with whsec_ before it: paste the secret with its prefix")
	}
	return out
}

// A bodyVariant is a body as it may have been before something on the way rewrote it.
type bodyVariant struct {
	body []byte
	how  string // completes "the signature fits the body …"
}

// bodyVariants gives them one by one, since each costs a copy.
func bodyVariants(body []byte) iter.Seq[bodyVariant] {
	return func(yield func(bodyVariant) bool) {
		for _, v := range []struct {
			how   string
			write func([]byte) []byte
		}{
			{"without the line break at its end", func(b []byte) []byte { return bytes.TrimRight(b, "\r\n") }},
			{"with a line break at its end", func(b []byte) []byte { return append(bytes.Clone(b), '\n') }},
			{"with LF line ends instead of CRLF", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }},
			{"as compact JSON", compactJSON},
			{"as JSON indented by two blanks", indentJSON},
			{"as JSON with a blank after commas and colons", spacedJSON},
			{"as compact JSON with < > & escaped", func(b []byte) []byte { return escapeHTML(compactJSON(b)) }},
			{"as compact JSON with slashes escaped", func(b []byte) []byte { return bytes.ReplaceAll(compactJSON(b), []byte("/"), []byte(`\/`)) }},
			{"emptied: the signature was made over nothing", func([]byte) []byte { return []byte{} }},
		} {
			other := v.write(body)
			if other == nil || bytes.Equal(other, body) {
				continue
			}
			if !yield(bodyVariant{other, v.how}) {
				return
			}
		}
	}
}

// compactJSON and its like give nil for what is not JSON.
func compactJSON(body []byte) []byte {
	doc := document{body: body}
	if !doc.isJSON() {
		return nil
	}
	var out bytes.Buffer
	if json.Compact(&out, body) != nil {
		return nil
	}
	return out.Bytes()
}

func indentJSON(body []byte) []byte {
	compact := compactJSON(body)
	if compact == nil {
		return nil
	}
	var out bytes.Buffer
	if json.Indent(&out, compact, "", "  ") != nil {
		return nil
	}
	return out.Bytes()
}

// spacedJSON is how Python writes JSON.
func spacedJSON(body []byte) []byte {
	compact := compactJSON(body)
	if compact == nil {
		return nil
	}
	out := make([]byte, 0, len(compact)+len(compact)/8)
	quoted := false
	for i := 0; i < len(compact); i++ {
		c := compact[i]
		out = append(out, c)
		switch {
		case quoted && c == '\\':
			i++ // Compact left a valid text: there is one more
			out = append(out, compact[i])
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == ':'):
			out = append(out, ' ')
		}
	}
	return out
}

func escapeHTML(body []byte) []byte {
	if body == nil {
		return nil
	}
	var out bytes.Buffer
	json.HTMLEscape(&out, body)
	return out.Bytes()
}

// knownCredentials says by its beginning what else a pasted secret may be. A beginning is no secret.
var knownCredentials = []struct{ prefix, what string }{
	{"sk_live_", "a Stripe API key"},
	{"sk_test_", "a Stripe API key"},
	{"rk_live_", "a restricted Stripe API key"},
	{"rk_test_", "a restricted Stripe API key"},
	{"pk_live_", "a publishable Stripe key"},
	{"pk_test_", "a publishable Stripe key"},
	{"we_", "the id of a Stripe webhook endpoint"},
	{"whsec_", "a signing secret of Stripe or of Standard Webhooks"},
	{"shpat_", "a Shopify access token"},
	{"shpca_", "a Shopify access token"},
	{"shppa_", "a Shopify access token"},
	{"shpss_", "a Shopify client secret"},
	{"ghp_", "a GitHub access token"},
	{"gho_", "a GitHub access token"},
	{"github_pat_", "a GitHub access token"},
	{"xoxb-", "a Slack bot token"},
	{"xoxp-", "a Slack user token"},
	{"xapp-", "a Slack app token"},
}

// looksLike says what the secret seems to be instead of the provider's signing secret; "" where nothing speaks
// against it.
func (p *Provider) looksLike(secret string) string {
	for _, known := range knownCredentials {
		if !strings.HasPrefix(secret, known.prefix) || known.prefix == p.secretForm.prefix {
			continue
		}
		if p.UserSetsSecret && known.prefix == signature.WhsecPrefix {
			continue
		}
		return "begins with " + known.prefix + " like " + known.what + ", which is not what " + p.Title + " signs with"
	}
	if !strings.HasPrefix(secret, p.secretLooks) {
		return "does not begin with " + p.secretLooks + " as those of " + p.Title + " do"
	}
	return ""
}
