package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// What follows runs as the owner of the schema, for commands on the operator's machine. None of it is behind a door:
// the process that serves has no owner's URL.

// asOwner runs fn on one connection of the owner's.
func asOwner(ctx context.Context, url string, fn func(*pgx.Conn) error) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return errors.New("the owner's database URL is not one that Postgres's clients understand") // the cause would quote it
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect as owner: %w", failure(err))
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return fn(conn)
}

// InstallationKind says what the database is marked as: dev, production, or "" where nobody has marked it, or it has
// no schema yet. It is asked before a migration, which needs no mark.
func InstallationKind(ctx context.Context, ownerURL string) (kind string, err error) {
	err = asOwner(ctx, ownerURL, func(conn *pgx.Conn) error {
		var there bool
		if err := conn.QueryRow(ctx, `SELECT to_regclass('tributary.installation') IS NOT NULL`).Scan(&there); err != nil || !there {
			return err
		}
		err := conn.QueryRow(ctx, `SELECT kind FROM tributary.installation`).Scan(&kind)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("ask what the database is: %w", failure(err))
	}
	return kind, nil
}

// EnsureLogin makes a login that owns and inherits nothing, or gives the one of that name the password; "" leaves it
// without one, for a server that trusts its socket. Migrate grants it the roles.
func EnsureLogin(ctx context.Context, ownerURL, name, password string) error {
	set := "PASSWORD NULL"
	if password != "" {
		set = "PASSWORD " + literal(password)
	}
	return asOwner(ctx, ownerURL, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `DO $$ BEGIN
			CREATE ROLE `+quote(name)+` LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
			EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
		END $$`)
		if err == nil {
			_, err = conn.Exec(ctx, `ALTER ROLE `+quote(name)+` LOGIN `+set)
		}
		if err != nil {
			return fmt.Errorf("make the login %s: %w", name, failure(err))
		}
		return nil
	})
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// CreateOperatorKey makes an operator's key; hub.Conflict where there is one of that hash.
func CreateOperatorKey(ctx context.Context, ownerURL string, k HashedKey) error {
	return asOwner(ctx, ownerURL, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `
			INSERT INTO tributary.operator_keys (id, name, hash, scopes, expires_at) VALUES ($1, $2, $3, $4, $5)`,
			k.ID, k.Name, k.Hash[:], k.Scopes, k.ExpiresAt)
		if err != nil {
			return fmt.Errorf("create operator key: %w", failure(err))
		}
		return nil
	})
}
