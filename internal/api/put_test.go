package api_test

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// Of several that put one new name at once, one creates it and the others replace it, unless they said that they
// would not.
func TestPut_AtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	resources := map[string]object{
		"endpoints": {"provider": "stripe"},
		"routes":    {"match": "true", "channels": []string{"x"}},
		"issuers":   {"issuer": "https://login.example.com", "audiences": []string{"app"}, "grants": []string{"user:{sub}"}, "shares_channels": true},
	}
	for _, tt := range []struct {
		name   string
		header []string
		want   map[int]int // how many are answered so
	}{
		{"plain", nil, map[int]int{201: 1, 200: 7}},
		{"create-only", []string{"If-None-Match", "*"}, map[int]int{201: 1, 412: 7}},
		{"replace-only", []string{"If-Match", `"x"`}, map[int]int{412: 8}},
	} {
		for resource, body := range resources {
			t.Run(tt.name+" "+resource, func(t *testing.T) {
				t.Parallel()
				path := "/v1/tenants/acme/" + resource + "/" + tt.name
				statuses := make([]int, 8)
				var group sync.WaitGroup
				for i := range statuses {
					group.Go(func() { statuses[i] = w.send(t, "PUT", path, w.acme, body, tt.header...).status })
				}
				group.Wait()
				got := map[int]int{}
				for _, status := range statuses {
					got[status]++
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
				if n := storetest.Value[int](t, w.db, `SELECT count(*) FROM tributary.`+resource+` WHERE name = $1`, tt.name); n != tt.want[201] {
					t.Errorf("%d of that name", n)
				}
			})
		}
	}
}

// A limit holds however many put at once.
func TestPut_AtOnceWithinTheLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, 200, "PATCH", "/v1/tenants/acme", w.operator, object{"limits": object{"routes": 3}})
	var group sync.WaitGroup
	replies := make([]reply, 8)
	for i := range replies {
		group.Go(func() {
			replies[i] = w.send(t, "PUT", "/v1/tenants/acme/routes/r"+string(rune('a'+i)), w.acme, object{"match": "true", "channels": []string{"x"}})
		})
	}
	group.Wait()
	made := 0
	for _, r := range replies {
		switch {
		case r.status == 201:
			made++
		case r.body["code"] != string(hub.LimitExceeded):
			t.Errorf("%d %s", r.status, r.raw)
		}
	}
	if made != 3 {
		t.Errorf("%d routes", made)
	}
}
