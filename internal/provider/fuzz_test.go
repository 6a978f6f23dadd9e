package provider_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

// FuzzVerify feeds every provider any header and body. A verdict is either good or has a cause, a sentence and no
// dedup key; the only request of a fuzzer that may verify is one that holds the very signature of its body.
func FuzzVerify(f *testing.F) {
	for _, v := range readJSON[[]vector](f, "testdata/vectors.json") {
		for name, value := range v.Headers {
			f.Add(v.Preset, name, value, v.BodyBase64)
		}
	}
	const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u"
	f.Fuzz(func(t *testing.T, name, field, value string, body []byte) {
		p, ok := provider.Get(name)
		if !ok {
			return
		}
		genuine, err := p.Sign(secret, body, at, provider.SignOptions{Type: "x", ID: "1", Config: p.Example})
		if err != nil {
			t.Fatal(err)
		}
		r := provider.Request{
			Method: http.MethodPost, Header: genuine.Clone(), Body: body, At: at, Config: p.Example,
			Secrets: []provider.Secret{active(secret), candidate(secret)},
		}
		if v := p.Verify(r); !v.OK && v.Cause != hub.HandshakeFailed {
			t.Fatalf("genuine and refused: %s %s", v.Cause, v.Detail)
		}
		r.Header.Set(field, value)
		v := p.Verify(r)
		signature := signatureHeader(p)
		switch {
		case v.OK && !holdsSignature(r.Header.Values(signature), genuine.Get(signature)):
			t.Errorf("accepted %q", r.Header.Values(signature))
		case !v.OK && (v.Cause == "" || v.Detail == "" || v.Dedup != hub.Dedup{} || v.Handshake != nil || v.Err() == nil):
			t.Errorf("refused with %+v", v)
		case v.OK && v.Handshake == nil && v.Dedup == hub.Dedup{}:
			t.Error("accepted without a dedup key")
		}
		if len(p.Explain(r)) == 0 {
			t.Error("nothing to say")
		}
		p.Redact(body)
	})
}

// holdsSignature says whether one of the lines holds the genuine signature's text; hex may have either case.
func holdsSignature(lines []string, genuine string) bool {
	text := word.FindString(genuine)
	for _, line := range lines {
		if strings.Contains(line, text) || strings.Contains(strings.ToLower(line), text) {
			return true
		}
	}
	return false
}
