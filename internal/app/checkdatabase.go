package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/keyset"
	"github.com/tributary-hub/tributary/internal/store"
)

func checkPooler(ctx context.Context, s *subject) (string, error) { return "", s.db.CheckPooler(ctx) }

func ping(ctx context.Context, s *subject) error { return s.db.Pipeline.Ping(ctx) }

// pinged reaches the database as each of the three roles.
func pinged(ctx context.Context, s *subject) (string, error) {
	if s.db == nil {
		return "", errors.New("its URL cannot be used")
	}
	for _, ping := range []func(context.Context) error{s.db.Pipeline.Ping, s.db.PingTenant, s.river.Ping} {
		if err := ping(ctx); err != nil {
			return "", err
		}
	}
	return "", nil
}

// checkWrites tries what each webhook needs: a server can answer everything and commit nothing.
func checkWrites(ctx context.Context, s *subject) (string, error) {
	return "", s.db.Pipeline.CheckWrites(ctx)
}

// probeWrites goes by the beat of this process, which is a commit every 2 s.
func probeWrites(_ context.Context, s *subject) error {
	if !s.committing() {
		return hub.Errorf(hub.Unavailable, "nothing was committed for %s: the database takes no writes, or none in time", store.NodeSilent)
	}
	return nil
}

// checkPartitions looks only where something runs: the first process makes those of the first day.
func checkPartitions(ctx context.Context, s *subject) (string, error) {
	nodes, err := s.db.Pipeline.Nodes(ctx)
	if err != nil || len(nodes) == 0 {
		return "", err
	}
	return "", probePartitions(ctx, s)
}

func probePartitions(ctx context.Context, s *subject) error {
	missing, err := s.db.Pipeline.MissingPartitions(ctx)
	if err == nil && len(missing) > 0 {
		err = hub.Errorf(hub.Unavailable, "there is no partition for today of %s, and nothing can be written there", strings.Join(missing, ", "))
	}
	return err
}

func checkMigrations(ctx context.Context, s *subject) (string, error) {
	if err := probeMigrations(ctx, s); err != nil {
		return "", err
	}
	pending, err := s.river.MigrationsPending(ctx)
	if err == nil && pending {
		err = errors.New("the tables of River are older than this build needs")
	}
	return "", err
}

func probeMigrations(ctx context.Context, s *subject) error {
	status, err := s.db.Pipeline.MigrationStatus(ctx)
	if err != nil {
		return err
	}
	if status.Pending() {
		return hub.Errorf(hub.Unavailable, "the schema is at migration %d and this build needs %d", status.Current, status.Wanted)
	}
	return nil
}

func checkConfinement(ctx context.Context, s *subject) (string, error) {
	unconfined, err := s.db.UnconfinedRoles(ctx)
	if err == nil && len(unconfined) > 0 {
		err = fmt.Errorf("row-level security does not hold for %s", strings.Join(unconfined, ", "))
	}
	return "", err
}

func checkInstallation(ctx context.Context, s *subject) (string, error) {
	is, err := s.db.Pipeline.InstallationKind(ctx)
	if err != nil {
		return "", err
	}
	return is, s.sameKind(is)
}

func checkSealed(ctx context.Context, s *subject) (string, error) { return "", probeSealed(ctx, s) }

// probeSealed fails too when others have come to seal with a key that this process lacks.
func probeSealed(ctx context.Context, s *subject) error {
	return keyset.Check(ctx, s.db.Pipeline, s.keeper)
}

func checkClock(ctx context.Context, s *subject) (string, error) { return "", probeClock(ctx, s) }

func probeClock(ctx context.Context, s *subject) error {
	now, err := s.db.Pipeline.Clock(ctx)
	if err != nil {
		return err
	}
	if skew := time.Since(now).Abs(); skew > store.MaxClockSkew {
		return hub.Errorf(hub.Unavailable, "this machine's clock and Postgres's are %s apart, and at most %s will do", skew.Round(time.Second), store.MaxClockSkew)
	}
	return nil
}

// checkListener opens a listener for the question alone.
func checkListener(ctx context.Context, s *subject) (string, error) {
	listener, err := backplane.NewListener(backplane.Options{
		URL: s.config.DirectDatabaseURL.Reveal(), Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return "", err
	}
	if err := listener.Start(ctx); err != nil {
		return "", err
	}
	return "", errors.Join(listener.CheckHears(ctx), listener.Stop(context.WithoutCancel(ctx)))
}

func probeListener(_ context.Context, s *subject) error {
	if !s.listener.Healthy() {
		return hub.Errorf(hub.Unavailable, "the connection that hears of new messages is down")
	}
	return nil
}

func checkEpoch(ctx context.Context, s *subject) (string, error) {
	refused, err := s.db.Pipeline.EpochRefused(ctx)
	if err == nil && len(refused) > 0 {
		err = fmt.Errorf("the server refuses %s: a failover or restore may go unnoticed", strings.Join(refused, " and "))
	}
	return "", err
}

// checkConnections counts a node more than there are, for the one that a rolling restart starts first.
func checkConnections(ctx context.Context, s *subject) (string, error) {
	nodes, err := s.db.Pipeline.Nodes(ctx)
	if err != nil {
		return "", err
	}
	wanted := (len(nodes) + 1) * s.config.DatabaseConnections
	if wanted > s.survey.MaxConnections {
		return "", fmt.Errorf("nodes want %d, those that run (%d) and one more, and Postgres gives %d", wanted, len(nodes), s.survey.MaxConnections)
	}
	return fmt.Sprintf("nodes want %d of %d, those that run (%d) and one more", wanted, s.survey.MaxConnections, len(nodes)), nil
}

func checkWorkers(ctx context.Context, s *subject) (string, error) {
	nodes, err := s.db.Pipeline.Nodes(ctx)
	if err != nil {
		return "", err
	}
	working := 0
	for _, n := range nodes {
		if slices.Contains(n.Roles, "worker") {
			working++
		}
	}
	if len(nodes) > 0 && working == 0 {
		return "", errors.New("no process that runs has the role worker")
	}
	return fmt.Sprintf("%d of %d nodes", working, len(nodes)), nil
}
