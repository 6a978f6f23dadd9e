package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// An UnreachedError is why there is no connection to a Postgres: of which kind, so that each can have its remedy.
type UnreachedError struct {
	Kind   UnreachedKind
	reason string
}

// An UnreachedKind is where a connection ended.
type UnreachedKind string

// The kinds. NotLetIn is by Postgres itself: the login, its password, the database, or how many there are already.
const (
	NoSuchHost UnreachedKind = "no such host"
	NoAnswer   UnreachedKind = "no answer"
	NoTLS      UnreachedKind = "no TLS"
	NotLetIn   UnreachedKind = "not let in"
)

// Error is one line, without the URL.
func (u *UnreachedError) Error() string { return u.reason }

// unreached says in one line why there is no connection. pgx's own text has each address that was tried, on a line
// each, and not the reason first.
func unreached(err error, config *pgx.ConnConfig) error {
	at := config.Host
	if !strings.HasPrefix(at, "/") {
		at = net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return &UnreachedError{NotLetIn, fmt.Sprintf("the Postgres at %s lets %s not in: %s (SQLSTATE %s)", at, config.User, pgErr.Message, pgErr.Code)}
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok && !unknown.IsTimeout {
		return &UnreachedError{NoSuchHost, "there is no host " + config.Host}
	}
	slow, timed := errors.AsType[net.Error](err)
	if errors.Is(err, context.DeadlineExceeded) || timed && slow.Timeout() {
		return &UnreachedError{NoAnswer, fmt.Sprintf("no Postgres answers at %s: it says nothing", at)}
	}
	if refused, ok := errors.AsType[*net.OpError](err); ok && refused.Op == "dial" {
		return &UnreachedError{NoAnswer, fmt.Sprintf("no Postgres answers at %s: %v", at, refused.Err)}
	}
	reason := innermost(err)
	plain := func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil }
	if config.TLSConfig != nil && !slices.ContainsFunc(config.Fallbacks, plain) {
		return &UnreachedError{NoTLS, fmt.Sprintf("no TLS with the Postgres at %s: %v", at, reason)}
	}
	return &UnreachedError{NoAnswer, fmt.Sprintf("what answers at %s is no Postgres: %v", at, reason)}
}

// innermost is what began it, of the last of several.
func innermost(err error) error {
	for {
		if all, ok := err.(interface{ Unwrap() []error }); ok && len(all.Unwrap()) > 0 {
			err = all.Unwrap()[len(all.Unwrap())-1]
			continue
		}
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// notUnderstood says of a URL that it is wrong. The cause would quote it, password and all, but for a file that it names.
func notUnderstood(what string, err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s names a file that cannot be read: %w", what, file)
	}
	return fmt.Errorf("%s is not one that Postgres's clients understand", what)
}
