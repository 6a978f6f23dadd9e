package cli

import (
	"cmp"
	"context"

	"github.com/tributary-hub/tributary/internal/dev"
)

type devCommand struct {
	Listen  string   `placeholder:"127.0.0.1:8080" help:"Address to listen on; port 0 takes a free one. Also TRIBUTARY_LISTEN."`
	Host    []string `placeholder:"NAME" sep:"none" help:"Name under which the hub is asked besides localhost; needed where other machines reach it. Repeatable."`
	DataDir string   `placeholder:".tributary" help:"Folder that keeps everything. Also TRIBUTARY_DATA_DIR."`
}

// Help is shown below the flags.
func (devCommand) Help() string {
	return `Postgres comes from installed programs, else from a pinned build that npm fetches (TRIBUTARY_POSTGRES=auto, system or npm); TRIBUTARY_DATABASE_URL names a database instead. Health and metrics are at 127.0.0.1:9090, or where TRIBUTARY_OPS_LISTEN says. The environment has more: see /docs/configuration of the hub that runs. Ctrl-C stops everything; the data stays.`
}

func (d devCommand) Run(ctx context.Context, env Env) error {
	c, err := env.config()
	if err != nil {
		return err
	}
	c.DataDir = cmp.Or(d.DataDir, c.DataDir)
	return dev.Run(ctx, dev.Options{
		Config:  c,
		Listen:  cmp.Or(d.Listen, c.Listen),
		Hosts:   d.Host,
		Version: build(env).Version,
		Command: env.Args[0],
		Log:     logger(env, c),
		Out:     env.Stdout,
	})
}
