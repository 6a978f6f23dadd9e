package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/hub"
)

// What follows runs as the owner of the schema, for commands on the operator's machine. None of it is behind a door:
// the process that serves has no owner's URL.

// asOwner runs fn on one connection of the owner's.
func asOwner(ctx context.Context, url string, fn func(*pgx.Conn) error) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return notUnderstood("the owner's database URL", err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect as owner: %w", failure(err))
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return owners(fn(conn))
}

// owners says what is wrong where the login is not the owner's, or the schema is older than this build.
func owners(err error) error {
	switch code(err) {
	case "42501":
		return fmt.Errorf("the login may not do this; it is for the schema's owner, in TRIBUTARY_OWNER_DATABASE_URL, who makes roles besides where they are missing: %w", err)
	case "3F000", "42P01", "42703": // no such schema, table, column
		return fmt.Errorf("the schema is not what this build needs; `tributary migrate up` brings it there: %w", err)
	}
	return err
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

// OperatorKeys lists operators' keys in the order they were made, revoked and expired ones too.
func OperatorKeys(ctx context.Context, ownerURL string) (keys []hub.Key, err error) {
	err = asOwner(ctx, ownerURL, func(conn *pgx.Conn) error {
		rows, _ := conn.Query(ctx, `
			SELECT id, name, scopes, expires_at, last_used_at, revoked_at, '{}'::jsonb, created_at, hash
			  FROM tributary.operator_keys ORDER BY id`)
		keys, err = pgx.CollectRows(rows, scanBareKey)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list operator keys: %w", failure(err))
	}
	return keys, nil
}

// RevokeOperatorKey ends an operator's key for good; hub.NotFound where there is none of that id, or it was revoked
// before. Its row stays, since audits name it. Nodes hear of it within seconds.
func RevokeOperatorKey(ctx context.Context, ownerURL string, id hub.KeyID) error {
	return asOwner(ctx, ownerURL, func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, `UPDATE tributary.operator_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL`, id)
		if err != nil {
			return fmt.Errorf("revoke operator key: %w", failure(err))
		}
		if tag.RowsAffected() == 0 {
			return hub.Errorf(hub.NotFound, "there is no operator's key %s that is not revoked", id)
		}
		return nil
	})
}

// NewEpoch says that positions may have been used twice, which nobody notices after a restore from a volume's snapshot
// or a copied data folder: every subscriber starts anew. Processes that run are told with the commit.
func NewEpoch(ctx context.Context, ownerURL string) error {
	return asOwner(ctx, ownerURL, func(conn *pgx.Conn) error {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `UPDATE tributary.epoch SET salt = gen_random_uuid()::text`); err != nil {
				return err
			}
			return backplane.Send(ctx, tx, backplane.EpochChanged{})
		})
		if err != nil {
			return fmt.Errorf("change the epoch: %w", failure(err))
		}
		return nil
	})
}
