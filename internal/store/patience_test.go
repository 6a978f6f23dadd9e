package store_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/migrations"
)

// later is the migrations of a later build: this one's, and one more for each text.
func later(t *testing.T, more ...string) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		content, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: content}
	}
	for i, sql := range more {
		files[fmt.Sprintf("%03d_later.sql", len(names)+i+1)] = &fstest.MapFile{Data: []byte(sql)}
	}
	return files
}

const addNote = `ALTER TABLE tributary.events ADD COLUMN note text`

// A migration that does not get its lock lets the traffic behind it pass, says who is in its way, and when it is given
// up, nothing is half done; once the way is free it goes through.
func TestMigrate_GivesWay(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	report, release := reader(t, db)
	before := storetest.Value[int](t, db, `SELECT version FROM tributary.schema_version`)

	gaveUp := make(chan error, 1)
	go func() {
		gaveUp <- store.MigrateFrom(t.Context(), store.MigrateOptions{URL: db.OwnerURL, Log: slog.New(slog.DiscardHandler)}, later(t, addNote), 2)
	}()
	event := db.Event(t, "stripe")
	db.AwaitTrue(t, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'tributary.events'::regclass AND mode = 'AccessExclusiveLock')`)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := db.Pipeline.InsertEvents(ctx, []hub.Event{event}); err != nil { // queued behind the migration
		t.Fatalf("an event while a migration waits: %v", err)
	}
	if storetest.Value[int](t, db, `SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'idle in transaction'`, report) != 1 {
		t.Error("the reader has ended, so this shows nothing")
	}
	err := <-gaveUp
	if hub.CodeOf(err) != hub.Unavailable {
		t.Fatalf("with a reader in its way: %v", err)
	}
	for _, want := range []string{"migration 00", "_later.sql", fmt.Sprintf("session %d of ", report), "(report)", "nothing of it is done", "pg_terminate_backend"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q: %v", want, err)
		}
	}
	noted := `SELECT count(*) FROM information_schema.columns WHERE table_schema = 'tributary' AND column_name = 'note' AND table_name = 'events'`
	if now := storetest.Value[int](t, db, `SELECT version FROM tributary.schema_version`); now != before || storetest.Value[int](t, db, noted) != 0 {
		t.Errorf("given up, and yet the schema is at %d, was %d", now, before)
	}

	release()
	if err := store.MigrateFrom(t.Context(), store.MigrateOptions{URL: db.OwnerURL, Log: slog.New(slog.DiscardHandler)}, later(t, addNote), 2); err != nil {
		t.Fatal(err)
	}
	if now := storetest.Value[int](t, db, `SELECT version FROM tributary.schema_version`); now != before+1 || storetest.Value[int](t, db, noted) != 1 {
		t.Errorf("the schema is at %d, was %d", now, before)
	}
}

// reader is a session that has read the events and not ended its transaction.
func reader(t *testing.T, db *storetest.DB) (pid int, release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.OwnerURL+"&application_name=report")
	if err != nil {
		t.Fatal(err)
	}
	release = func() { _ = conn.Close(t.Context()) }
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	if _, err := conn.Exec(t.Context(), `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM tributary.events`); err != nil {
		t.Fatal(err)
	}
	return int(conn.PgConn().PID()), release
}

// It tries again by itself: who was in the way has left meanwhile.
func TestMigrate_TriesAgain(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	_, release := reader(t, db)
	log := &watchedLog{tells: "gives way", told: release}
	if err := store.MigrateFrom(t.Context(), store.MigrateOptions{URL: db.OwnerURL, Log: slog.New(slog.NewTextHandler(log, nil))}, later(t, addNote), 20); err != nil {
		t.Fatal(err)
	}
	if len(log.lines) != 1 {
		t.Errorf("it gave way %d times, want once", len(log.lines))
	}
}

// A watchedLog keeps the lines with that text, and calls told with each.
type watchedLog struct {
	tells string
	told  func()
	lines []string
}

func (l *watchedLog) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(l.tells)) {
		l.lines = append(l.lines, string(p))
		l.told()
	}
	return len(p), nil
}

// An index that is made beside the traffic waits for older transactions, as long as it takes, and stops nobody; a
// second migration that waits for the first is not one of those, or each would wait for the other.
func TestMigrate_Concurrently(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	_, release := reader(t, db)
	files := later(t, `---- tern: disable-tx ----
DROP INDEX CONCURRENTLY IF EXISTS tributary.dedup_event;
CREATE INDEX CONCURRENTLY dedup_event ON tributary.dedup (event_id);`)
	done := make(chan error, 2)
	for range 2 {
		go func() {
			done <- store.MigrateFrom(t.Context(), store.MigrateOptions{URL: db.OwnerURL, Log: slog.New(slog.DiscardHandler)}, files, 1)
		}()
	}
	building := `SELECT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE relid = 'tributary.dedup'::regclass AND current_locker_pid > 0)`
	asking := `SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'tributary migrate' AND datname = current_database() AND query LIKE '%advisory_lock%'
		OR application_name = 'tributary migrate' AND datname = current_database() AND query LIKE 'CREATE INDEX%'`
	db.AwaitTrue(t, building)
	db.AwaitTrue(t, asking)
	storetest.Value[string](t, db, `SELECT pg_sleep(2)::text`) // longer than a lock may be waited for
	event := db.Event(t, "stripe")
	if _, err := db.Pipeline.InsertEvents(t.Context(), []hub.Event{event}); err != nil {
		t.Errorf("an event while an index is built: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := db.Pipeline.Join(ctx, store.Node{ID: "n", Roles: []string{"api"}, Keyset: store.Keyset{Keys: []uint32{1}, Primary: 1, Proof: []byte("proof")}}); err != nil {
		t.Errorf("a node that starts while an index is built: %v", err)
	}
	release()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if !storetest.Value[bool](t, db, `SELECT indisvalid FROM pg_index WHERE indexrelid = 'tributary.dedup_event'::regclass`) {
		t.Error("the index is not valid")
	}
}

// The build before migrates nothing where a later one did, as when it is installed again: it says so and is content.
func TestMigrate_Ahead(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	if err := store.MigrateFrom(t.Context(), store.MigrateOptions{URL: db.OwnerURL, Log: slog.New(slog.DiscardHandler)}, later(t, addNote), 2); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `INSERT INTO tributary_river.river_migration (line, version) SELECT 'main', max(version) + 1 FROM tributary_river.river_migration`)
	before := dumpSchema(t, db)
	said, err := migrate(t.Context(), db, "", "tributary_test")
	if err != nil || !strings.Contains(said, "ahead of this build") {
		t.Errorf("it said %q, %v", said, err)
	}
	if after := dumpSchema(t, db); after != before {
		t.Error("it changed the schema")
	}
}

// A step that did not get its locks is done again, each time after a longer pause; so is one that Postgres ended to
// end a deadlock. Anything else is not tried again.
func TestMigrate_Pauses(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Exec(t, `CREATE SEQUENCE public.tries`) // counts what is rolled back, too
	files := later(t, `
		DO $$ BEGIN
			CASE nextval('public.tries')
				WHEN 1, 3 THEN RAISE 'not in time' USING ERRCODE = 'lock_not_available';
				WHEN 2 THEN RAISE 'a deadlock' USING ERRCODE = 'deadlock_detected';
				WHEN 4 THEN RAISE 'a fault';
				ELSE NULL;
			END CASE;
		END $$`)
	log := &watchedLog{tells: "gives way", told: func() {}}
	err := store.MigrateFrom(t.Context(), store.MigrateOptions{URL: db.OwnerURL, Log: slog.New(slog.NewTextHandler(log, nil))}, files, 20)
	if err == nil || !strings.Contains(err.Error(), "a fault") {
		t.Errorf("it ended with %v, want the fault", err)
	}
	for i, want := range []string{"try=1 again_in=100ms", "try=2 again_in=200ms", "try=3 again_in=400ms"} {
		if i >= len(log.lines) || !strings.Contains(log.lines[i], want) {
			t.Errorf("line %d of %q does not say %s", i, log.lines, want)
		}
	}
}

// What a migration may take from others, and from whoever waits for it.
func TestMigrate_Patience(t *testing.T) {
	t.Parallel()
	const slack = 3 * time.Second // the shortest time that a provider waits for the answer to its webhook
	if store.LockPatience <= time.Second || store.LockPatience > slack*2/3 {
		t.Errorf("a webhook may queue behind it for %s", store.LockPatience)
	}
	all := store.LockPatience
	for try := 1; try < store.LockTries; try++ {
		all += store.LockPatience + store.PauseAfter(try)
	}
	if all < time.Minute || all > 2*time.Minute {
		t.Errorf("it gives up after %s, want less than two minutes and more than one", all)
	}
	if first, last := store.PauseAfter(1), store.PauseAfter(1000); first > time.Second || last != store.PauseAfter(store.LockTries) {
		t.Errorf("pauses from %s to %s", first, last)
	}
}

// A migration that stops nobody waits as long as it takes, and the one after it no longer than others do.
func TestMigrate_LockTimeouts(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	files := later(t,
		"---- tern: disable-tx ----\nCREATE TABLE public.slow AS SELECT current_setting('lock_timeout')::interval AS waits;",
		"CREATE TABLE public.quick AS SELECT current_setting('lock_timeout')::interval AS waits;")
	if err := store.MigrateFrom(t.Context(), store.MigrateOptions{URL: db.OwnerURL, Log: slog.New(slog.DiscardHandler)}, files, 1); err != nil {
		t.Fatal(err)
	}
	got := storetest.Values[time.Duration](t, db, `SELECT waits FROM public.slow UNION ALL SELECT waits FROM public.quick`)
	if diff := cmp.Diff([]time.Duration{0, store.LockPatience}, got); diff != "" {
		t.Errorf("the slow one's and the next one's lock_timeout (-want +got):\n%s", diff)
	}
}
