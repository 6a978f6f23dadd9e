package provider

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/signature"
)

// genericHMAC is the preset for whoever is not in the catalogue and signs with an HMAC in one header: each endpoint
// says how.
func genericHMAC() Provider {
	return Provider{
		Name:  "generic-hmac",
		Title: "Any sender with an HMAC",
		Setup: "Paste the endpoint's URL and the endpoint's secret where the sender registers webhooks, and say in config " +
			"how it signs: the header, the hash, the encoding and, where it signs more than the body, the template.",
		UserSetsSecret: true,
		Settings: []Setting{
			{Name: "header", Required: true, check: checkHeaderName, About: "The header that holds the signature."},
			{Name: "hash", Default: "sha256", check: oneOf("sha1", "sha256", "sha512"), About: "The hash of the HMAC."},
			{Name: "encoding", Default: "hex", check: oneOf("hex", "base64", "base64url-nopad"), About: "How the signature is written."},
			{Name: "prefix", check: checkPrefix, About: "What stands before the signature in its header, such as sha256=."},
			{
				Name: "signed", Default: "{body}", check: checkTemplate,
				About: "The signed bytes: {body}, {ts}, {method}, {header:NAME}, and text between them.",
			},
			{Name: "key", Default: "utf8", check: oneOf("utf8", "hex", "base64", "whsec"), About: "How the secret becomes the key."},
			{Name: "timestamp_header", check: checkHeaderName, About: "The header that holds the signed time, {ts}."},
			{Name: "timestamp_format", Default: "unix", check: oneOf("unix", "unix_ms", "rfc3339", "imf"), About: "How the time is written."},
			toleranceSetting(genericTolerance),
			{Name: "id", check: checkPlaces, About: "Where the event's id stands: header:NAME or json:PATH; + joins several."},
			{Name: "type", check: checkPlace, About: "Where the event's type stands: header:NAME or json:PATH."},
			{Name: "dedup_seconds", check: checkDedup, About: "How long an event is remembered to tell duplicates; off: not at all."},
		},
		Example: map[string]string{"header": "X-Signature", "id": "json:id", "type": "json:type"},
		declared: signature.HMAC{
			Carrier: signature.Carrier{Headers: []string{"X-Signature"}}, // stands in until an endpoint says which
		},
		sent:       genericSent,
		secretForm: textForm{alphabet: letters, length: 40},
		idForm:     textForm{prefix: "evt_", alphabet: letters, length: 24},
		apply:      applyGeneric,
	}
}

const (
	genericTolerance = 300 * time.Second
	maxDedup         = 30 * 24 * time.Hour
	dedupOff         = "off"
)

var genericSent = []sentHeader{
	{"Content-Type", "application/json"},
	{"User-Agent", "tributary-send"},
}

// applyGeneric builds the declaration from settings that were checked one by one; what is left is whether they fit
// together.
func applyGeneric(p *Provider, config map[string]string) error {
	get := func(name string) string { return config[name] }
	p.declared = signature.HMAC{
		Carrier: signature.Carrier{
			Headers: []string{get("header")}, Prefix: get("prefix"), Encoding: signature.Encoding(get("encoding")),
		},
		Hash:   signature.Hash(get("hash")),
		Key:    signature.KeyForm(get("key")),
		Signed: get("signed"),
	}
	if err := fitTime(p, config); err != nil {
		return err
	}
	p.sent = slices.Clone(genericSent)
	p.ID, p.Type = places(p, get("id"), "{id}"), places(p, get("type"), "{type}")
	p.keep, p.dedupOff = 0, false
	if value, ok := config["dedup_seconds"]; ok {
		if p.dedupOff = value == dedupOff; !p.dedupOff {
			p.keep, _ = parseSeconds(value, maxDedup) // checked before
		}
	}
	switch p.declared.Key {
	case signature.KeyHex:
		p.secretForm = textForm{alphabet: hexDigits, length: 64}
	case signature.KeyBase64:
		p.secretForm = textForm{base64: true, length: 32}
	case signature.KeyWhsec:
		p.secretForm = textForm{prefix: signature.WhsecPrefix, base64: true, length: 32}
	default:
	}
	return nil
}

// places gives the setting as the catalogue writes it, and lets Sign send what stands in headers.
func places(p *Provider, setting, value string) []string {
	if setting == "" {
		return nil
	}
	for part := range strings.SplitSeq(setting, "+") {
		if name, ok := strings.CutPrefix(part, "header:"); ok {
			p.sent = append(p.sent, sentHeader{name, value})
		}
	}
	return []string{setting}
}

// fitTime demands that a time which is checked is signed, and that a signed time has a place.
func fitTime(p *Provider, config map[string]string) error {
	header, timed := config["timestamp_header"]
	signsTime := strings.Contains(p.declared.Signed, "{ts}")
	var wrong fieldErrors
	switch {
	case timed && !signsTime:
		wrong.add("signed", "must hold {ts}: a time that is not signed protects nothing")
	case signsTime && !timed:
		wrong.add("timestamp_header", "is required: signed has {ts}")
	case !timed:
		for _, name := range []string{"timestamp_format", "tolerance"} {
			if _, ok := config[name]; ok {
				wrong.add(name, "needs timestamp_header")
			}
		}
	}
	if len(wrong) > 0 || !timed {
		return wrong.err()
	}
	rule := &signature.TimeRule{
		Headers: []string{header}, Format: signature.TimeFormat(config["timestamp_format"]),
		Tolerance: genericTolerance, RejectFuture: true,
	}
	if value, ok := config["tolerance"]; ok {
		rule.Tolerance, _ = parseSeconds(value, maxTolerance) // checked before
	}
	p.declared.Time = rule
	return nil
}

func oneOf(values ...string) func(string) error {
	return func(value string) error {
		if slices.Contains(values, value) {
			return nil
		}
		return fmt.Errorf("one of: %s", strings.Join(values, ", "))
	}
}

func checkHeaderName(value string) error {
	if !signature.IsHeaderName(value) {
		return errors.New("not the name of a header")
	}
	return nil
}

func checkPrefix(value string) error {
	if len(value) > 64 || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("at most 64 printable ASCII characters")
	}
	return nil
}

const maxTemplate = 512

func checkTemplate(value string) error {
	if len(value) > maxTemplate {
		return fmt.Errorf("at most %d bytes", maxTemplate)
	}
	if !strings.Contains(value, "{body}") {
		return errors.New("must hold {body}: a signature that does not cover the event proves nothing about it")
	}
	return signature.CheckTemplate(value)
}

func checkPlace(value string) error {
	_, err := parseRef(value)
	return err
}

func checkPlaces(value string) error {
	_, err := parseRefs(strings.Split(value, "+"))
	return err
}

func checkDedup(value string) error {
	if value == dedupOff {
		return nil
	}
	if _, err := parseSeconds(value, maxDedup); err != nil {
		return fmt.Errorf("%w, or off", err)
	}
	return nil
}
