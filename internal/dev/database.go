package dev

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/localpg"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

const (
	databaseName = "tributary"
	kindDev      = "dev"
)

// database is the hub's, migrated and marked dev: our own Postgres, or one that the environment names.
type database struct {
	owner  secret.String // for the schema, operator's keys and dev.json
	login  secret.String // for the hub
	direct secret.String // the same past a pooler
	name   string        // which one it is, for people
	server *localpg.Server
}

// openDatabase starts or finds the database, and leaves it ready. On an error nothing runs.
func openDatabase(ctx context.Context, f *folder, c config.Config, nodeID string, log *slog.Logger) (*database, error) {
	if owner, _ := c.Owner(); owner.IsZero() {
		return ownDatabase(ctx, f, c, log)
	}
	return givenDatabase(ctx, f, c, nodeID, log)
}

// ownDatabase is one in a Postgres of our own, which trusts whoever reaches its socket: logins need no password.
func ownDatabase(ctx context.Context, f *folder, c config.Config, log *slog.Logger) (*database, error) {
	server, err := localpg.Start(ctx, localpg.Options{DataDir: f.path(folderPostgres), Source: c.Postgres, Log: log})
	if err != nil {
		return nil, err
	}
	d := &database{owner: secret.New(server.URL(databaseName)), server: server, name: "a Postgres of its own, by the programs in " + server.BinDir()}
	err = server.CreateDatabase(ctx, databaseName)
	if err == nil {
		err = d.prepare(ctx, c.RolePrefix, c.RolePrefix+"_dev", "", log)
	}
	if err != nil {
		d.stop(context.WithoutCancel(ctx), log)
		return nil, err
	}
	d.login, err = asLogin(d.owner, c.RolePrefix+"_dev", "")
	d.direct = d.login
	return d, err
}

// givenDatabase is one that the environment names. Logins belong to its whole cluster, so this data folder has one of
// its own, named by its node.
func givenDatabase(ctx context.Context, f *folder, c config.Config, nodeID string, log *slog.Logger) (*database, error) {
	password, err := f.keep(filePassword, func() (string, error) { return rand.Text(), nil })
	if err != nil {
		return nil, err
	}
	name := c.RolePrefix + "_dev_" + nodeID[len(nodeID)-12:]
	owner, variable := c.Owner()
	d := &database{owner: owner, name: config.Place(owner) + ", named by " + variable}
	if err := d.prepare(ctx, c.RolePrefix, name, password, log); err != nil {
		return nil, fmt.Errorf("prepare the database that %s names: %w", variable, err)
	}
	for _, one := range []struct {
		url  *secret.String
		from secret.String
	}{{&d.login, c.DatabaseURL}, {&d.direct, c.DirectDatabaseURL}} {
		if one.from.IsZero() {
			one.from = d.owner
		}
		if *one.url, err = asLogin(one.from, name, password); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// prepare migrates, but never what is marked as production: a migration would be the first harm.
func (d *database) prepare(ctx context.Context, rolePrefix, login, password string, log *slog.Logger) error {
	kind, err := store.InstallationKind(ctx, d.owner.Reveal())
	if err != nil {
		return err
	}
	if kind != "" && kind != kindDev {
		return notDev(kind)
	}
	if err := store.EnsureLogin(ctx, d.owner.Reveal(), login, password); err != nil {
		return fmt.Errorf("%w (dev needs the owner of the database, who may make roles)", err)
	}
	return store.Migrate(ctx, store.MigrateOptions{URL: d.owner.Reveal(), RolePrefix: rolePrefix, Login: login, Log: log})
}

func notDev(kind string) error {
	return fmt.Errorf("the database is marked %s by its first use: a development hub gives tokens to anybody, so name another database", kind)
}

// open opens the store as the hub does, and marks the database.
func (d *database) open(ctx context.Context, rolePrefix string) (*store.Store, error) {
	s, err := store.Open(ctx, store.Options{
		URL: d.login.Reveal(), DirectURL: d.direct.Reveal(), RolePrefix: rolePrefix, Tenant: 1, Pipeline: 1,
	})
	if err != nil {
		return nil, err
	}
	is, err := s.Pipeline.MarkInstallation(ctx, kindDev)
	if err == nil && is != kindDev {
		err = notDev(is)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// stop ends our own Postgres, if there is one.
func (d *database) stop(ctx context.Context, log *slog.Logger) {
	if err := d.server.Stop(ctx); err != nil {
		log.ErrorContext(ctx, "postgres not stopped", "error", err)
	}
}

// ended is closed when our own Postgres has ended.
func (d *database) ended() <-chan struct{} { return d.server.Done() }

// asLogin is the URL with another user in it.
func asLogin(database secret.String, name, password string) (secret.String, error) {
	u, err := url.Parse(database.Reveal())
	if err != nil {
		return secret.String{}, hub.Errorf(hub.Invalid, "the database URL cannot be read") // the cause would quote it
	}
	// A plus is a plus to libpq and pgx, and a space to net/url.
	u.RawQuery = strings.ReplaceAll(u.RawQuery, "+", "%2B")
	query := u.Query()
	for _, parameter := range []string{"user", "password", "passfile"} { // these would win
		query.Del(parameter)
	}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	u.User = url.User(name)
	if password != "" {
		u.User = url.UserPassword(name, password)
	}
	return secret.New(u.String()), nil
}

func newNodeID() (string, error) {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the program instead
	return "dev-" + hex.EncodeToString(random[:]), nil
}
