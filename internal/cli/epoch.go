package cli

import (
	"context"
	"fmt"

	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/store"
)

type epochCommand struct {
	New epochNew `cmd:"" help:"Say that the log's positions may have been used twice: every subscriber starts anew."`
}

type epochNew struct{}

// Help is shown below the flags.
func (epochNew) Help() string {
	return `For after a restore that Postgres itself cannot notice: a volume's snapshot, a copied data folder. A promotion, a point-in-time restore and a dump loaded anew are noticed without it. It runs as the owner of the schema, TRIBUTARY_OWNER_DATABASE_URL, before or while processes run.`
}

func (epochNew) Run(ctx context.Context, env Env) error {
	_, owner, err := env.owner()
	if err != nil {
		return err
	}
	if err := store.NewEpoch(ctx, owner.Reveal()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stderr, "The epoch of %s is new: subscribers are told by hub.reset, and read anew.\n", config.Place(owner))
	return err
}
