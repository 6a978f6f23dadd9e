package provider_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

func registration(t *testing.T, challenge any) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"token": "t", "type": "url_verification", "challenge": challenge})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestHandshake_Slack(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		body  string
		want  string // what is echoed
		cause hub.Cause
	}{
		{"a challenge", registration(t, "3eZbrw1aBm2r"), "3eZbrw1aBm2r", ""},
		{"as long as allowed", registration(t, strings.Repeat("a", 256)), strings.Repeat("a", 256), ""},
		{"longer", registration(t, strings.Repeat("a", 257)), "", hub.HandshakeFailed},
		{"empty", registration(t, ""), "", hub.HandshakeFailed},
		{"no string", registration(t, 12345), "", hub.HandshakeFailed},
		{"a line break", registration(t, "a\nb"), "", hub.HandshakeFailed},
		{"beyond ASCII", registration(t, "é"), "", hub.HandshakeFailed},
		{"absent", `{"type":"url_verification"}`, "", hub.HandshakeFailed},
		{"an event is no handshake", `{"type":"event_callback","challenge":"x","event":{"type":"url_verification"}}`, "", ""},
		{"nor is a form", `type=url_verification&challenge=x`, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, _ := signed(t, "slack", tc.body, provider.SignOptions{})
			v := get(t, "slack").Verify(r)
			if v.OK != (tc.cause == "") || v.Cause != tc.cause {
				t.Fatalf("OK %t, cause %q, want %q", v.OK, v.Cause, tc.cause)
			}
			var want *provider.Handshake
			if tc.want != "" {
				want = &provider.Handshake{Status: 200, ContentType: "text/plain; charset=utf-8", Body: []byte(tc.want)}
			}
			if diff := cmp.Diff(want, v.Handshake); diff != "" {
				t.Error(diff)
			}
			if want != nil && v.Dedup != (hub.Dedup{}) {
				t.Error("a handshake took a dedup key")
			}
			r.Header.Del("X-Slack-Signature")
			if v := get(t, "slack").Verify(r); v.OK || v.Handshake != nil {
				t.Error("answered without a signature")
			}
		})
	}
}

// TestHandshake_Shared answers the shared examples of the providers that we have.
func TestHandshake_Shared(t *testing.T) {
	t.Parallel()
	file := sharedFile(t, "handshakes.json")
	if file == "" {
		return // TestHandshake_Slack has ours
	}
	type example struct {
		ID, Provider string
		Request      struct {
			Method, URL, Body string
			Headers           map[string]string
		}
		Config struct {
			Secret  string
			NowUnix int64 `json:"now_unix"`
		}
		Reply struct {
			Status  int
			Headers map[string]string
			Body    string
		}
	}
	ran := 0
	for _, e := range readJSON[[]example](t, file) {
		p, ok := provider.Get(e.Provider)
		if !ok {
			continue
		}
		ran++
		v := p.Verify(provider.Request{
			Method: e.Request.Method, Header: header(e.Request.Headers), Body: []byte(e.Request.Body),
			At: time.Unix(e.Config.NowUnix, 0), Secrets: []provider.Secret{active(e.Config.Secret)},
		})
		if !v.OK || v.Handshake == nil {
			t.Errorf("%s: not answered: %s %s", e.ID, v.Cause, v.Detail)
			continue
		}
		got := v.Handshake
		if got.Status != e.Reply.Status || string(got.Body) != e.Reply.Body || !strings.HasPrefix(got.ContentType, e.Reply.Headers["Content-Type"]) {
			t.Errorf("%s: answered %d %s %q", e.ID, got.Status, got.ContentType, got.Body)
		}
	}
	if ran == 0 {
		t.Error("no example of ours")
	}
}

// TestHandshakes_SignNothing: whoever knows only the URL offers each provider's sample events as challenges, in every
// place where handshakes take one. No answer, however it is read, verifies one of the events.
func TestHandshakes_SignNothing(t *testing.T) {
	t.Parallel()
	places := []string{"challenge", "crc_token", "bt_challenge", "challenge_code", "hub.challenge", "validationToken", "plainToken"}
	for _, p := range provider.All() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			for _, typ := range provider.Samples(p.Name) {
				body, _, err := provider.Sample(p.Name, typ, at)
				if err != nil {
					t.Fatal(err)
				}
				event, _ := signed(t, p.Name, string(body), provider.SignOptions{Type: typ})
				if !forges(t, p, event, []byte("the answer: "+event.Header.Get(signatureHeader(p)))) {
					t.Fatal("this test would not notice a signature in an answer")
				}
				for _, text := range []string{string(body), "v0:1760000000:" + string(body), "1760000000." + string(body)} {
					for _, ask := range asking(t, places, text) {
						ask.Secrets, ask.Config, ask.At = event.Secrets, event.Config, at
						v := p.Verify(ask)
						if v.OK && v.Handshake == nil {
							t.Fatalf("a stranger's %s was accepted as an event", ask.Method)
						}
						if v.Handshake != nil && forges(t, p, event, v.Handshake.Body) {
							t.Fatalf("the answer to a stranger's %s signs an event", ask.Method)
						}
					}
				}
			}
		})
	}
}

// asking makes a stranger's requests with the text as challenge.
func asking(t *testing.T, places []string, text string) []provider.Request {
	t.Helper()
	var out []provider.Request
	form, object := url.Values{}, map[string]string{"type": "url_verification", "event": "endpoint.url_validation"}
	for _, place := range places {
		form.Set(place, text)
		object[place] = text
	}
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	out = append(out,
		provider.Request{Method: http.MethodGet, Header: http.Header{}},
		provider.Request{Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/json"}}, Body: body},
		provider.Request{Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: []byte(form.Encode())})
	return out
}

// word is what could be a signature inside some text.
var word = regexp.MustCompile(`[A-Za-z0-9+/_-]{20,}=*`)

func signatureHeader(p *provider.Provider) string {
	name, _, _ := strings.Cut(p.Headers[0], "|")
	return name
}

// forges puts every word of an answer, and every re-encoding of it, where the event's signature stood, and says whether
// one verifies.
func forges(t *testing.T, p *provider.Provider, event provider.Request, answer []byte) bool {
	t.Helper()
	genuine := event.Header.Get(signatureHeader(p))
	for _, text := range word.FindAllString(string(answer), -1) {
		for _, forged := range []string{
			text,
			reencode(text, hex.DecodeString, base64.StdEncoding.EncodeToString),
			reencode(text, base64.StdEncoding.DecodeString, hex.EncodeToString),
		} {
			r := event
			r.Header = event.Header.Clone()
			r.Header.Set(signatureHeader(p), word.ReplaceAllLiteralString(genuine, forged))
			if p.Verify(r).OK {
				return true
			}
		}
	}
	return false
}

func reencode(word string, decode func(string) ([]byte, error), encode func([]byte) string) string {
	raw, err := decode(word)
	if err != nil {
		return word
	}
	return encode(raw)
}

// TestHandshake_EchoSignsNothing: the same for the one answer that we give, to a registration that Slack did sign.
func TestHandshake_EchoSignsNothing(t *testing.T) {
	t.Parallel()
	p := get(t, "slack")
	body, _, err := provider.Sample("slack", "message", at)
	if err != nil {
		t.Fatal(err)
	}
	event, secret := signed(t, "slack", string(body), provider.SignOptions{})
	for _, challenge := range []string{"v0:1760000000:{}", string(body[:200]), strings.Repeat("ab", 32)} {
		ask := provider.Request{Method: http.MethodPost, Body: []byte(registration(t, challenge)), At: at, Secrets: []provider.Secret{active(secret)}}
		if ask.Header, err = p.Sign(secret, ask.Body, at, provider.SignOptions{}); err != nil {
			t.Fatal(err)
		}
		v := p.Verify(ask)
		if v.Handshake == nil || string(v.Handshake.Body) != challenge {
			t.Fatalf("not echoed: %s %s", v.Cause, v.Detail)
		}
		event.Secrets = ask.Secrets
		if forges(t, p, event, v.Handshake.Body) {
			t.Errorf("the echo of %q signs an event", challenge)
		}
	}
}
