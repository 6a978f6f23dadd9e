package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/store"
)

// A check is one thing that must hold, or should. serve refuses where one does not hold that is not minor, doctor tells
// of all, and readiness asks those that have a probe.
type check struct {
	name   string
	remedy string   // what an operator can do where it does not hold
	minor  bool     // doctor warns of it, and nothing else does
	needs  []string // checks, and variables that are understood, without which this one cannot be asked
	run    func(ctx context.Context, s *subject) (detail string, err error)
	probe  func(ctx context.Context, s *subject) error // cheap enough for readiness; nil: not asked there
}

// A subject is what checks look at. What a check finds out, those that need it can use.
type subject struct {
	config config.Config
	kind   string // of installation: production or dev

	certificate *x509.Certificate // of the files, once they were read
	survey      store.Survey      // once the server was reached
	keeper      *secret.Keeper
	db          *store.Store
	river       *store.River
	listener    *backplane.Listener // once the process runs, for readiness
}

// The kinds of installation.
const (
	production  = "production"
	development = "dev"
)

// checks is the list behind serve, doctor and readiness, in the order in which an operator would look.
func checks() []check {
	return []check{
		{
			name: "public URL", needs: []string{"TRIBUTARY_PUBLIC_URL"}, run: checkPublicURL,
			remedy: "set TRIBUTARY_PUBLIC_URL to where browsers and providers reach the hub, such as https://hub.example.com",
		},
		{
			name: "keyset", needs: []string{"TRIBUTARY_KEYSET"}, run: checkKeyset,
			remedy: "`tributary keyset new` makes one: keep it where you keep secrets, and name it in TRIBUTARY_KEYSET or TRIBUTARY_KEYSET_FILE of every process",
		},
		{
			name: "owner", run: checkOwner,
			remedy: "unset TRIBUTARY_OWNER_DATABASE_URL where a process serves: it is for migrate, keyset, key and epoch",
		},
		{
			name: "certificate", needs: []string{"TRIBUTARY_TLS_CERT_FILE", "TRIBUTARY_TLS_KEY_FILE"}, run: checkCertificate,
			remedy: "TRIBUTARY_TLS_CERT_FILE and TRIBUTARY_TLS_KEY_FILE name a certificate with its chain and its private key, in PEM",
		},
		{
			name: "certificate's end", needs: []string{"certificate"}, minor: true, run: checkCertificateEnd,
			remedy: "renew the certificate; the hub reads the files again by itself",
		},
		{
			name: "certificate's names", needs: []string{"certificate", "public URL"}, minor: true, run: checkCertificateNames,
			remedy: "take a certificate for the host of TRIBUTARY_PUBLIC_URL, unless a proxy that trusts this one stands in front",
		},
		{
			name: "open files", minor: true, run: checkOpenFiles,
			remedy: "raise the limit (LimitNOFILE= of systemd, ulimit -n): each stream and each request holds one",
		},
		{
			name: "server", needs: []string{"TRIBUTARY_DATABASE_URL", "DATABASE_URL", "TRIBUTARY_DIRECT_DATABASE_URL"}, run: checkServer,
			remedy: "TRIBUTARY_DATABASE_URL, and TRIBUTARY_DIRECT_DATABASE_URL where that is set, name the database with the hub's login: a primary of Postgres 15 or newer",
		},
		{
			name: "direct connection", needs: []string{"server"}, run: checkDirect,
			remedy: "name the way past the transaction pooler in TRIBUTARY_DIRECT_DATABASE_URL: what listens, works jobs and reads the log needs a session of its own",
		},
		{
			name: "durability", needs: []string{"server"}, run: checkDurability,
			remedy: "take synchronous_commit = off back, in postgresql.conf, ALTER SYSTEM, ALTER DATABASE or ALTER ROLE: with it a crash of Postgres loses webhooks that were acknowledged",
		},
		{
			name: "fsync", needs: []string{"server"}, minor: true, run: checkFsync,
			remedy: "set fsync = on: without it a crash of the machine loses or breaks the database",
		},
		{
			name: "login", needs: []string{"server"}, run: checkLogin,
			remedy: "make a login that owns nothing, `CREATE ROLE hub LOGIN NOINHERIT PASSWORD '…'`, let the owner run `tributary migrate up --login hub`, and name it in TRIBUTARY_DATABASE_URL",
		},
		{
			name: "login's ways out", needs: []string{"server"}, minor: true, run: checkWaysOut,
			remedy: "take that from the login: REVOKE the role, or ALTER ROLE … NOCREATEROLE",
		},
		{
			name: "roles", needs: []string{"server"}, run: checkRoles,
			remedy: "the owner of the schema runs `tributary migrate up --login NAME`, with the login's name: it makes the roles and grants them",
		},
		{
			name: "database", needs: []string{"roles", "direct connection"}, run: pinged, probe: ping,
			remedy: "see that the login can connect (pg_hba.conf, connection limits), and that any pooler passes SET ROLE in TRIBUTARY_DIRECT_DATABASE_URL",
		},
		{
			name: "pooler", needs: []string{"database"}, run: checkPooler,
			remedy: "add default_query_exec_mode=exec to the query of TRIBUTARY_DATABASE_URL, or use PgBouncer 1.21 or newer with its max_prepared_statements above 0",
		},
		{
			name: "migrations", needs: []string{"database"}, run: checkMigrations, probe: probeMigrations,
			remedy: "the owner of the schema runs `tributary migrate up --login NAME` of this build, with the login's name",
		},
		{
			name: "confinement", needs: []string{"migrations"}, run: checkConfinement,
			remedy: "ALTER ROLE … NOSUPERUSER NOBYPASSRLS, and REASSIGN OWNED what it owns: row-level security does not hold such a role",
		},
		{
			name: "installation", needs: []string{"migrations"}, run: checkInstallation,
			remedy: "use another database: `tributary dev` and `tributary serve` each mark theirs at its first use and refuse the other's",
		},
		{
			name: "sealed data", needs: []string{"keyset", "migrations"}, run: checkSealed, probe: probeSealed,
			remedy: "name the keyset in TRIBUTARY_KEYSET that the database was used with; see /docs/keyset",
		},
		{
			name: "clock", needs: []string{"database"}, run: checkClock, probe: probeClock,
			remedy: "let both machines keep time by NTP: ids carry this machine's clock, and partitions follow Postgres's",
		},
		{
			name: "listener", needs: []string{"database"}, run: checkListener, probe: probeListener,
			remedy: "TRIBUTARY_DIRECT_DATABASE_URL must lead past any transaction pooler: it accepts LISTEN and never delivers",
		},
		{
			name: "epoch", needs: []string{"migrations"}, minor: true, run: checkEpoch,
			remedy: "GRANT EXECUTE on those functions to the role that ends in _pipeline; until then say `tributary epoch new` after each failover and restore",
		},
		{
			name: "connections", needs: []string{"migrations"}, minor: true, run: checkConnections,
			remedy: "raise max_connections, or lower TRIBUTARY_DATABASE_CONNECTIONS, so that a rolling restart fits too",
		},
		{
			name: "workers", needs: []string{"migrations"}, minor: true, run: checkWorkers,
			remedy: "start a process with the role worker, or leave TRIBUTARY_ROLES out: webhooks are taken in and wait",
		},
	}
}

// A Finding is what came of one check.
type Finding struct {
	Check  string `json:"check"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"` // where it does not hold
}

// A State is how a check ended.
type State string

// The states. Skipped says that another check failed without which this one could not be asked.
const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "failed"
	Skipped State = "skipped"
)

// examine asks every check of the list, in its order, but those of variables that were not understood: what is wrong
// with them is told already, and "it is not set" would be no help.
func examine(ctx context.Context, s *subject, problems config.Problems) []Finding {
	findings := make([]Finding, 0, len(checks()))
	held := map[string]bool{}
	for _, c := range checks() {
		f := Finding{Check: c.name, State: Skipped}
		if !slices.ContainsFunc(c.needs, func(other string) bool {
			ok, isCheck := held[other]
			return isCheck && !ok || problems.About(other)
		}) {
			detail, err := c.run(ctx, s)
			switch {
			case err == nil:
				f.State, f.Detail = OK, detail
			case c.minor:
				f.State, f.Detail, f.Remedy = Warning, hub.Plain(err), c.remedy
			default:
				f.State, f.Detail, f.Remedy = Failed, hub.Plain(err), c.remedy
			}
			held[c.name] = err == nil
		} else {
			held[c.name] = false
		}
		findings = append(findings, f)
	}
	return findings
}

// A Refusal is why a process does not start: the findings that failed.
type Refusal []Finding //nolint:errname // a list, read one by one

// Refused gives the findings that serve refuses for; nil where there are none.
func Refused(findings []Finding) error {
	var r Refusal
	for _, f := range findings {
		if f.State == Failed {
			r = append(r, f)
		}
	}
	if len(r) == 0 {
		return nil
	}
	return r
}

// Error lists them all, each with its remedy.
func (r Refusal) Error() string {
	lines := make([]string, 0, len(r))
	for _, f := range r {
		lines = append(lines, fmt.Sprintf("%s: %s\n    %s", f.Check, f.Detail, f.Remedy))
	}
	return "the hub cannot serve:\n  " + strings.Join(lines, "\n  ")
}

// Examine asks all checks, for doctor and for a serve that is refused already, and leaves no trace. problems are those
// of the environment that c comes from.
func Examine(ctx context.Context, c config.Config, problems config.Problems) []Finding {
	s := &subject{config: c, kind: production}
	if err := s.open(ctx); err != nil {
		s.db, s.river = nil, nil // the checks of the database say why
	} else {
		defer s.close()
	}
	return examine(ctx, s, problems)
}

// open opens small pools for checks alone.
func (s *subject) open(ctx context.Context) (err error) {
	c := s.config
	if c.DatabaseURL.IsZero() {
		return errors.New("no database is named") // libpq's own defaults would lead somewhere
	}
	s.db, err = store.Open(ctx, store.Options{
		URL: c.DatabaseURL.Reveal(), DirectURL: c.DirectDatabaseURL.Reveal(), RolePrefix: c.RolePrefix, Tenant: 1, Pipeline: 2,
	})
	if err != nil {
		return err
	}
	if s.river, err = store.OpenRiver(ctx, c.DirectDatabaseURL.Reveal(), c.RolePrefix, 1); err != nil {
		s.db.Close()
	}
	return err
}

func (s *subject) close() {
	s.river.Close()
	s.db.Close()
}

// warn tells the log what doctor would warn of: whoever has never asked it should know once. A hub of dev is on a
// machine that nobody set up for it.
func (a *App) warn(ctx context.Context, findings []Finding) {
	for _, f := range findings {
		if f.State == Warning && !a.o.Dev {
			a.o.Log.WarnContext(ctx, "this could be better", "check", f.Check, "detail", f.Detail, "remedy", f.Remedy)
		}
	}
}

// readiness is what must hold for the process to be sent requests.
func (a *App) readiness(s *subject) []server.Check {
	var probes []server.Check
	for _, c := range checks() {
		if c.probe != nil {
			probes = append(probes, server.Check{Name: c.name, Run: func(ctx context.Context) error { return c.probe(ctx, s) }})
		}
	}
	return append(probes, server.Check{Name: "draining", Run: func(context.Context) error { return a.accepting() }})
}

// accepting is refused from the moment that Stop begins.
func (a *App) accepting() error {
	select {
	case <-a.stopping:
		return hub.Errorf(hub.Unavailable, "the process is stopping")
	default:
		return nil
	}
}

// begin marks the database at its first use.
func (s *subject) begin(ctx context.Context) error {
	is, err := s.db.Pipeline.MarkInstallation(ctx, s.kind)
	if err != nil {
		return err
	}
	return s.sameKind(is) // two first uses of different kinds at once: one of them won
}

func (s *subject) sameKind(is string) error {
	if is != "" && is != s.kind {
		return hub.Errorf(hub.Invalid, "the database is marked %s by its first use, and this process is of kind %s", is, s.kind)
	}
	return nil
}

// maxClockSkew is how far a process's clock may be from Postgres's.
const maxClockSkew = 5 * time.Minute
