package docs

import (
	"fmt"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
	"github.com/tributary-hub/tributary/internal/provider"
)

// problemList has a heading for each code, whose anchor is the code: a problem's type leads there.
func problemList() string {
	var out strings.Builder
	for _, e := range problem.Codes() {
		fmt.Fprintf(&out, "### `%s` {#%s}\n\n**%d %s.** %s\n\n%s\n\n", e.Code, e.Code, e.Status, e.Title, e.Meaning, e.Remedy)
	}
	return out.String()
}

// causes say why a webhook did not verify, in the words of whoever has to mend it.
var causes = []struct {
	cause   hub.Cause
	meaning string
}{
	{hub.NoSignature, "The request has no signature header. The provider has no secret, or something before the hub removes the header."},
	{hub.MalformedSignature, "The header is there and is not of the provider's form. Is it the right provider?"},
	{hub.UnknownSchemeVersion, "The header has signatures, none of a version that counts. Older versions are never accepted: that would be a downgrade."},
	{hub.SignatureMismatch, "No active secret of the endpoint made this signature over these bytes: another secret, or a body that was changed on its way."},
	{hub.TimestampMissing, "The scheme signs a time, and there is none."},
	{hub.TimestampTooOld, "The signature is good and older than the tolerance: a replay, a late retry with its first time, or a clock that is off."},
	{hub.TimestampInFuture, "The signature is good and from the future: a clock is off."},
	{hub.NoActiveSecret, "The endpoint has no secret that is active and not expired."},
	{hub.WrongAccount, "The signature is the provider's, and the account is not the endpoint's."},
	{hub.HandshakeFailed, "The provider's handshake asked for something that the hub does not give."},
}

func causeTable() string {
	var out strings.Builder
	out.WriteString("| cause | meaning |\n| --- | --- |\n")
	for _, c := range causes {
		fmt.Fprintf(&out, "| `%s` | %s |\n", c.cause, c.meaning)
	}
	return out.String()
}

func variableTable(variables []Variable) string {
	var out strings.Builder
	out.WriteString("| name | default | what |\n| --- | --- | --- |\n")
	for _, v := range variables {
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", v.Name, code(v.Default), cell(v.What))
	}
	return out.String()
}

func providerTable() string {
	var out strings.Builder
	out.WriteString("| provider | scheme | replay protection | signature covers |\n| --- | --- | --- | --- |\n")
	for _, p := range provider.All() {
		fmt.Fprintf(&out, "| [%s](/docs/providers/%s) | %s | %s | %s |\n", p.Title, p.Name, code(p.Scheme), p.ReplayProtection, p.Coverage)
	}
	return out.String()
}

// A providerPage is one provider's, made of the catalogue.
type providerPage struct{ name, title, source string }

func providerPages() []providerPage {
	var all []providerPage
	for _, p := range provider.All() {
		all = append(all, providerPage{p.Name, p.Title, describe(p)})
	}
	return all
}

func describe(p *provider.Provider) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n\n%s\n\n## Facts\n\n| | |\n| --- | --- |\n", p.Title, p.Setup)
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&out, "| %s | %s |\n", name, value)
		}
	}
	fact("name", code(p.Name))
	fact("scheme", code(p.Scheme))
	fact("signed", code(p.Signed))
	fact("encoding", code(p.Encoding))
	fact("headers", codes(p.Headers))
	fact("event id", codes(p.ID))
	fact("event type", codes(p.Type))
	fact("handshake", code(p.Handshake))
	if p.Tolerance > 0 {
		fact("tolerance", fmt.Sprintf("%.0f s", p.Tolerance.Seconds()))
	}
	fact("replay protection", string(p.ReplayProtection))
	fact("signature covers", string(p.Coverage))
	if len(p.Settings) > 0 {
		out.WriteString("\n## Configuration\n\n| setting | required | default | what |\n| --- | --- | --- | --- |\n")
		for _, s := range p.Settings {
			required := ""
			if s.Required {
				required = "yes"
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", s.Name, required, code(s.Default), cell(s.About))
		}
	}
	return out.String()
}

// code is a value in a table; a bar would end the cell.
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

func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "|", `\|`)
}
