package docs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

func providerTable() string {
	var out strings.Builder
	out.WriteString("| provider | name | scheme | replay protection | signature covers |\n| --- | --- | --- | --- | --- |\n")
	for _, p := range provider.All() {
		fmt.Fprintf(&out, "| [%s](/docs/providers/%s) | %s | %s | %s | %s |\n", p.Title, p.Name, code(p.Name), code(p.Scheme), p.ReplayProtection, p.Coverage)
	}
	return out.String()
}

// siblings are the providers' own pages.
func siblings() []link {
	var all []link
	for _, p := range provider.All() {
		all = append(all, link{Href: place("providers/" + p.Name), Title: p.Title})
	}
	return all
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
	fmt.Fprintf(&out, "# %s\n\n## Set it up\n\n%s\n\n%s\n\n", p.Title, p.Setup, secretsOf(p))
	if len(p.RequiredConfig) > 0 {
		fmt.Fprintf(&out, "The endpoint's `config` must say %s.\n\n", codes(p.RequiredConfig))
	}
	if samples := provider.Samples(p.Name); len(samples) > 0 {
		fmt.Fprintf(&out, "Try it without the provider: `tributary send %s %s` posts a sample, signed. ", p.Name, samples[0])
		fmt.Fprintf(&out, "There are samples of %s.\n\n", codes(samples))
	}
	out.WriteString("## How it signs\n\n| | |\n| --- | --- |\n")
	for _, f := range facts(p) {
		fmt.Fprintf(&out, "| %s | %s |\n", f[0], f[1])
	}
	fmt.Fprintf(&out, "\n## The same webhook twice\n\n%s\n", repeats(p))
	if len(p.Settings) > 0 {
		out.WriteString("\n## Configuration\n\n| `config` | required | default | what |\n| --- | --- | --- | --- |\n")
		for _, s := range p.Settings {
			required := "no"
			if s.Required {
				required = "yes"
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", s.Name, required, code(s.Default), cell(s.About))
		}
	}
	fmt.Fprintf(&out, "\n## What goes wrong\n\n%s\n", faults(p))
	return out.String()
}

func secretsOf(p *provider.Provider) string {
	if p.UserSetsSecret {
		return "The secret is yours to choose: an endpoint that is made without one gets one, which is shown once, in that answer."
	}
	return "The secret is the provider's: give it when the endpoint is made, or [add it](/docs/api#addSecret) as soon as it is shown. Until then webhooks are refused with `no_active_secret`."
}

// facts are what the signature's check goes by. What is empty or does not apply is left out.
func facts(p *provider.Provider) [][2]string {
	var all [][2]string
	add := func(name, value string) {
		if value != "" {
			all = append(all, [2]string{name, value})
		}
	}
	add("scheme", code(p.Scheme))
	add("signed bytes", code(p.Signed))
	add("written as", p.Encoding)
	add("headers", headers(p.Headers))
	add("event id", places(p.ID))
	add("event type", places(p.Type))
	add("handshake", code(p.Handshake))
	if p.Tolerance > 0 {
		add("tolerance", fmt.Sprintf("%.0f seconds between the signed time and the arrival", p.Tolerance.Seconds()))
	}
	add("replay protection", string(p.ReplayProtection))
	add("signature covers", string(p.Coverage))
	add("never shown", codes(append(prefixed("header:", p.CredentialHeaders), p.CredentialPaths...)))
	return all
}

// headers lists them; what is after a bar is another name of the same.
func headers(all []string) string {
	out := make([]string, len(all))
	for i, names := range all {
		out[i] = strings.ReplaceAll("`"+names+"`", "|", "` or `")
	}
	return strings.Join(out, ", ")
}

func prefixed(prefix string, names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, prefix+name)
	}
	return all
}

// places says in words where a value stands: the first that is there.
func places(refs []string) string {
	var out []string
	for _, ref := range refs {
		var parts []string
		for part := range strings.SplitSeq(ref, "+") {
			kind, path, _ := strings.Cut(part, ":")
			switch kind {
			case "header":
				parts = append(parts, "header `"+path+"`")
			case "json":
				parts = append(parts, "`"+path+"` of the JSON body")
			default:
				parts = append(parts, code(part))
			}
		}
		out = append(out, strings.Join(parts, " with "))
	}
	return strings.Join(out, ", else ")
}

func repeats(p *provider.Provider) string {
	text := "It names no event, so type and body are remembered, for 5 minutes."
	if len(p.ID) > 0 {
		text = "Its event id is remembered for 7 days. Where the id is not inside the signed bytes, the body is remembered with it."
	} else if p.RequiredConfig != nil {
		text = "Where `config` says the place of the event's id, it is remembered for 7 days, with the body where it is not signed. Else type and body are, for 5 minutes."
	}
	return text + " A repeat is answered 200 with the first event's id and `\"duplicate\":true`, and makes no second message."
}

// faults lists the causes that this provider's webhooks are refused for.
func faults(p *provider.Provider) string {
	all := []hub.Cause{hub.NoSignature, hub.MalformedSignature, hub.SignatureMismatch, hub.NoActiveSecret}
	if p.Tolerance > 0 {
		all = append(all, hub.TimestampMissing, hub.TimestampTooOld)
	}
	if p.Handshake != "" {
		all = append(all, hub.HandshakeFailed)
	}
	var out strings.Builder
	out.WriteString("A webhook that does not verify is answered 401 `signature_invalid` with one of these [causes](/docs/problems#causes), and " +
		"is kept as a [rejection](/docs/api#listRejections) that says more:\n\n| cause | what to do |\n| --- | --- |\n")
	for _, c := range causes {
		if slices.Contains(all, c.cause) {
			fmt.Fprintf(&out, "| `%s` | %s |\n", c.cause, c.remedy)
		}
	}
	return out.String()
}
