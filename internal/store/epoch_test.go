package store_test

import (
	"slices"
	"testing"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// What a server refuses to the login counts as empty: the epoch is there, and another one.
func TestEpoch_Refused(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	seen := map[string]string{}
	for _, refused := range []string{"nothing", "pg_control_system()", "pg_walfile_name(pg_lsn)"} {
		if refused != "nothing" {
			db.Exec(t, `REVOKE EXECUTE ON FUNCTION `+refused+` FROM PUBLIC`)
		}
		var epoch string
		storetest.Await(t, "another epoch where it is refused "+refused, func() bool { // a pool's connection that asked before may answer after
			var err error
			if epoch, err = db.Pipeline.Epoch(t.Context()); err != nil {
				t.Fatalf("refused %s: %v", refused, err)
			}
			_, before := seen[epoch]
			return !before
		})
		seen[epoch] = refused
	}
}

// Who hears of epochs hears of each once, in order, from the connections and from who asks.
func TestOnEpoch(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	var told []string
	db.Pipeline.OnEpoch(func(epoch string) { told = append(told, epoch) })
	var want []string
	for _, salt := range []string{"one", "two"} {
		db.Exec(t, `UPDATE tributary.epoch SET salt = $1`, salt)
		for range 3 {
			epoch, err := db.Pipeline.Epoch(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, epoch)
		}
	}
	want = slices.Compact(want)
	if told = slices.Compact(told); len(told) > len(want) {
		told = told[len(told)-len(want):] // the first connection may have been made before the first salt
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// A server in recovery is treated as away, though it answers; once it is promoted it is there.
func TestPipeline_InRecovery(t *testing.T) {
	t.Parallel()
	first := storetest.NewCluster(t)
	standby := first.Standby(t)
	s := standby.DB(t)
	if err := s.Pipeline.Ping(t.Context()); hub.CodeOf(err) != hub.Unavailable {
		t.Errorf("a server in recovery: %v", err)
	}
	standby.Promote(t)
	if err := s.Pipeline.Ping(t.Context()); err != nil {
		t.Errorf("promoted: %v", err)
	}
}
