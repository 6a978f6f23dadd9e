package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tributary-hub/tributary/internal/bench"
)

type benchCommand struct {
	Duration  time.Duration `default:"8s" help:"Of each measurement."`
	Clients   []int         `default:"32,128" help:"Numbers of connections."`
	Yardstick string        `hidden:"" placeholder:"FILE" help:"Serve the handler with a transaction for each request, for the hub of that dev.json."`
}

// Help is shown below the flags.
func (benchCommand) Help() string {
	return `Starts a hub of its own on a fresh folder, and measures it beside yardsticks on the same Postgres in the same run. The table goes to stdout. CPU is read from /proc, and zero where there is none.`
}

func (b benchCommand) Run(ctx context.Context, env Env) error {
	if b.Yardstick != "" {
		return bench.ServeYardstick(ctx, b.Yardstick, env.Stdin, env.Stdout)
	}
	c, err := env.config()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return bench.Run(ctx, bench.Options{Binary: program, Environ: env.Environ, Out: env.Stdout, Log: logger(env, c), Duration: b.Duration, Clients: b.Clients})
}
