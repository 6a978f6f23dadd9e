package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// returnCases are about streams that end: the client comes again by itself, with the last id that it has, and sees the
// rest, each message once.
func returnCases() []clientCase {
	all := []string{"n #1 1", "n #2 2", "n #3 3", "hub.live #3"}
	// broken is a stream whose first connection breaks behind these bytes, after which the client has seen before.
	broken := func(name, behind, place string, before, after []string) clientCase {
		c := clientCase{name: name, log: count3(), query: "&since=earliest", way: cut(behind, "retry: 50\n"), asks: []string{"200", strings.TrimSpace("200 " + place)}}
		c.want = append(append(append([]string{"open"}, before...), "error, comes again", "open"), after...)
		return c
	}
	seen := func(lines ...string) []string { return lines }
	first := broken("cut between two messages", "data: 1\n\n", "#1", seen("hub.ready #0", "n #1 1"), append(seen("hub.ready #1"), all[1:]...))
	patient := first
	patient.name, patient.way = "cut, and told nothing of when to come again", cut("data: 1\n\n", "")
	told := first
	told.name, told.way, told.pause = "cut, and told when to come again", cut("data: 1\n\n", "retry: 6000\n"), 6*time.Second
	return []clientCase{
		first,
		patient,
		told,
		broken("cut before anything", "retry: 50\n", "", nil, append(seen("hub.ready #0"), all...)),
		broken("cut within hub.ready", "event: hub.ready\nid: ", "", nil, append(seen("hub.ready #0"), all...)),
		broken("cut behind hub.ready", "\"position\":3}\n\n", "#0", seen("hub.ready #0"), append(seen("hub.ready #0"), all...)),
		broken("cut behind a message's id", "-2\n", "#1", seen("hub.ready #0", "n #1 1"), append(seen("hub.ready #1"), all[1:]...)),
		broken("cut before the line that ends a message", "data: 2\n", "#1", seen("hub.ready #0", "n #1 1"), append(seen("hub.ready #1"), all[1:]...)),
		broken("cut behind hub.live", "event: hub.live\n", "#3", seen("hub.ready #0", "n #1 1", "n #2 2", "n #3 3"), seen("hub.ready #3", "hub.live #3")),
		{
			name: "an empty id takes the place away", log: count3(), query: "&last=1",
			way:  answered(answer(http.StatusOK, "text/event-stream", "retry: 50\nid: ffffffff-7\ndata: 7\n\nid\ndata: 8\n\n")),
			want: []string{"open", "message ffffffff-7 7", "message - 8", "error, comes again", "open", "hub.ready #2", "n #3 3", "hub.live #3"},
			asks: []string{"200", "200"},
		},
		{
			name: "a place beside a message holds", log: count3(), query: "&last=1",
			way: answered(answer(http.StatusOK, "text/event-stream", "retry: 50\nid: ffffffff-7\ndata: 7\n\nevent: n\ndata: 8\n\n")),
			want: []string{
				"open", "message ffffffff-7 7", "n ffffffff-7 8", "error, comes again",
				"open", "hub.ready ffffffff-7", `hub.reset #3 {"reason":"epoch","requested":"ffffffff-7","position":3}`, "hub.live #3",
			},
			asks: []string{"200", "200 ffffffff-7"},
			but: map[string][]string{"npm": { // gives a message no id but its own
				"open", "message ffffffff-7 7", "n - 8", "error, comes again",
				"open", "hub.ready -", `hub.reset #3 {"reason":"epoch","requested":"ffffffff-7","position":3}`, "hub.live #3",
			}},
		},
		{
			name: "a token that expires", demo: true, live: []entry{{typ: "n", data: `1`}}, prepare: expiring,
			want: []string{
				"open", "hub.ready #0", "hub.live #0", "n #1 1", `hub.bye #1 {"reason":"expired"}`, "error, comes again",
				"open", "hub.ready #1", "hub.live #1",
			},
			asks: []string{"200", "200 #1"},
			but: map[string][]string{"npm": { // as above
				"open", "hub.ready #0", "hub.live #0", "n #1 1", `hub.bye - {"reason":"expired"}`, "error, comes again",
				"open", "hub.ready #1", "hub.live #1",
			}},
		},
		{
			name: "a key that is revoked", log: count3(), query: "&last=1", prepare: ownKey, then: revokeKey,
			want: []string{
				"open", "hub.ready #2", "n #3 3", "hub.live #3", `hub.bye #3 {"reason":"closed"}`, "error, comes again",
				"error, closed",
			},
			asks: []string{"200", "401 #3"},
			but: map[string][]string{"npm": { // as above
				"open", "hub.ready #2", "n #3 3", "hub.live #3", `hub.bye - {"reason":"closed"}`, "error, comes again",
				"error, closed",
			}},
		},
	}
}

// expiring has each client come with a token that soon expires, and then with one that does not.
func expiring(_ *testing.T, s *scene) {
	s.credential = func(n int) string {
		if n == 0 {
			return s.shortToken(15)
		}
		return s.shortToken(600)
	}
}

// ownKey has clients come with a key of the tenant's, which revokeKey revokes.
func ownKey(t *testing.T, s *scene) {
	t.Helper()
	key := s.api(t, http.MethodPost, "/v1/tenants/"+s.tenant+"/keys", map[string]any{"name": "reader", "scopes": []string{"messages:read"}}, http.StatusCreated)
	s.key = key["id"].(string)
	s.credential = func(int) string { return key["key"].(string) }
}

func revokeKey(t *testing.T, s *scene) {
	t.Helper()
	s.api(t, http.MethodDelete, "/v1/tenants/"+s.tenant+"/keys/"+s.key, nil, http.StatusNoContent)
}
