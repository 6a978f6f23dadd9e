package directory_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A clock that tests set.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A town is a directory that does not look by itself, on a database of its own.
type town struct {
	*storetest.DB
	directory *directory.Directory
	keeper    *secret.Keeper
	clock     *clock
	tenant    hub.TenantID
}

func newTown(t *testing.T, changes ...func(*directory.Options)) *town {
	t.Helper()
	db := storetest.New(t)
	keyset, err := secret.NewKeyset()
	must(t, err)
	keeper, err := secret.Open(keyset)
	must(t, err)
	w := &town{DB: db, keeper: keeper, clock: &clock{now: time.Now()}, tenant: db.Tenant(t)}
	o := directory.Options{Pipeline: db.Pipeline, Keeper: keeper, Log: canary.Logger(t), Now: w.clock.Now}
	for _, change := range changes {
		change(&o)
	}
	w.directory, err = directory.New(o)
	must(t, err)
	return w
}

// change is a change by another node: this directory is not told.
func (w *town) change(t *testing.T, fn func(context.Context, *store.Change) error) int64 {
	t.Helper()
	version, err := w.ChangeTenant(t.Context(), hub.Principal{Kind: hub.PrincipalSystem}, w.tenant, func(c *store.Change) error {
		if err := fn(t.Context(), c); err != nil {
			return err
		}
		return c.Audit(t.Context(), "test.changed", "test", nil)
	})
	must(t, err)
	return version
}

func (w *town) setState(t *testing.T, state hub.TenantState) int64 {
	t.Helper()
	return w.change(t, func(ctx context.Context, c *store.Change) error {
		tenant, err := c.LockTenant(ctx)
		if err != nil {
			return err
		}
		tenant.State = state
		_, err = c.UpdateTenant(ctx, tenant)
		return err
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, what string, err error, want hub.Code) {
	t.Helper()
	if got := hub.CodeOf(err); got != want {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

func TestEndpointByToken(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	endpoint := w.Endpoint(t, w.tenant, "stripe")
	got, err := w.directory.EndpointByToken(t.Context(), endpoint.Token)
	if err != nil || got.ID != endpoint.ID || got.Tenant.ID != w.tenant || got.Provider == nil {
		t.Fatalf("EndpointByToken = %+v, %v", got, err)
	}
	_, err = w.directory.EndpointByToken(t.Context(), "nobody's")
	wantCode(t, "unknown token", err, hub.NotFound)
}

// A crowd that comes for one endpoint at a cold start is let in, all of it.
func TestEndpointByToken_Crowd(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	endpoint := w.Endpoint(t, w.tenant, "stripe")
	errs := make(chan error, 500)
	for range cap(errs) {
		go func() {
			_, err := w.directory.EndpointByToken(t.Context(), endpoint.Token)
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// What Postgres does not know is asked for once a second.
func TestEndpointByToken_RemembersWhoIsNobody(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	const token = "made-a-moment-later"
	_, err := w.directory.EndpointByToken(t.Context(), token)
	wantCode(t, "before it is made", err, hub.NotFound)
	w.change(t, func(ctx context.Context, c *store.Change) error {
		_, err := c.CreateEndpoint(ctx, store.SealedEndpoint{
			Endpoint:  hub.Endpoint{ID: hub.NewID[hub.EndpointID](), Name: "late", Provider: "stripe", State: hub.Enabled, Mode: hub.ModeEnforce},
			TokenHash: hub.HashToken(token), TokenSealed: []byte("sealed"),
		})
		return err
	})
	_, err = w.directory.EndpointByToken(t.Context(), token)
	wantCode(t, "within the second", err, hub.NotFound)
	w.clock.pass(time.Second)
	_, err = w.directory.EndpointByToken(t.Context(), token)
	must(t, err)
}

func TestRecheck(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	token := w.Endpoint(t, w.tenant, "stripe").Token
	known, err := w.directory.EndpointByToken(t.Context(), token)
	must(t, err)
	w.setState(t, hub.Suspended)

	newest, err := w.directory.Recheck(t.Context(), known)
	if err != nil || newest.Tenant.State != hub.Suspended {
		t.Fatalf("Recheck = %v, %v; want another node's change", newest, err)
	}
	w.setState(t, hub.Active)
	if same, err := w.directory.Recheck(t.Context(), newest); err != nil || same != newest {
		t.Errorf("a second Recheck within a second asked again: %v, %v", same, err)
	}
	w.clock.pass(time.Second)
	if newest, err = w.directory.Recheck(t.Context(), newest); err != nil || newest.Tenant.State != hub.Active {
		t.Errorf("Recheck after a second = %v, %v", newest, err)
	}
	w.clock.pass(time.Second)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.directory.Recheck(cancelled, newest); err == nil {
		t.Error("a Recheck that could not ask gave an answer")
	}
}

// lock lets nobody read that table until release is called: a look begins and hangs.
func (w *town) lock(t *testing.T, table string) (release func()) {
	t.Helper()
	tx, err := w.Owner.Begin(t.Context())
	must(t, err)
	release = sync.OnceFunc(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	t.Cleanup(release)
	_, err = tx.Exec(t.Context(), `LOCK TABLE tributary.`+table)
	must(t, err)
	return release
}

// awaitLook waits until a look hangs behind the lock.
func (w *town) awaitLook(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !storetest.Value[bool](t, w.DB, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`) {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("nobody looks")
		}
	}
}

// A rechecked is what somebody was told who asked whether known is the newest.
type rechecked struct {
	endpoint *directory.Endpoint
	err      error
}

// recheck asks that often at once, and returns when all have come; what each is told comes later.
func (w *town) recheck(t *testing.T, known *directory.Endpoint, times int) <-chan rechecked {
	t.Helper()
	told := make(chan rechecked, times)
	var come sync.WaitGroup
	come.Add(times)
	for range times {
		go func() {
			come.Done()
			e, err := w.directory.Recheck(t.Context(), known)
			told <- rechecked{e, err}
		}()
	}
	come.Wait()
	return told
}

// Whoever comes while a look runs waits for it and is judged by what it finds, another node's change, never by what
// was known before.
func TestRecheck_WhileALookRuns(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	known, err := w.directory.EndpointByToken(t.Context(), w.Endpoint(t, w.tenant, "stripe").Token)
	must(t, err)
	w.setState(t, hub.Suspended)
	release := w.lock(t, "tenants")
	first := w.recheck(t, known, 1)
	w.awaitLook(t)
	crowd := w.recheck(t, known, 100)
	release()
	told := []rechecked{<-first}
	for range cap(crowd) {
		told = append(told, <-crowd)
	}
	for i, r := range told {
		if hub.CodeOf(r.err) == hub.Unavailable { // on a machine so slow that the look ran out of time
			continue
		}
		if r.err != nil || r.endpoint.Tenant.State != hub.Suspended {
			t.Fatalf("number %d was told by what was known before, or %v", i, r.err)
		}
	}
}

// A look that failed is none: those who waited for it are told so, and the next one looks at once.
func TestRecheck_ALookThatFails(t *testing.T) {
	t.Parallel()
	w := newTown(t) // whose clock stands still
	known, err := w.directory.EndpointByToken(t.Context(), w.Endpoint(t, w.tenant, "stripe").Token)
	must(t, err)
	w.setState(t, hub.Suspended)
	release := w.lock(t, "tenants")
	told := w.recheck(t, known, 1)
	w.awaitLook(t)
	w.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
	r := <-told
	wantCode(t, "a Recheck whose look failed", r.err, hub.Unavailable)
	release()
	newest, err := w.directory.Recheck(t.Context(), known)
	if err != nil || newest.Tenant.State != hub.Suspended {
		t.Errorf("the next Recheck did not see another node's change: %v", err)
	}
}

func TestTenantAt(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	old, err := w.directory.Tenant(t.Context(), w.tenant)
	must(t, err)
	version := w.setState(t, hub.Suspended)
	if same, err := w.directory.Tenant(t.Context(), w.tenant); err != nil || same != old {
		t.Errorf("Tenant asked Postgres though it knows the tenant: %v, %v", same, err)
	}
	newer, err := w.directory.TenantAt(t.Context(), w.tenant, version)
	if err != nil || newer.State != hub.Suspended || newer.ConfigVersion < version {
		t.Errorf("TenantAt(%d) = %+v, %v", version, newer, err)
	}
	select {
	case <-old.Replaced():
	default:
		t.Error("the old configuration does not say that it was replaced")
	}
	select {
	case <-newer.Replaced():
		t.Error("the newest configuration says that it was replaced")
	default:
	}
}

// Whoever comes for a change while an older read runs is not content with it: that read may have begun before the
// change.
func TestTenantAt_WhileAnOlderReadRuns(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	release := w.lock(t, "endpoints") // which are read after the tenant itself, as of the same moment
	var old sync.WaitGroup
	old.Go(func() {
		_, _ = w.directory.Tenant(t.Context(), w.tenant) // whatever it is told: on a machine so slow that the read runs out of time, nothing
	})
	w.awaitLook(t)
	version := w.setState(t, hub.Suspended)
	told := make(chan error, 100)
	var come sync.WaitGroup
	for range cap(told) {
		come.Add(1)
		go func() {
			come.Done()
			tenant, err := w.directory.TenantAt(t.Context(), w.tenant, version)
			if err == nil && (tenant.ConfigVersion < version || tenant.State != hub.Suspended) {
				err = fmt.Errorf("version %d, %s", tenant.ConfigVersion, tenant.State)
			}
			told <- err
		}()
	}
	come.Wait()
	release()
	old.Wait()
	for range cap(told) {
		if err := <-told; err != nil && hub.CodeOf(err) != hub.Unavailable {
			t.Fatalf("who came for version %d was told %v", version, err)
		}
	}
}

// What is known of a tenant is replaced by what is newer, never by what is older or the same.
func TestPut(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	at := func(version int64) *directory.Tenant {
		return directory.NewTenant(hub.Tenant{ID: w.tenant, Slug: "acme", ConfigVersion: version}, time.Hour)
	}
	known := at(5)
	w.directory.Put(known)
	for _, late := range []int64{1, 4, 5} {
		if got := w.directory.Put(at(late)); got != known {
			t.Errorf("version %d took the place of version 5", late)
		}
	}
	select {
	case <-known.Replaced():
		t.Error("the newest says that it was replaced")
	default:
	}
	newer := at(6)
	if got := w.directory.Put(newer); got != newer {
		t.Errorf("version %d stayed in the place of version 6", got.ConfigVersion)
	}
	wait(t, known.Replaced())
}

// What is remembered of a flood of names is bounded: those whose second is over go first, and where all are fresh, all.
func TestLookups_Memory(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Now()}
	l := directory.NewLookups(c.Now)
	for i := range 2*directory.LookupMemory + 10 {
		l.Note(strconv.Itoa(i))
		if n := l.Remembered(); n > directory.LookupMemory {
			t.Fatalf("%d names are remembered, at most %d may be", n, directory.LookupMemory)
		}
	}
	c.pass(time.Second)
	for i := range directory.LookupMemory - 10 {
		l.Note("later:" + strconv.Itoa(i))
	}
	l.Note("one more")
	if got, want := l.Remembered(), directory.LookupMemory-9; got != want {
		t.Errorf("%d names are remembered, want the %d whose second is not over", got, want)
	}
}

func TestTenantByRef(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	byID, err := w.directory.TenantByRef(t.Context(), w.tenant.String())
	must(t, err)
	bySlug, err := w.directory.TenantByRef(t.Context(), byID.Slug)
	if err != nil || bySlug != byID {
		t.Errorf("by slug: %v, %v", bySlug, err)
	}
	for _, ref := range []string{"nobody", "ten_nonsense", hub.NewID[hub.TenantID]().String(), "", "a\x00", "a\xff", "A"} {
		_, err := w.directory.TenantByRef(t.Context(), ref)
		wantCode(t, ref, err, hub.NotFound)
	}
}

func TestKeyByHash(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	key := store.HashedKey{Key: hub.Key{ID: hub.NewID[hub.KeyID](), Name: "k", Scopes: []hub.Scope{hub.ConfigRead}}, Hash: hub.HashToken("tenant's")}
	w.change(t, func(ctx context.Context, c *store.Change) error {
		_, err := c.CreateKey(ctx, key)
		return err
	})
	got, err := w.directory.KeyByHash(t.Context(), key.Hash)
	if err != nil || got.ID != key.ID || got.Tenant == nil || got.Tenant.ID != w.tenant {
		t.Fatalf("KeyByHash = %+v, %v", got, err)
	}
	version := w.change(t, func(ctx context.Context, c *store.Change) error { return c.RevokeKey(ctx, key.ID) })
	w.directory.Changed(t.Context(), w.tenant, version)
	_, err = w.directory.KeyByHash(t.Context(), key.Hash)
	wantCode(t, "revoked", err, hub.NotFound)
	_, err = w.directory.KeyByHash(t.Context(), hub.HashToken("nobody's"))
	wantCode(t, "unknown", err, hub.NotFound)

	operator := hub.HashToken("operator's")
	w.Exec(t, `INSERT INTO tributary.operator_keys (id, name, hash, scopes) VALUES ($1, 'op', $2, '{tenants:read}')`, hub.NewID[hub.KeyID](), operator[:])
	if got, err = w.directory.KeyByHash(t.Context(), operator); err != nil || got.Tenant != nil {
		t.Fatalf("operator's key: %+v, %v", got, err)
	}
	w.Exec(t, `UPDATE tributary.operator_keys SET revoked_at = now()`)
	w.clock.pass(10 * time.Second) // within which a revocation counts everywhere
	_, err = w.directory.KeyByHash(t.Context(), operator)
	wantCode(t, "revoked operator's", err, hub.NotFound)
}

// Without a signal, a change is seen at the next look; a deleted tenant is forgotten.
func TestStart_LooksByItself(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	must(t, w.directory.Start(t.Context()))
	t.Cleanup(func() { must(t, w.directory.Stop(context.WithoutCancel(t.Context()))) })
	old, err := w.directory.Tenant(t.Context(), w.tenant)
	must(t, err)
	w.setState(t, hub.Suspended)
	w.directory.Look()
	wait(t, old.Replaced())
	suspended, err := w.directory.Tenant(t.Context(), w.tenant)
	if err != nil || suspended.State != hub.Suspended {
		t.Fatalf("after a look: %+v, %v", suspended, err)
	}
	w.change(t, func(ctx context.Context, c *store.Change) error { return c.DeleteTenant(ctx) })
	w.directory.Heard(w.tenant, 0)
	wait(t, suspended.Replaced())
	_, err = w.directory.Tenant(t.Context(), w.tenant)
	wantCode(t, "deleted", err, hub.NotFound)
}

// A tenant that cannot be read holds up nobody else, and is seen once it can be, without another look.
func TestStart_OneTenantFails(t *testing.T) {
	t.Parallel()
	w := newTown(t, func(o *directory.Options) { o.Interval = time.Hour })
	must(t, w.directory.Start(t.Context()))
	t.Cleanup(func() { must(t, w.directory.Stop(context.WithoutCancel(t.Context()))) })
	broken, err := w.directory.Tenant(t.Context(), w.tenant)
	must(t, err)
	var others []*directory.Tenant
	for range 20 { // in an order that nobody knows
		other, err := w.directory.Tenant(t.Context(), w.Tenant(t))
		must(t, err)
		others = append(others, other)
	}
	w.Exec(t, `UPDATE tributary.tenants SET state = 'suspended', config_version = config_version + 1`)
	w.Exec(t, `UPDATE tributary.tenants SET limits = '"none"' WHERE id = $1`, w.tenant)
	w.directory.Look()
	for _, other := range others {
		wait(t, other.Replaced())
	}
	select {
	case <-broken.Replaced():
		t.Fatal("a tenant that could not be read was replaced")
	default:
	}
	w.Exec(t, `UPDATE tributary.tenants SET limits = '{}'`)
	wait(t, broken.Replaced())
}

func wait(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("waited 20 s in vain")
	}
}

func TestTenant_Oldest(t *testing.T) {
	t.Parallel()

	now := time.Date(2026, 11, 24, 15, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		days *int
		want time.Time
	}{
		"the hub's":    {nil, time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC)},
		"a tenant's":   {new(2), time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)},
		"not longer":   {new(90), time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC)},
		"a single day": {new(1), time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)},
	} {
		tenant := directory.NewTenant(hub.Tenant{RetentionDays: tt.days}, 720*time.Hour)
		if got := tenant.Oldest(now); !got.Equal(tt.want) {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
