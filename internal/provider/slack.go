package provider

import (
	"bytes"
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/signature"
)

// slack signs the timestamp beside the body, answers a challenge when a URL is registered, and still sends the
// verification token of its older scheme inside the body: a credential that must not be shown.
func slack() Provider {
	return Provider{
		Name:      "slack",
		Title:     "Slack",
		Handshake: "slack-url-verification",
		ID:        []string{"json:event_id"},
		Type:      []string{"json:event.type", "json:type"},
		Setup: "In the app's settings at api.slack.com open Basic Information, copy the signing secret and paste it as the " +
			"endpoint's secret first: Slack tests the URL at once. Then paste the endpoint's URL as request URL under Event " +
			"Subscriptions, and where needed under Interactivity and Slash Commands.",
		CredentialPaths: []string{"json:token", "form:token", "form:payload:json:token"},
		declared: signature.HMAC{
			Carrier: signature.Carrier{Headers: []string{"X-Slack-Signature"}, Prefix: "v0="},
			Signed:  "v0:{ts}:{body}",
			Time: &signature.TimeRule{
				Headers: []string{"X-Slack-Request-Timestamp"}, Tolerance: 300 * time.Second, RejectFuture: true,
			},
		},
		sent: []sentHeader{
			{"Content-Type", "application/json"},
			{"User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)"},
		},
		secretForm: textForm{alphabet: hexDigits, length: 32},
		idForm:     textForm{prefix: "Ev0", alphabet: capitals, length: 8},
		answer:     answerURLVerification,
		redact:     redactSlackToken,
	}
}

// answerURLVerification echoes the challenge of a registration. It is asked only after the signature verified.
// https://docs.slack.dev/reference/events/url_verification
func answerURLVerification(typ string, doc *document) (*Handshake, *signature.Failure) {
	const registration = "url_verification"
	if typ != registration || !doc.isJSON() || gjson.GetBytes(doc.body, "type").Str != registration {
		return nil, nil // the second look tells a registration from an event that has this word as its inner type
	}
	challenge := gjson.GetBytes(doc.body, "challenge")
	if challenge.Type != gjson.String || !isChallenge(challenge.Str) {
		return nil, &signature.Failure{
			Cause:  hub.HandshakeFailed,
			Detail: "The url_verification request has no challenge of 1 to 256 printable ASCII characters.",
		}
	}
	return &Handshake{Status: 200, ContentType: "text/plain; charset=utf-8", Body: []byte(challenge.Str)}, nil
}

const redacted = "REDACTED"

// redactSlackToken takes the verification token out of an event (a JSON member of the root), a command (a form
// field) and an interaction (a JSON member inside the form field payload). What Slack does not send, such as a list, is
// not shown at all where the word stands in it: whether it is the credential cannot be told.
func redactSlackToken(body []byte) []byte {
	if trimmed := bytes.TrimSpace(body); len(trimmed) > 0 && trimmed[0] == '{' {
		return redactJSONToken(body)
	}
	fields := strings.Split(string(body), "&")
	changed := false
	for i, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		switch plain, err := url.QueryUnescape(name); {
		case err != nil:
		case plain == "token":
			fields[i], changed = name+"="+redacted, true
		case plain == "payload":
			payload, err := url.QueryUnescape(value)
			if err != nil {
				continue
			}
			fields[i], changed = name+"="+url.QueryEscape(string(redactJSONToken([]byte(payload)))), true
		}
	}
	switch {
	case changed:
		return []byte(strings.Join(fields, "&"))
	case bytes.Contains(bytes.ToLower(body), []byte("token")):
		return nil
	}
	return body
}

// redactJSONToken replaces every root member named token, since readers differ in which of two they take. What
// cannot be read as JSON is not shown at all.
func redactJSONToken(body []byte) []byte {
	doc := document{body: body}
	if !doc.isJSON() {
		return nil
	}
	var out []byte
	end := 0
	gjson.ParseBytes(body).ForEach(func(key, value gjson.Result) bool {
		if strings.EqualFold(key.Str, "token") {
			out = append(out, body[end:value.Index]...)
			out = append(out, `"`+redacted+`"`...)
			end = value.Index + len(value.Raw)
		}
		return true
	})
	if end == 0 {
		return body
	}
	return append(out, body[end:]...)
}
