package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/store"
)

// surveyTime bounds the first question, so that a server that says nothing is told within it.
const surveyTime = 10 * time.Second

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

// reach is the remedy where no connection is made.
func reach(err error) string {
	unreached, ok := errors.AsType[*store.UnreachedError](err)
	if !ok {
		return ""
	}
	switch unreached.Kind {
	case store.NoSuchHost:
		return "see that the host is spelled right in the database's URL, and that this machine's DNS knows it"
	case store.NoAnswer:
		return "see that Postgres runs and listens there (listen_addresses, port), and that no firewall is in between"
	case store.NoTLS:
		return "see that the server has ssl = on and a certificate for that host, of an authority that sslrootcert names or this machine trusts; or ask for less by sslmode, on a network of your own"
	case store.NotLetIn:
		return "see that the login, its password and the database are the ones in the URL, that pg_hba.conf lets it in from here, and that connections are left (max_connections, ALTER ROLE … CONNECTION LIMIT)"
	}
	return ""
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
