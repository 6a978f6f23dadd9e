package e2e_test

import "strings"

// opened is what every client sees of a stream that begins at position from: it opens, and then these lines.
func opened(from string, lines ...string) []string {
	return append([]string{"open", "hub.ready " + from}, lines...)
}

// once is a single connection, which has no Last-Event-ID.
var once = []string{"200"}

// dataCase is a message that was there before, and how its data arrives.
func dataCase(name string, m entry, want string) clientCase {
	m.typ = "data"
	return clientCase{
		name: name, log: []entry{m}, query: "&since=earliest",
		want: opened("#0", "data #1 "+want, "hub.live #1"), asks: once,
	}
}

// dataCases are about what a message holds: it arrives as it was, whatever in it looks like a frame or the end of one.
func dataCases() []clientCase {
	const megabyte = 1 << 20
	large := `"` + strings.Repeat("x", megabyte-2) + `"`
	lines := "[" + strings.Repeat("1,\n", (megabyte-3)/3) + "1]"
	wide := `"` + strings.Repeat("🧪", (megabyte-2)/4) + `"`
	return []clientCase{
		dataCase("an object", entry{data: `{"amount":1200}`}, `{"amount":1200}`),
		dataCase("empty text", entry{data: `""`}, `""`),
		dataCase("an empty object", entry{data: `{}`}, `{}`),
		dataCase("null", entry{data: `null`}, `null`),
		dataCase("a number", entry{data: `-0.5`}, `-0.5`),
		dataCase("LF in text", entry{data: `"a\nb"`}, `"a\nb"`),
		dataCase("CR in text", entry{data: `"a\rb"`}, `"a\rb"`),
		dataCase("CRLF in text", entry{data: `"a\r\nb"`}, `"a\r\nb"`),
		dataCase("LF between tokens", entry{raw: "{\"a\":\n1}"}, "{\"a\":\n1}"),
		dataCase("CR between tokens", entry{raw: "{\"a\":\r1}"}, "{\"a\":\n1}"),
		dataCase("CRLF between tokens", entry{raw: "{\"a\":\r\n1}"}, "{\"a\":\n1}"),
		dataCase("every line end at once", entry{raw: "[\n\r\n\r\r1,\r\n\n2]"}, "[\n\n\n\n1,\n\n2]"),
		dataCase("line ends first and last", entry{raw: "\n\r1\r\n\n"}, "\n\n1\n\n"),
		dataCase("spaces first and last", entry{raw: "  1  "}, "  1  "),
		dataCase("unicode", entry{data: `"äé \u65e5\u672c 🧪 e\u0301"`}, "\"äé \u65e5\u672c 🧪 e\u0301\""),
		dataCase("Unicode's own line ends", entry{raw: "\"a\u2028b\u2029c\u0085d\u000be\u000cf\""}, "\"a\u2028b\u2029c\u0085d\u000be\u000cf\""),
		dataCase("a byte order mark", entry{raw: "\"\ufeff\""}, "\"\ufeff\""),
		dataCase("NUL", entry{data: `"a\u0000b"`}, `"a\u0000b"`),
		dataCase("text like frames", entry{data: `"x\n\nevent: hub.bye\nid: 9\ndata: y\n\n"`}, `"x\n\nevent: hub.bye\nid: 9\ndata: y\n\n"`),
		dataCase("lines like fields", entry{raw: "[1\n,\n2\n,\"id: 7\"\n,\"retry: 1\"]"}, "[1\n,\n2\n,\"id: 7\"\n,\"retry: 1\"]"),
		dataCase("1 MiB", entry{raw: large}, brief(large)),
		dataCase("1 MiB in 350,000 lines", entry{raw: lines}, brief(lines)),
		dataCase("1 MiB of four bytes a character", entry{raw: wide}, brief(wide)),
		{
			name: "types", query: "&since=earliest",
			log: []entry{
				{typ: "payment_intent.succeeded", data: `1`},
				{typ: "message", data: `2`},
				{data: `3`}, // an event without a type
				{typ: "~!#'/", data: `4`},
				{typ: strings.Repeat("t", 128), data: `5`},
			},
			want: opened("#0", "payment_intent.succeeded #1 1", "message #2 2", "event #3 3", "~!#'/ #4 4", strings.Repeat("t", 128)+" #5 5", "hub.live #5"),
			asks: once,
		},
		{
			name: "an envelope is heard by onmessage", query: "&since=earliest&envelope=1",
			log: []entry{{typ: "paid", data: `{"a":1}`}},
			want: opened("#0",
				`message #1 {"id":"msg_…","position":1,"at":"2026-…","channel":"c","type":"paid","data":{"a":1},"event":"evt_…"}`, "hub.live #1"),
			asks: once,
		},
	}
}
