package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	remedy string                          // what an operator can do where it does not hold
	mends  func(err error) (remedy string) // another remedy for some errors; "" is the one above; may be nil
	minor  bool                            // doctor warns of it, and nothing else does
	needs  []string                        // checks, and variables that are understood, without which this one cannot be asked
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
	committing  func() bool         // whether this process has committed a beat of late; it and
	listener    *backplane.Listener // this once the process runs, for readiness
}

// The kinds of installation.
const (
	production  = "production"
	development = "dev"
)

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
				f.State, f.Detail, f.Remedy = Warning, hub.Plain(err), c.remedyOf(err)
			default:
				f.State, f.Detail, f.Remedy = Failed, hub.Plain(err), c.remedyOf(err)
			}
			held[c.name] = err == nil
		} else {
			held[c.name] = false
		}
		findings = append(findings, f)
	}
	return findings
}

func (c check) remedyOf(err error) string {
	if c.mends != nil {
		return cmp.Or(c.mends(err), c.remedy)
	}
	return c.remedy
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
