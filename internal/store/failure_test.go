package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// Which errors pass by themselves, which are the caller's, and which are a fault of ours.
func TestFailure(t *testing.T) {
	t.Parallel()
	pg := func(code string) error {
		return fmt.Errorf("while asking: %w", &pgconn.PgError{Code: code, Message: "said Postgres"})
	}
	for _, tt := range []struct {
		name string
		err  error
		want hub.Code
	}{
		{"none", nil, ""},
		{"the server shuts down", pg("57P01"), hub.Unavailable},
		{"the server crashes", pg("57P02"), hub.Unavailable},
		{"the server starts", pg("57P03"), hub.Unavailable},
		{"the statement was cancelled", pg("57014"), hub.Unavailable},
		{"too many connections", pg("53300"), hub.Unavailable},
		{"disk full", pg("53100"), hub.Unavailable},
		{"connection lost on the other side", pg("08006"), hub.Unavailable},
		{"a standby", pg("25006"), hub.Unavailable},
		{"serialization", pg("40001"), hub.Unavailable},
		{"deadlock", pg("40P01"), hub.Unavailable},
		{"lock timeout", pg("55P03"), hub.Unavailable},
		{"upgraded under the server", pg("58P01"), hub.Unavailable},
		{"connection lost", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), hub.Unavailable},
		{"out of time", fmt.Errorf("read: %w", context.DeadlineExceeded), hub.Unavailable},
		{"unique", pg("23505"), hub.Conflict},
		{"a foreign key", pg("23503"), hub.Internal},
		{"no partition", pg("23514"), hub.Internal},
		{"a byte that is no text", pg("22021"), hub.Internal},
		{"not allowed", pg("42501"), hub.Internal},
		{"unreadable", pgx.ScanArgError{Err: errors.New("cannot scan")}, hub.Internal},
		{"no row", pgx.ErrNoRows, hub.Internal},
		{"the caller left", fmt.Errorf("read: %w", context.Canceled), hub.Internal},
		{"coded before", fmt.Errorf("look: %w", hub.Errorf(hub.NotFound, "no such thing")), hub.NotFound},
	} {
		got := store.Failure(tt.err)
		if hub.CodeOf(got) != tt.want || store.IsUnavailable(got) != (tt.want == hub.Unavailable) {
			t.Errorf("%s: code %q, want %q", tt.name, hub.CodeOf(got), tt.want)
		}
		if tt.err != nil && (!errors.Is(got, tt.err) || !strings.Contains(got.Error(), tt.err.Error())) {
			t.Errorf("%s: %v has lost its cause", tt.name, got)
		}
		if coded, ok := errors.AsType[*hub.Error](got); ok && strings.Contains(coded.Message, "said Postgres") {
			t.Errorf("%s: what Postgres said is in the message for whoever asked: %s", tt.name, coded.Message)
		}
	}
}

// A backend that is killed while it works, by a shutdown or an operator, is the database not answering; the next try
// has a new connection.
func TestFailure_KilledBackend(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	appendAll(t, db, unit(tenant, hub.EventID{}, hub.RunID{}, "a"))
	lock, err := db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := lock.Exec(t.Context(), `SELECT FROM tributary.log_heads FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	event := hub.NewID[hub.EventID]()
	go func() {
		_, err := db.Pipeline.Append(t.Context(), []hub.Unit{unit(tenant, event, hub.RunID{}, "b")})
		result <- err
	}()
	db.AwaitTrue(t, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
	db.Kill(t, 1)
	if err := <-result; !store.IsUnavailable(err) {
		t.Errorf("killed: %v", err)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := placesOf(appendAll(t, db, unit(tenant, event, hub.RunID{}, "b"))); diff != "2-2" {
		t.Errorf("tried again: %s", diff)
	}
}

// Who cannot connect, for whichever reason, has not reached the database.
func TestFailure_Refused(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for name, change := range map[string]func(*url.URL, url.Values){
		"nobody listens":   func(_ *url.URL, q url.Values) { q.Set("host", t.TempDir()) },
		"no such database": func(u *url.URL, _ url.Values) { u.Path = "/none" },
		"no such login":    func(u *url.URL, _ url.Values) { u.User = url.User("nobody_of_that_name") },
		"refused TCP":      func(_ *url.URL, q url.Values) { q.Set("host", "127.0.0.1"); q.Set("port", "1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(db.URL)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			change(u, q)
			u.RawQuery = q.Encode()
			s, err := store.Open(t.Context(), store.Options{URL: u.String()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Pipeline.Ping(t.Context()); !store.IsUnavailable(err) {
				t.Errorf("ping: %v", err)
			}
			_, err = s.Pipeline.Append(t.Context(), []hub.Unit{unit(hub.NewID[hub.TenantID](), hub.EventID{}, hub.RunID{}, "a")})
			if !store.IsUnavailable(err) {
				t.Errorf("append: %v", err)
			}
			err = s.InTenant(t.Context(), hub.NewID[hub.TenantID](), func(*store.Tx) error { return nil })
			if !store.IsUnavailable(err) {
				t.Errorf("tenant: %v", err)
			}
		})
	}
}

// An error never says the URL it came from: there is a password in it.
func TestOpen_KeepsThePassword(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"postgres://u:topsecret@[::1", "postgres://u:topsecret@h:port/d", "host=h password=topsecret port=x"} {
		_, err := store.Open(t.Context(), store.Options{URL: bad})
		if err == nil || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("open: %v", err)
		}
	}
	s, err := store.Open(t.Context(), store.Options{URL: "postgres://u:topsecret@127.0.0.1:1/d"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Pipeline.Ping(t.Context()); err == nil || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("ping: %v", err)
	}
}

// What exists already is a conflict.
func TestFailure_Unique(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	r := rejected(tenant, db.Endpoint(t, tenant, "stripe").ID, hub.NoSignature, 1)
	for i, want := range []hub.Code{"", hub.Conflict} {
		if err := db.Pipeline.InsertRejections(t.Context(), []store.Rejected{r}); hub.CodeOf(err) != want {
			t.Errorf("insert %d: %v", i+1, err)
		}
	}
}

// A role that the login may take no more, or that is gone, is the operator's to mend: it is nobody's request that is wrong.
func TestFailure_RoleTakenAway(t *testing.T) {
	t.Parallel()
	const there, gone = "taken_away", "never_made"
	cleanRoles(t, there+"_tenant")
	db := storetest.New(t)
	db.Exec(t, `CREATE ROLE `+there+`_tenant`)
	for _, prefix := range []string{there, gone} {
		s, err := store.Open(t.Context(), store.Options{URL: db.URL, RolePrefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.InTenant(t.Context(), hub.NewID[hub.TenantID](), func(*store.Tx) error { return nil }); !store.IsUnavailable(err) {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}
