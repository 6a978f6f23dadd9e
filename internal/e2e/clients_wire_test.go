package e2e_test

// wireCases are about what proxies do to bytes that they should pass on as they are. What a client makes of it is
// the client's; that it changes nothing is why the hub's frames are made as they are.
func wireCases() []clientCase {
	const text = "\"ä\u65e5🧪\"" // two, three and four bytes
	through := func(name string, w way) clientCase {
		return clientCase{
			name: name, way: w, query: "&since=earliest", log: []entry{{typ: "n", data: text}, {typ: "n", raw: "[\n2]"}, {typ: "message", data: `{}`}},
			want: opened("#0", "n #1 "+text, "n #2 [\n2]", `message #3 {}`, "hub.live #3"), asks: once,
		}
	}
	nothing := func(name, before string) clientCase { return through(name, led(before)) }
	// go-sse makes a message of a frame that has no data.
	heard := func(c clientCase, first string) clientCase {
		c.but = map[string][]string{"go-sse": append([]string{"open", first}, c.want[1:]...)}
		return c
	}
	return []clientCase{
		through("byte by byte", split()),
		through("all in one piece", gathered()),
		through("CRLF for LF", edited("\n", "\r\n")),
		// What follows a CR could be the LF of the same line end: some clients wait for it, and are given a comment.
		through("CR for LF", edited("\n\n", "\r\r:\r", "\n", "\r")),
		through("CRLF for LF, byte by byte", split("\n", "\r\n")),
		through("CR for LF, byte by byte", split("\n\n", "\r\r:\r", "\n", "\r")),
		through("comments between frames", edited("\n\n", "\n\n: still here\n\n")),
		through("comments within frames", edited("\ndata: ", "\n:\n: id: 9\ndata: ")),
		through("fields that nobody knows", edited("\ndata: ", "\nx-proxy: 1\nDATA: 2\n data: 3\ndata: ")),
		through("no space behind the colon", edited("data: ", "data:", "id: ", "id:", "event: ", "event:")),
		through("a retry that is no number", edited("\ndata: ", "\nretry: 1s\nretry: -1\ndata: ")),
		nothing("a byte order mark at the start", "\ufeff"),
		nothing("a comment at the start", ":\n\n"),
		nothing("two kilobytes of padding", ":"+string(make([]byte, 2048))+"\n\n"),
		heard(nothing("a frame without data", "event: hub.bye\n\n"), "hub.bye - "),
		heard(nothing("retry alone", "retry: 10000\n\n"), "message - "),
		nothing("an id that has NUL", "id: a\x00b\n\n"),
	}
}
