package docs

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

// problemList has a section for each status and in it a heading for each code, whose anchor is the code: a problem's
// type leads there. The reference leads to the statuses.
func problemList() string {
	var out strings.Builder
	status := 0
	for _, e := range problem.Codes() {
		if e.Status != status {
			status = e.Status
			fmt.Fprintf(&out, "## %d %s {#status-%d}\n\n", status, http.StatusText(status), status)
		}
		fmt.Fprintf(&out, "### `%s` {#%s}\n\n**%s.** %s\n\n%s\n\n", e.Code, e.Code, e.Title, e.Meaning, e.Remedy)
	}
	return out.String()
}

// causes say why a webhook did not verify, and what whoever has to mend it looks at.
var causes = []struct {
	cause           hub.Cause
	meaning, remedy string
}{
	{
		hub.NoSignature, "The request has no signature header.",
		"Set the secret at the provider. Look whether something before the hub removes the header. Or it is not from the provider.",
	},
	{
		hub.MalformedSignature, "The header is there and is not of the provider's form.",
		"Is the endpoint for this provider? The rejection says how the header ought to look.",
	},
	{
		hub.UnknownSchemeVersion, "The header has signatures, none of a version that counts.",
		"Let the provider sign with its present version. Older ones are never accepted: that would be a downgrade.",
	},
	{
		hub.SignatureMismatch, "No active secret of the endpoint made this signature over these bytes.",
		"Compare the secrets. If they are the same, something before the hub changed the body: it parses and writes JSON anew, or decodes it.",
	},
	{
		hub.TimestampMissing, "The scheme signs a time, and there is none.",
		"Look whether something before the hub removes the header that holds it.",
	},
	{
		hub.TimestampTooOld, "The signature is right, and its time is further back than the tolerance.",
		"Set this machine's clock. A sender whose retries keep their first time needs a longer `tolerance` in the endpoint's config. Else somebody sent a captured request again.",
	},
	{hub.TimestampInFuture, "The signature is right, and its time is still to come.", "Set the clocks: one of them is wrong."},
	{hub.NoActiveSecret, "The endpoint has no secret that is active and not expired.", "Add one, or make the candidate active."},
	{hub.WrongAccount, "The signature is the provider's, and the account is not the endpoint's.", "Correct the accounts in the endpoint's config."},
	{hub.HandshakeFailed, "The provider's handshake asked for something that the hub does not give.", "Start the registration at the provider again; the rejection says what was wrong."},
}

func causeTable() string {
	var out strings.Builder
	out.WriteString("| cause | meaning | what to do |\n| --- | --- | --- |\n")
	for _, c := range causes {
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", c.cause, c.meaning, c.remedy)
	}
	return out.String()
}

// scopes say what each opens.
var scopes = []struct {
	scope hub.Scope
	gives string
}{
	{hub.ConfigRead, "seeing endpoints, secrets (never their values), routes, issuers, settings, keys; trying a captured webhook, checking a token"},
	{hub.ConfigWrite, "changing them. Routes need `events:read` and `messages:publish` besides, issuers `messages:read`"},
	{hub.EventsRead, "events, trails, rejections, tests of routes"},
	{hub.EventsRaw, "an event's original bytes"},
	{hub.EventsReplay, "retrying rejections"},
	{hub.MessagesRead, "streams by API key, of every channel"},
	{hub.MessagesPublish, "making messages: so far by routes"},
	{hub.TicketsCreate, "kept for tickets, which are not in this version"},
	{hub.KeysWrite, "making, rotating and revoking keys"},
	{hub.TenantsRead, "operators only: seeing tenants"},
	{hub.TenantsWrite, "operators only: making, changing and deleting tenants"},
}

func scopeTable() string {
	var out strings.Builder
	out.WriteString("| scope | opens |\n| --- | --- |\n")
	for _, s := range scopes {
		fmt.Fprintf(&out, "| `%s` | %s |\n", s.scope, s.gives)
	}
	return out.String()
}

// limits say what those bound that this version counts; the other names can be set and have no effect yet.
var limits = map[string]string{
	"webhooks_per_second":     "verified webhooks; those above are answered 429",
	"webhooks_burst":          "how many may come at once",
	"body_bytes":              "of one webhook; a larger one is answered 413, and is never cut",
	"channels_per_connection": "channels and patterns of one stream",
	"endpoints":               "endpoints of the tenant",
	"routes":                  "routes of the tenant",
	"issuers":                 "issuers of the tenant",
}

func limitTable() string {
	var out strings.Builder
	out.WriteString("| limit | default | bounds |\n| --- | --- | --- |\n")
	defaults := hub.DefaultLimits()
	for _, l := range defaults.Fields() {
		bounds, counted := limits[l.Name]
		if !counted {
			continue
		}
		number := "none"
		if *l.Value != nil {
			number = strconv.Itoa(**l.Value)
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", l.Name, number, bounds)
	}
	return out.String()
}

// boundTable has the bounds of routes, which nobody can move.
func boundTable() string {
	var out strings.Builder
	out.WriteString("| of | at most |\n| --- | --- |\n")
	for _, b := range []struct {
		of   string
		most int
		unit string
	}{
		{"one expression, one template", hub.MaxExpressionBytes, "bytes"},
		{"a route's channels", hub.MaxRouteChannels, ""},
		{"a message's `data`", hub.MaxMessageBytes, "bytes of JSON"},
		{"a message's key, and a version that is text", hub.MaxKeyBytes, "bytes"},
		{"all messages of one event", hub.MaxEventMessages, ""},
		{"their `data` together", hub.MaxEventBytes, "bytes"},
	} {
		fmt.Fprintf(&out, "| %s | %s |\n", b.of, strings.TrimSpace(grouped(b.most)+" "+b.unit))
	}
	return out.String()
}

// grouped writes a number with a comma before each three digits.
func grouped(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func variableTable(variables []Variable) string {
	var out strings.Builder
	out.WriteString("| name | default | what |\n| --- | --- | --- |\n")
	for _, v := range variables {
		what := v.What
		if limit, ok := strings.CutPrefix(v.Name, "TRIBUTARY_LIMIT_"); ok && limits[strings.ToLower(limit)] == "" {
			what += "; nothing counts it yet"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", v.Name, code(v.Default), cell(what))
	}
	return out.String()
}

// code is a value in a table.
func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

func codes(all []string) string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = code(s)
	}
	return strings.Join(out, ", ")
}

// cell keeps a text inside its cell of a table: a bar would end it, and so would the line's end.
func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "|", `\|`)
}
