package store_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// naming gives the events and runs of a test, named in one digit, their ids.
type naming struct {
	events map[string]hub.EventID
	runs   map[string]hub.RunID
}

// unit reads a unit as TestAppend_Gate writes it.
func (n *naming) unit(t testing.TB, tenant hub.TenantID, text string) hub.Unit {
	t.Helper()
	name, letters, ok := strings.Cut(text, ":")
	if !ok {
		t.Fatalf("unit %q", text)
	}
	if n.events == nil {
		n.events, n.runs = map[string]hub.EventID{"p": {}}, map[string]hub.RunID{"": {}}
	}
	event, run, _ := strings.Cut(name, ".")
	if _, known := n.events[event]; !known {
		n.events[event] = hub.NewID[hub.EventID]()
	}
	if _, known := n.runs[run]; !known {
		n.runs[run] = hub.NewID[hub.RunID]()
	}
	return unit(tenant, n.events[event], n.runs[run], letters)
}

// placesOf says where units stand: their positions, "-" for those without messages, "no" for those that did not pass.
func placesOf(placed []hub.Placed) string {
	places := make([]string, len(placed))
	for i, p := range placed {
		switch {
		case !p.Passed && p == hub.Placed{}:
			places[i] = "no"
		case p.Passed && p.First == 0 && p.Last == 0 && p.At.IsZero():
			places[i] = "-"
		case p.Passed && !p.At.IsZero():
			places[i] = fmt.Sprintf("%d-%d", p.First, p.Last)
		default:
			places[i] = fmt.Sprintf("%+v", p)
		}
	}
	return strings.Join(places, " ")
}

// fields splits and trims; the blanks at its ends are no fields.
func fields(s, separator string) []string {
	parts := strings.Split(strings.TrimSpace(s), separator)
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// manyTenants makes n tenants at once, in the order of their ids.
func manyTenants(t testing.TB, db *storetest.DB, n int) []hub.TenantID {
	t.Helper()
	tenants := make([]hub.TenantID, n)
	for i := range tenants {
		tenants[i] = hub.NewID[hub.TenantID]()
	}
	db.Exec(t, `INSERT INTO tributary.tenants (id, slug, name) SELECT id, 't' || id, 'one of many' FROM unnest($1::uuid[]) AS t(id)`, tenants)
	return tenants
}

// listen hears the database's signals from now on; each call of what it returns waits for the next.
func listen(t *testing.T, db *storetest.DB) (next func() backplane.Signal) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	if _, err := conn.Exec(t.Context(), `LISTEN `+backplane.Channel); err != nil {
		t.Fatal(err)
	}
	return func() backplane.Signal {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		notification, err := conn.WaitForNotification(ctx)
		if err != nil {
			t.Fatal(err)
		}
		signal, err := backplane.Decode(notification.Payload)
		if err != nil {
			t.Fatalf("decode %q: %v", notification.Payload, err)
		}
		return signal
	}
}

// sortHeads compares wakes whatever the order of their heads.
func sortHeads() cmp.Option {
	return cmp.Transformer("sorted", func(w backplane.Wake) struct {
		All   bool
		Heads []backplane.Head
	} {
		heads := slices.SortedFunc(slices.Values(w.Heads), func(a, b backplane.Head) int { return bytes.Compare(a.Tenant[:], b.Tenant[:]) })
		return struct {
			All   bool
			Heads []backplane.Head
		}{w.All, heads}
	})
}

// replayOf reads a log from its beginning.
func replayOf(tenant hub.TenantID) store.Replay { return store.Replay{Tenant: tenant, Page: plenty} }
