package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tributary-hub/tributary/internal/app"
	"github.com/tributary-hub/tributary/internal/config"
)

type serveCommand struct {
	Roles *string `placeholder:"LIST" help:"What this process does, of ingest, api, worker and stream, with commas; all by default. Also TRIBUTARY_ROLES."`
}

// Help is shown below the flags.
func (serveCommand) Help() string {
	return `The environment configures it: see /docs/configuration of a hub, and "tributary config" for what is in effect. It needs TRIBUTARY_DATABASE_URL with a login that "tributary migrate up --login" has prepared, TRIBUTARY_KEYSET and TRIBUTARY_PUBLIC_URL, and refuses to start with one message of all that is wrong; "tributary doctor" asks the same and more. SIGTERM ends it in order, within 25 seconds.`
}

func (s serveCommand) Run(ctx context.Context, env Env) error {
	c, err := env.service()
	problems, understood := errors.AsType[config.Problems](err)
	if err != nil && !understood {
		return err
	}
	if s.Roles != nil {
		if *s.Roles == "" {
			return usageError{errors.New("--roles: names none; without the flag they are all of ingest, api, worker and stream")}
		}
		if c.Roles, err = config.ParseRoles(*s.Roles); err != nil {
			return usageError{fmt.Errorf("--roles: %w", err)}
		}
	}
	log := logger(env, c)
	if len(problems) > 0 {
		return errors.Join(problems, app.Refused(app.Examine(ctx, c, problems))) // the one message, with all that can be known
	}
	process, err := app.New(ctx, app.Options{Config: c, Log: log, Version: build(env).Version})
	if err != nil {
		return err
	}
	if err := process.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted before the hub served")
		}
		return err
	}
	log.InfoContext(ctx, "serving", "roles", strings.Split(c.Roles.String(), ","), "listen", process.Addr(), "ops_listen", process.OpsAddr(), "version", build(env).Version)
	select {
	case <-ctx.Done():
		log.InfoContext(ctx, "stopping")
		err = nil
	case err = <-process.Failed():
	}
	err = errors.Join(err, process.Stop(context.WithoutCancel(ctx)))
	log.InfoContext(ctx, "stopped")
	return err
}
