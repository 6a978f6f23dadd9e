package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// Who asks a Postgres that hangs, without a bound of its own, is told in time that it is away: on a connection that was
// idle, on one that stands in a transaction, and where there is none left. Once it answers, so does every door.
func TestLimits(t *testing.T) {
	t.Parallel()
	cluster := storetest.NewCluster(t)
	gate := storetest.NewGate(t, cluster)
	s := gate.Store(t)
	t.Cleanup(gate.CutAll) // or to close them would take as long as Postgres may take to say goodbye
	river, err := store.OpenRiver(context.WithoutCancel(t.Context()), gate.URL, "", 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(river.Close)
	ctx := context.WithoutCancel(t.Context()) // no deadline but the store's
	tenant := hub.NewID[hub.TenantID]()
	enter := func(amid func()) error {
		return s.InTenant(ctx, tenant, func(tx *store.Tx) error {
			amid()
			_, err := tx.CountEndpoints(ctx)
			return err
		})
	}
	doors := map[string]func() error{
		"tenant":   func() error { return enter(func() {}) },
		"pipeline": func() error { return s.Pipeline.Ping(ctx) },
		"lookup":   func() error { _, err := s.Pipeline.TenantBySlug(ctx, "nobody"); return err },
		"river":    func() error { _, err := river.TakeOver(ctx, ""); return err },
		"batch":    func() error { _, err := s.Pipeline.MarkInstallation(ctx, "dev"); return err },
		"copy":     func() error { _, err := s.Pipeline.InsertEvents(ctx, nil); return err },
	}
	all := func(ask func(name string, door func() error)) {
		var asking sync.WaitGroup
		for name, door := range doors {
			asking.Go(func() { ask(name, door) })
		}
		asking.Wait()
	}
	answer := func(away bool) {
		t.Helper()
		all(func(name string, door func() error) {
			err := door()
			if got := hub.CodeOf(err) == hub.Unavailable; got != away {
				t.Errorf("%s while away is %t: %v", name, away, err)
			}
		})
	}
	answer(false)
	if err := enter(gate.Freeze); hub.CodeOf(err) != hub.Unavailable {
		t.Errorf("amid a transaction: %v", err)
	}
	answer(true)
	gate.Thaw()
	answer(false)

	gate.Lose() // nobody is told that the connections are dead
	began := time.Now()
	all(func(name string, door func() error) {
		for hub.CodeOf(door()) == hub.Unavailable {
			if time.Since(began) > time.Minute {
				t.Errorf("%s is still away", name)
				return
			}
		}
	})
	t.Logf("with every connection lost, all doors were open after %s", time.Since(began))
}

// hold runs fn while every connection of the store's tenant pool stands in a transaction.
func hold(t *testing.T, s *store.Store, fn func()) {
	t.Helper()
	const connections = 4
	var inside, asking sync.WaitGroup
	inside.Add(connections)
	done := make(chan struct{})
	for range connections {
		asking.Go(func() {
			err := s.InTenant(t.Context(), hub.NewID[hub.TenantID](), func(*store.Tx) error {
				inside.Done()
				<-done
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	inside.Wait()
	fn()
	close(done)
	asking.Wait()
}

func nothing(*store.Tx) error { return nil }

// Where all connections are in use, who waits for one is told in time.
func TestLimits_NoneLeft(t *testing.T) {
	t.Parallel()
	s := storetest.New(t).Store
	hold(t, s, func() {
		answer := make(chan error, 1)
		go func() { answer <- s.InTenant(context.WithoutCancel(t.Context()), hub.NewID[hub.TenantID](), nothing) }()
		select {
		case err := <-answer:
			if hub.CodeOf(err) != hub.Unavailable {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Error("it waits on")
		}
	})
}

// Where several idle connections are dead, whoever finds the first does not have to find the others one by one.
func TestLimits_DeadIdleConnections(t *testing.T) {
	t.Parallel()
	cluster := storetest.NewCluster(t)
	gate := storetest.NewGate(t, cluster)
	s := gate.Store(t)
	t.Cleanup(gate.CutAll)
	hold(t, s, func() {})
	cluster.Exec(t, `SELECT pg_sleep(1.5)`) // who was used within the last second is not pinged
	gate.Lose()
	if err := s.InTenant(t.Context(), hub.NewID[hub.TenantID](), nothing); err != nil {
		t.Error(err)
	}
}
