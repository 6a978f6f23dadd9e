package provider_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/provider"
)

func TestSecret_PrintsRedacted(t *testing.T) {
	t.Parallel()
	const canary = "canary-5d1f0c"
	s := active(canary)
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "secret", s, "value", s.Value, "pointer", &s, "request", provider.Request{Secrets: []provider.Secret{s}})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "value", s.Value)
	text, err := json.Marshal(map[string]any{"secret": s, "value": s.Value, "request": provider.Request{Secrets: []provider.Secret{s}}})
	if err != nil {
		t.Fatal(err)
	}
	log.Write(text)
	// All but %p, which never asks for methods and which vet refuses.
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%c", "%t"} {
		fmt.Fprintf(&log, verb+verb+verb, s, s.Value, provider.Request{Secrets: []provider.Secret{s}})
	}
	for _, form := range []string{canary, hex.EncodeToString([]byte(canary)), strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]"), base64.StdEncoding.EncodeToString([]byte(canary))[:12]} {
		if strings.Contains(strings.ToLower(log.String()), strings.ToLower(form)) {
			t.Errorf("printed as %s: %s", form, log.String())
		}
	}
	if !strings.Contains(log.String(), "REDACTED") {
		t.Error("nothing says that something is missing")
	}
}

// TestErrors_HoldNoSecret: what is said about a bad secret does not repeat it.
func TestErrors_HoldNoSecret(t *testing.T) {
	t.Parallel()
	const canary = "whsec_canary!5d1f0c"
	for _, p := range provider.All() {
		for _, key := range []string{"hex", "base64", "whsec"} {
			if p.Name == "generic-hmac" {
				p = configured(t, p.Name, map[string]string{"header": "X", "key": key})
			}
			if err := p.CheckSecret(canary); err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v", p.Name, err)
			}
			if _, err := p.Sign(canary, nil, at, provider.SignOptions{}); err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v", p.Name, err)
			}
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, provider, body, want string }{
		{"an event", "slack", `{"token":"canary","type":"x"}`, `{"token":"REDACTED","type":"x"}`},
		{"the last member", "slack", `{"type":"x", "token" : "canary" }`, `{"type":"x", "token" : "REDACTED" }`},
		{"twice", "slack", `{"token":"canary","a":1,"token":["canary"]}`, `{"token":"REDACTED","a":1,"token":"REDACTED"}`},
		{"an escaped name", "slack", `{"tok\u0065n":"canary"}`, `{"tok\u0065n":"REDACTED"}`},
		{"blanks before", "slack", " \n{\"token\":\"canary\"}", " \n{\"token\":\"REDACTED\"}"},
		{"nested ones are the event's", "slack", `{"event":{"token":"mine"}}`, `{"event":{"token":"mine"}}`},
		{"no token", "slack", `{"type":"x"}`, `{"type":"x"}`},
		{"a command", "slack", `token=canary&command=%2Fgo`, `token=REDACTED&command=%2Fgo`},
		{"an escaped field", "slack", `%74oken=canary&a=1`, `%74oken=REDACTED&a=1`},
		{"an interaction", "slack", `payload=%7B%22token%22%3A%22canary%22%7D`, `payload=%7B%22token%22%3A%22REDACTED%22%7D`},
		{"broken JSON is not shown", "slack", `{"token":"canary"`, ``},
		{"a broken payload is not shown", "slack", `payload=%7B%22token%22%3A%22canary%22`, `payload=`},
		{"a list is not shown", "slack", `[{"token":"canary"}]`, ``},
		{"after a byte order mark it is not shown", "slack", "\ufeff{\"token\":\"canary\"}", ``},
		{"parts are not shown", "slack", "--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\ncanary\r\n--b--\r\n", ``},
		{"in another case", "slack", `{"Token":"canary"}`, `{"Token":"REDACTED"}`},
		{"a command without it", "slack", `command=%2Fgo`, `command=%2Fgo`},
		{"empty", "slack", ``, ``},
		{"others have none", "stripe", `{"token":"tok_1"}`, `{"token":"tok_1"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			before := strings.Clone(tc.body)
			body := []byte(tc.body)
			if got := get(t, tc.provider).Redact(body); string(got) != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if string(body) != before {
				t.Error("the raw body was changed")
			}
		})
	}
}
