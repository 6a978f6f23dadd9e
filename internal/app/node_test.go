package app_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/app"
	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// Each process is known to the others by its roles, be it a worker or not, until it ends in order.
func TestStart_RegistersItsNode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ roles, want string }{
		{"ingest,stream", "ingest,stream of test"},
		{"worker", "worker of test"},
		{"", "ingest,api,worker,stream of test"},
	} {
		t.Run(tt.roles, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			ctx := context.WithoutCancel(t.Context())
			c := whole(t, db)
			roles, err := config.ParseRoles(tt.roles)
			must(t, err)
			c.Roles = roles
			process, err := app.New(ctx, app.Options{Config: c, Log: canary.Logger(t), Version: "test"})
			must(t, err)
			must(t, process.Start(ctx))
			nodes := func() []string {
				return storetest.Values[string](t, db, `SELECT array_to_string(roles, ',') || ' of ' || version FROM tributary.nodes`)
			}
			if diff := cmp.Diff([]string{tt.want}, nodes()); diff != "" {
				t.Errorf("nodes while it runs: %s", diff)
			}
			must(t, process.Stop(ctx))
			if left := nodes(); len(left) != 0 {
				t.Errorf("nodes after it ended: %q", left)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
