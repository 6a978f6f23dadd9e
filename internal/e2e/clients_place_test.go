package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
)

// count3 are three messages.
func count3() []entry {
	return []entry{{typ: "n", data: `1`}, {typ: "n", data: `2`}, {typ: "n", data: `3`}}
}

// placeCases are about where a stream begins, the ids that it gives, and what breaks its continuity.
func placeCases() []clientCase {
	fifty := clientCase{name: "fifty, in order", query: "&since=earliest", want: opened("#0"), asks: once}
	for i := range 50 {
		fifty.log = append(fifty.log, entry{typ: "n", data: fmt.Sprint(i)})
		fifty.want = append(fifty.want, fmt.Sprintf("n #%d %d", i+1, i))
	}
	return []clientCase{
		fifty,
		{
			name: "from now on", log: count3(), live: []entry{{typ: "n", data: `4`}},
			want: opened("#3", "hub.live #3", "n #4 4"), asks: once,
		},
		{
			name: "an empty log", live: []entry{{typ: "n", data: `1`}},
			want: opened("#0", "hub.live #0", "n #1 1"), asks: once,
		},
		{
			name: "the last two, and then live", log: count3(), query: "&last=2", live: []entry{{typ: "n", data: `4`}},
			want: opened("#1", "n #2 2", "n #3 3", "hub.live #3", "n #4 4"), asks: once,
		},
		{
			name: "behind a cursor in the address", log: count3(), query: "&last_event_id=@1",
			want: opened("#1", "n #2 2", "n #3 3", "hub.live #3"), asks: once,
		},
		{
			name: "since an hour ago", log: count3(), query: "&since=-1h",
			want: opened("#0", "n #1 1", "n #2 2", "n #3 3", "hub.live #3"), asks: once,
		},
		{
			name: "parameters that nobody knows", log: count3(), query: "&utm_source=x&last=1&_=1700000000",
			want: opened("#2", "n #3 3", "hub.live #3"), asks: once,
		},
		{
			name: "other channels' messages in between", query: "&since=earliest",
			log:  []entry{{typ: "n", data: `1`}, {typ: "n", data: `2`, channel: "other"}, {typ: "n", data: `3`}, {typ: "n", data: `4`, channel: "other"}},
			want: opened("#0", "n #1 1", "n #3 3", "hub.live #4"), asks: once,
		},
		{
			name: "a cursor that is none", log: count3(), query: "&last_event_id=%3Cscript%3E%0Adata:%20x",
			want: opened("-", `hub.reset #3 {"reason":"malformed","requested":"\u003cscript\u003e\ndata: x","position":3}`, "hub.live #3"), asks: once,
		},
		{
			name: "a cursor of another history", log: count3(), query: "&last_event_id=ffffffff-2", live: []entry{{typ: "n", data: `4`}},
			want: opened("-", `hub.reset #3 {"reason":"epoch","requested":"ffffffff-2","position":3}`, "hub.live #3", "n #4 4"), asks: once,
		},
		{
			name: "a cursor above the head", log: count3(), query: "&last_event_id=@9",
			want: opened("-", `hub.reset #3 {"reason":"future","requested":"EPOCH-9","position":3}`, "hub.live #3"), asks: once,
		},
		{
			name: "a cursor that retention has passed", log: count3(), query: "&last_event_id=@1", prepare: forgetTwo,
			want: opened("-", `hub.reset #2 {"reason":"retention","requested":"EPOCH-1","position":2}`, "n #3 3", "hub.live #3"), asks: once,
		},
		{
			// What the client saw last is of a hub whose database was lost since.
			name: "another history when it comes again", log: count3(), query: "&last=1",
			way: answered(answer(http.StatusOK, "text/event-stream", "retry: 50\nid: ffffffff-7\nevent: n\ndata: 7\n\n")),
			want: []string{
				"open", "n ffffffff-7 7", "error, comes again",
				"open", "hub.ready ffffffff-7", `hub.reset #3 {"reason":"epoch","requested":"ffffffff-7","position":3}`, "hub.live #3",
			},
			asks: []string{"200", "200 ffffffff-7"},
			but: map[string][]string{"npm": { // gives a message no id but its own
				"open", "n ffffffff-7 7", "error, comes again",
				"open", "hub.ready -", `hub.reset #3 {"reason":"epoch","requested":"ffffffff-7","position":3}`, "hub.live #3",
			}},
		},
	}
}

// forgetTwo has the tenant keep one day, of which the first two messages, when they come, are no longer.
func forgetTwo(t *testing.T, s *scene) {
	t.Helper()
	s.api(t, http.MethodPatch, "/v1/tenants/"+s.tenant, map[string]any{"retention_days": 1}, http.StatusOK)
	s.logged = func(position int) {
		if position != 2 {
			return
		}
		for _, table := range []string{"log_days", "log_heads"} { // the next message begins a day of its own
			column := map[string]string{"log_days": "day = day - 3, at = at - interval '3 days'", "log_heads": "at = at - interval '3 days'"}[table]
			s.exec(t, `UPDATE tributary.`+table+` SET `+column+` WHERE tenant_id = (SELECT id FROM tributary.tenants WHERE slug = $1)`, s.tenant)
		}
	}
}
