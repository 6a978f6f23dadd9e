package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/keyset"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/store"
)

// The bounds of what doctor warns of.
const (
	oldestPostgres = 150000
	fewOpenFiles   = 10_000
	certificateEnd = 14 * 24 * time.Hour
)

// surveyTime bounds the first question, so that a server that says nothing is told within it.
const surveyTime = 10 * time.Second

func checkPublicURL(_ context.Context, s *subject) (string, error) {
	if s.config.PublicURL == nil {
		return "", errors.New("none is set, and the hub cannot know where it is reached")
	}
	return s.config.PublicURL.String(), nil
}

func checkKeyset(_ context.Context, s *subject) (detail string, err error) {
	if s.config.Keyset.IsZero() {
		return "", errors.New("none is set, and nothing can be sealed")
	}
	s.keeper, err = secret.Open(s.config.Keyset)
	return "", err
}

// checkOwner keeps the owner's password away from what the internet talks to.
func checkOwner(_ context.Context, s *subject) (string, error) {
	if !s.config.OwnerDatabaseURL.IsZero() {
		return "", errors.New("TRIBUTARY_OWNER_DATABASE_URL is set, and a process that serves must not have it")
	}
	return "", nil
}

func checkCertificate(_ context.Context, s *subject) (detail string, err error) {
	if s.config.TLSCertFile == "" {
		return "none: a proxy in front ends TLS", nil
	}
	s.certificate, err = server.ReadCertificate(s.config.TLSCertFile, s.config.TLSKeyFile)
	if err != nil {
		return "", err
	}
	until := s.certificate.NotAfter
	if time.Now().After(until) {
		return "", fmt.Errorf("it has expired at %s", until.UTC().Format(time.RFC3339))
	}
	return "good until " + until.UTC().Format(time.RFC3339), nil
}

func checkCertificateEnd(_ context.Context, s *subject) (string, error) {
	if s.certificate != nil && time.Until(s.certificate.NotAfter) < certificateEnd {
		return "", fmt.Errorf("it expires at %s", s.certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	return "", nil
}

func checkCertificateNames(_ context.Context, s *subject) (string, error) {
	if s.certificate == nil {
		return "", nil
	}
	return "", s.certificate.VerifyHostname(s.config.PublicURL.Hostname())
}

func checkOpenFiles(context.Context, *subject) (string, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "", fmt.Errorf("ask for the limit: %w", err)
	}
	if limit.Cur < fewOpenFiles {
		return "", fmt.Errorf("a process may open %d files, and so serve fewer streams", limit.Cur)
	}
	return fmt.Sprintf("at most %d", limit.Cur), nil
}

func checkServer(ctx context.Context, s *subject) (detail string, err error) {
	if s.config.DatabaseURL.IsZero() {
		return "", errors.New("no database is named")
	}
	ctx, cancel := context.WithTimeout(ctx, surveyTime)
	defer cancel()
	if s.survey, err = store.SurveyDatabase(ctx, s.config.DirectDatabaseURL.Reveal(), s.config.RolePrefix); err != nil {
		return "", err
	}
	switch {
	case s.survey.Version < oldestPostgres:
		return "", fmt.Errorf("it is Postgres %s, and the hub needs 15 or newer", s.survey.VersionText)
	case s.survey.Standby:
		return "", errors.New("it is a standby, and takes no writes")
	}
	return fmt.Sprintf("Postgres %s, database %s, login %s", s.survey.VersionText, s.survey.Database, s.survey.Login), nil
}

func checkDurability(_ context.Context, s *subject) (string, error) {
	if !s.survey.Commits {
		return "", errors.New("synchronous_commit is off")
	}
	return "", nil
}

func checkFsync(_ context.Context, s *subject) (string, error) {
	if !s.survey.Fsync {
		return "", errors.New("fsync is off")
	}
	return "", nil
}

// checkLogin refuses a login that no row-level security holds by itself, whichever role it has taken: one mistake
// would show one tenant's rows to another.
func checkLogin(_ context.Context, s *subject) (string, error) {
	switch {
	case s.survey.Privileged:
		return "", fmt.Errorf("%s is a superuser or has BYPASSRLS: nothing would keep tenants apart", s.survey.Login)
	case s.survey.Owns:
		return "", fmt.Errorf("%s owns the hub's schema: row-level security does not hold an owner", s.survey.Login)
	}
	return s.survey.Login + " owns nothing", nil
}

func checkWaysOut(_ context.Context, s *subject) (string, error) {
	switch {
	case s.survey.Privileged || s.survey.Owns: // said already
	case len(s.survey.Becomes) > 0:
		return "", fmt.Errorf("%s may become %s", s.survey.Login, strings.Join(s.survey.Becomes, ", "))
	case s.survey.MakesRoles:
		return "", fmt.Errorf("%s may make roles", s.survey.Login)
	}
	return "", nil
}

func checkRoles(_ context.Context, s *subject) (string, error) {
	switch {
	case len(s.survey.Absent) > 0:
		return "", fmt.Errorf("there is no role %s", strings.Join(s.survey.Absent, ", "))
	case len(s.survey.Ungranted) > 0:
		return "", fmt.Errorf("%s may not take the role %s", s.survey.Login, strings.Join(s.survey.Ungranted, ", "))
	}
	return "", nil
}

func checkDirect(ctx context.Context, s *subject) (string, error) {
	return "", store.CheckDirect(ctx, s.config.DirectDatabaseURL.Reveal())
}

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
	if skew := time.Since(now).Abs(); skew > maxClockSkew {
		return hub.Errorf(hub.Unavailable, "this machine's clock and Postgres's are %s apart, and at most %s will do", skew.Round(time.Second), maxClockSkew)
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
