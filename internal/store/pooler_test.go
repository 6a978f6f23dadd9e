package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// without is what a URL through a pooler needs that knows no prepared statements.
const without = "&default_query_exec_mode=exec"

// through is a store on the database whose tenant pool goes that way.
func through(t *testing.T, db *storetest.DB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(context.WithoutCancel(t.Context()), store.Options{URL: url, DirectURL: db.URL, Tenant: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Behind a PgBouncer that knows no prepared statements the tenant pool fails by chance, and is found out; with the
// parameter in its URL it does not.
func TestCheckPooler(t *testing.T) {
	t.Parallel()
	pooler := storetest.NewPooler(t, 2, storetest.InTurn)
	db := storetest.New(t)
	tenant := db.Tenant(t)
	for name, tt := range map[string]struct{ url, finding string }{
		"direct":                    {url: db.URL},
		"direct, with exec":         {url: db.URL + without},
		"pooled":                    {url: pooler.URL(db.URL), finding: "there is a pooler in between that does not know prepared statements"},
		"pooled, with exec":         {url: pooler.URL(db.URL) + without},
		"pooled, with simple":       {url: pooler.URL(db.URL) + "&default_query_exec_mode=simple_protocol"},
		"pooled, with descriptions": {url: pooler.URL(db.URL) + "&default_query_exec_mode=cache_describe"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := through(t, db, tt.url)
			err := s.CheckPooler(t.Context())
			if (err != nil) != (tt.finding != "") || err != nil && !strings.Contains(err.Error(), tt.finding) {
				t.Errorf("found %v, want %q", err, tt.finding)
			}
			var failures sync.Map // what went wrong, by its code
			var asking sync.WaitGroup
			for range 4 {
				asking.Go(func() {
					for range 30 {
						err := s.InTenant(t.Context(), tenant, func(tx *store.Tx) error {
							_, err := tx.Endpoints(t.Context(), hub.NewID[hub.EndpointID](), 10)
							return err
						})
						if err != nil {
							failures.Store(codeOf(err), err)
						}
					}
				})
			}
			asking.Wait()
			_, exists := failures.Load("42P05")
			_, absent := failures.Load("26000")
			if failed := exists || absent; failed != (tt.finding != "") {
				t.Errorf("prepared statements failed: %t", failed)
			}
			failures.Range(func(is, err any) bool {
				if is != "42P05" && is != "26000" && is != "25P02" {
					t.Error(err)
				}
				return true
			})
		})
	}
}

func codeOf(err error) string {
	for {
		if pgErr, ok := err.(*pgconn.PgError); ok { //nolint:errorlint // each error of the chain is looked at
			return pgErr.Code
		}
		switch wraps := err.(type) { //nolint:errorlint // likewise
		case interface{ Unwrap() error }:
			err = wraps.Unwrap()
		case interface{ Unwrap() []error }:
			err = wraps.Unwrap()[len(wraps.Unwrap())-1]
		default:
			return fmt.Sprint(err)
		}
	}
}

// A direct URL that passes a transaction pooler is found out, one that does not is not.
func TestCheckDirect(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	poolers := []*storetest.Pooler{storetest.NewPooler(t, 3), storetest.NewPooler(t, 3, storetest.InTurn)}
	for range 3 {
		if err := store.CheckDirect(t.Context(), db.URL); err != nil {
			t.Errorf("direct: %v", err)
		}
		for i, pooler := range poolers {
			if err := store.CheckDirect(t.Context(), pooler.URL(db.URL)); hub.CodeOf(err) != hub.Invalid {
				t.Errorf("through pooler %d: %v", i, err)
			}
		}
	}
	if err := store.CheckDirect(t.Context(), db.URL+"&port=1"); hub.CodeOf(err) != hub.Unavailable {
		t.Errorf("nobody there: %v", err)
	}
}

// Nothing of a tenant outlives its transaction on a connection that others get after it, be it committed, given up or
// broken by an error: neither role nor tenant nor any other setting, and no row is there to be read.
func TestPooler_LeavesNothing(t *testing.T) {
	t.Parallel()
	pooler := storetest.NewPooler(t, 1) // they all share one
	db := storetest.New(t)
	tenant := db.Tenant(t)
	db.Endpoint(t, tenant, "stripe")
	s := through(t, db, pooler.URL(db.URL)+without)
	other, err := pgx.Connect(t.Context(), pooler.URL(db.URL)+without)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close(context.WithoutCancel(t.Context())) })
	look := func() (backend int, settings []string) {
		t.Helper()
		rows, _ := other.Query(t.Context(), `
			SELECT pg_backend_pid(), current_user || ' ' || session_user || ' tenant=' || coalesce(current_setting('tributary.tenant', true), '')
				|| ' idle=' || current_setting('idle_in_transaction_session_timeout')`)
		settings, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (setting string, err error) {
			err = row.Scan(&backend, &setting)
			return setting, err
		})
		if err != nil {
			t.Fatal(err)
		}
		return backend, settings
	}
	shared, before := look()
	for name, work := range map[string]func(*store.Tx) error{
		"committed": func(*store.Tx) error { return nil },
		"given up":  func(*store.Tx) error { return context.Canceled },
		"broken": func(tx *store.Tx) error {
			_, err := tx.Endpoints(t.Context(), hub.EndpointID{}, -1) // Postgres refuses the limit
			if err == nil {
				t.Error("it was not broken: the test no longer fits")
			}
			return err
		},
	} {
		used := 0
		_ = s.InTenant(t.Context(), tenant, func(tx *store.Tx) error {
			n, err := tx.CountEndpoints(t.Context())
			if err != nil || n != 1 {
				t.Errorf("%s: %d endpoints, %v", name, n, err)
			}
			used = n
			return work(tx)
		})
		backend, after := look()
		if backend != shared || used == 0 {
			t.Fatalf("%s: another connection: the test no longer fits", name)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s: it left (-before +after):\n%s", name, diff)
		}
		if _, err := other.Exec(t.Context(), `SELECT FROM tributary.endpoints`); codeOf(err) != "42501" {
			t.Errorf("%s: another's query on the connection: %v, want it refused", name, err)
		}
	}
}
