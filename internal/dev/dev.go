// Package dev is `tributary dev`: the whole hub in one process, with a Postgres, an OIDC issuer and a demo tenant of
// its own. It owns the data folder and what is in it, and finds everything there again, however the start before
// ended. The hub that it starts is app's, and so is everything that production has as well.
package dev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/tributary-hub/tributary/internal/app"
	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
)

// Options of one development hub.
type Options struct {
	Config  config.Config // required: what the environment says; Listen is not read, DataDir is the data folder
	Listen  string        // host:port; default 127.0.0.1:8080
	Hosts   []string      // names that it serves besides loopback's; required where Listen is not loopback
	Version string        // of the build
	Command string        // how the user calls this program, for lines to paste; default tributary
	Log     *slog.Logger  // required
	Out     io.Writer     // required: hears what to try next, once the hub serves
}

// Run starts everything, and ends when ctx is done or a part fails that cannot be done without. Then all has ended,
// Postgres last. hub.Invalid where Listen or Hosts cannot be.
func Run(ctx context.Context, o Options) error {
	err := run(ctx, o)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return errors.New("interrupted before the hub was ready")
	}
	if err == nil {
		_, _ = fmt.Fprintf(o.Out, "\nStopped. The data stays in %s; the same command goes on with it.\n", o.Config.DataDir) // a closed pipe is no failure now
	}
	return err
}

func run(ctx context.Context, o Options) error {
	listen := cmp.Or(o.Listen, DefaultListen)
	if err := check(listen, o.Hosts); err != nil {
		return err
	}
	f, err := openFolder(ctx, o.Config.DataDir, o.Log) // before the ports: who runs here already has those too
	if err != nil {
		return err
	}
	begun := false
	defer func() {
		if !begun {
			f.discard()
		}
		f.close()
	}()
	at, err := reserve(ctx, listen, o.Config.OpsListen, o.Hosts, o.Config.PublicURL)
	if err != nil {
		return err
	}
	defer at.release()
	kept, err := keepOwn(f, o.Config)
	if err != nil {
		return err
	}
	issuer, err := newIssuer(at.url.String()+issuerPath, kept.issuerKey)
	if err != nil {
		return err
	}
	db, err := openDatabase(ctx, f, o.Config, kept.nodeID, o.Log)
	if err != nil {
		return err
	}
	begun = true
	defer db.stop(context.WithoutCancel(ctx), o.Log)
	demo, err := seedDemo(ctx, f, db, o.Config.RolePrefix, kept.keyset, at)
	if err != nil {
		return fmt.Errorf("make the demo tenant: %w", err)
	}

	at.release()
	process, err := app.New(ctx, app.Options{
		Config:  hubConfig(o.Config, at, db, kept.keyset),
		Log:     o.Log,
		Version: o.Version,
		NodeID:  kept.nodeID,
		Dev:     true,
		Hosts:   at.hosts,
		Mount:   issuer.routes(),
	})
	if err != nil {
		return err
	}
	if err := process.Start(ctx); err != nil {
		return err
	}
	err = tell(o, f, describe(at, issuer, db, demo), at.ops, db.name)
	if err == nil {
		err = wait(ctx, o.Log, process, db)
	}
	return errors.Join(err, process.Stop(context.WithoutCancel(ctx)))
}

// tell says how the hub is reached, to programs and to people.
func tell(o Options, f *folder, file File, ops, database string) error {
	if err := f.writeFile(file); err != nil {
		return err
	}
	next := newNext(cmp.Or(o.Command, "tributary"), o.Config.DataDir, f.root, file, ops, database)
	if err := next.write(o.Out); err != nil {
		return fmt.Errorf("say what to try next: %w", err)
	}
	return nil
}

// wait ends when ctx does, without an error, or when a part fails.
func wait(ctx context.Context, log *slog.Logger, process *app.App, db *database) error {
	select {
	case <-ctx.Done():
		log.InfoContext(ctx, "stopping")
		return nil
	case err := <-process.Failed():
		return err
	case <-db.ended():
		return db.server.Err()
	}
}

// own is what the hub keeps for itself in the folder.
type own struct {
	nodeID    string // so that the jobs of a killed predecessor are known as its own
	issuerKey string
	keyset    secret.String
}

func keepOwn(f *folder, c config.Config) (own, error) {
	nodeID, err := f.keep(fileNodeID, newNodeID)
	if err != nil {
		return own{}, err
	}
	issuerKey, err := f.keep(fileIssuerKey, newIssuerKey)
	if err != nil {
		return own{}, err
	}
	kept := own{nodeID: nodeID, issuerKey: issuerKey, keyset: c.Keyset}
	if kept.keyset.IsZero() {
		encoded, err := f.keep(fileKeyset, func() (string, error) {
			keyset, err := secret.NewKeyset()
			return keyset.Reveal(), err
		})
		if err != nil {
			return own{}, err
		}
		kept.keyset = secret.New(encoded)
	}
	return kept, nil
}

// seedDemo makes the demo tenant or finds it again, with an issuer row for today's address.
func seedDemo(ctx context.Context, f *folder, db *database, rolePrefix string, keyset secret.String, at *address) (seeded, error) {
	keeper, err := secret.Open(keyset)
	if err != nil {
		return seeded{}, err
	}
	s, err := db.open(ctx, rolePrefix)
	if err != nil {
		return seeded{}, err
	}
	defer s.Close()
	demo := &seeder{store: s, keeper: keeper, folder: f, ownerURL: db.owner.Reveal(), now: time.Now}
	return demo.seed(ctx, hub.Issuer{
		Name:      demoIssuer,
		Issuer:    at.url.String() + issuerPath,
		JWKSURI:   "http://" + at.self + issuerPath + "/jwks", // the public URL may not lead back here from inside
		Audiences: []string{audience},
		Internal:  true,
	})
}

// hubConfig is the environment's configuration, with what dev decides.
func hubConfig(c config.Config, at *address, db *database, keyset secret.String) config.Config {
	c.DatabaseURL, c.DirectDatabaseURL, c.OwnerDatabaseURL = db.login, db.direct, secret.String{}
	c.Keyset = keyset
	c.Listen, c.OpsListen, c.PublicURL = at.listen, at.ops, at.url
	c.EgressAllow = append([]string{at.self}, c.EgressAllow...)
	return c
}

func describe(at *address, i *issuer, db *database, demo seeded) File {
	file := File{
		URL:         at.url.String(),
		Tenant:      demoTenant,
		OperatorKey: demo.operatorKey,
		TenantKey:   demo.tenantKey,
		Issuer:      i.url,
		Audience:    audience,
		DatabaseURL: db.owner.Reveal(),
		Endpoints:   map[string]Endpoint{},
	}
	for name, e := range demo.endpoints {
		file.Endpoints[name] = Endpoint{ID: e.id.String(), URL: file.URL + "/in/" + e.token, Secret: e.secret}
	}
	return file
}
