package telemetry

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const redacted = "REDACTED"

// Names of attributes whose text is never logged: those with one of secretWords in them, and those that are one of
// requestParts, which hold what a stranger sent.
var (
	secretWords  = []string{"authorization", "cookie", "credential", "keyset", "passw", "secret", "ticket", "token", "api_key"}
	requestParts = []string{"body", "header", "headers", "path", "query", "raw_query", "referer", "referrer", "uri", "url", "user_agent"}
)

// redactAttr is a slog ReplaceAttr. Numbers, times and booleans pass as they are.
func redactAttr(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		if isSecretName(a.Key) {
			return slog.String(a.Key, redacted)
		}
		a.Value = slog.StringValue(redactText(a.Value.String()))
	case slog.KindAny:
		if isSecretName(a.Key) {
			return slog.String(a.Key, redacted)
		}
		a.Value = redactAny(a.Value)
	default:
	}
	return a
}

func isSecretName(key string) bool {
	key = strings.ToLower(key)
	return slices.Contains(requestParts, key) ||
		slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(key, word) })
}

// redactAny turns what is not a plain value into text that was looked through. Values that carry requests or raw
// bytes are not looked through at all.
func redactAny(v slog.Value) slog.Value {
	switch held := v.Any().(type) {
	case nil, *slog.Source, slog.Level:
		return v
	case []byte, json.RawMessage, http.Header, *http.Request, *http.Response, url.URL, *url.URL, url.Values, *url.Userinfo:
		return slog.StringValue(redacted)
	case error:
		return slog.StringValue(redactText(held.Error()))
	case fmt.Stringer:
		return slog.StringValue(redactText(held.String()))
	default:
		text, err := json.Marshal(held)
		if err != nil {
			return slog.StringValue(redacted)
		}
		clean := redactText(string(text))
		if clean == string(text) {
			return v
		}
		return slog.StringValue(clean)
	}
}

// A form is a shape in which a secret shows itself. A text without any of its marks is not searched for it.
type form struct {
	marks   []string // lower-case
	pattern *regexp.Regexp
	with    string
}

var forms = []form{
	{[]string{"bearer ", "basic "}, regexp.MustCompile(`(?i)\b(bearer|basic) +[^\s"',]+`), "$1 " + redacted},
	{[]string{"trb_"}, regexp.MustCompile(`trb_[0-9A-Za-z]+`), "trb_" + redacted},
	{[]string{"whsec_", "sk_live_", "sk_test_", "rk_live_", "rk_test_"}, regexp.MustCompile(`\b(whsec|[sr]k_live|[sr]k_test)_[0-9A-Za-z+/=_-]+`), "${1}_" + redacted},
	{[]string{"eyj"}, regexp.MustCompile(`eyJ[0-9A-Za-z_-]{6,}\.[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]*)?`), redacted},
	{[]string{"/in/"}, regexp.MustCompile(`/in/[^\s/?#"'{}]+`), "/in/" + redacted},
	{[]string{"://"}, regexp.MustCompile(`://[^\s/@"']*:[^\s"']*@`), "://" + redacted + "@"},
	{[]string{"="}, regexp.MustCompile(`(?i)\b(access_token|api_key|client_secret|code|id_token|key|passfile|password|secret|signature|sslpassword|ticket|token)=('[^']*'|[^\s&"']+)`), "$1=" + redacted},
}

func redactText(s string) string {
	if len(s) < 4 {
		return s
	}
	lower := strings.ToLower(s)
	for _, f := range forms {
		if slices.ContainsFunc(f.marks, func(mark string) bool { return strings.Contains(lower, mark) }) {
			s = f.pattern.ReplaceAllString(s, f.with)
		}
	}
	return s
}
