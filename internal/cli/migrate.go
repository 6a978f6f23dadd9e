package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Bring the schema to this build, and make the roles."`
	Status migrateStatus `cmd:"" help:"Say which migrations the database has; exit code 1 while some are pending."`
}

type migrateUp struct {
	Login string `placeholder:"NAME" help:"Login that serve connects as, which gets the three roles and nothing else. It must exist."`
}

// Help is shown below the flags.
func (migrateUp) Help() string {
	return `Run it as the owner of the schema, TRIBUTARY_OWNER_DATABASE_URL, before processes of a new build start. The previous build goes on serving meanwhile: migrations only add. Two at once wait for each other; done twice it changes nothing.`
}

func (m migrateUp) Run(ctx context.Context, env Env) error {
	c, owner, err := env.owner()
	if err != nil {
		return err
	}
	err = store.Migrate(ctx, store.MigrateOptions{URL: owner.Reveal(), RolePrefix: c.RolePrefix, Login: m.Login, Log: logger(env, c)})
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted: each migration is done whole or not at all; run it again, and it goes on")
		}
		return err
	}
	status, err := store.OwnersMigrationStatus(ctx, owner.Reveal())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stderr, "The schema of %s is at migration %d.\n", config.Place(owner), status.Current)
	return err
}

type migrateStatus struct {
	JSON bool `name:"json" help:"Print as JSON."`
}

func (m migrateStatus) Run(ctx context.Context, env Env) error {
	_, owner, err := env.owner()
	if err != nil {
		return err
	}
	status, err := store.OwnersMigrationStatus(ctx, owner.Reveal())
	if err != nil {
		return err
	}
	if m.JSON {
		err = json.NewEncoder(env.Stdout).Encode(map[string]any{"current": status.Current, "wanted": status.Wanted, "pending": status.Pending()})
	} else {
		_, err = fmt.Fprintf(env.Stdout, "current %d\nwanted  %d\n", status.Current, status.Wanted)
	}
	if err == nil && status.Pending() {
		err = errors.New("migrations are pending: `tributary migrate up` applies them")
	}
	return err
}

// owner is the configuration, and the database's URL with its owner's login.
func (e Env) owner() (config.Config, secret.String, error) {
	c, err := e.service()
	if err != nil {
		return config.Config{}, secret.String{}, err
	}
	owner, _ := c.Owner()
	if owner.IsZero() {
		return c, owner, config.Problems{"TRIBUTARY_OWNER_DATABASE_URL: not set; it names the database with the login of the schema's owner"}
	}
	return c, owner, nil
}
