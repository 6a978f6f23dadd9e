package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// A Survey is what a login sees of a server and of itself, before it takes any role: what a hub asks of the database
// that it is given.
type Survey struct {
	Version        int    // as server_version_num: 150018
	VersionText    string // for people
	Standby        bool   // the server is in recovery
	Fsync          bool
	Commits        bool // synchronous_commit flushes to this server's disk
	MaxConnections int  // for logins such as this one
	Database       string

	Login      string
	Privileged bool     // a superuser, or one that row-level security does not hold
	Owns       bool     // the hub's schemas, or something in them
	MakesRoles bool     // may make roles, and so give itself any of them before Postgres 16
	Becomes    []string // roles of those kinds that it may take

	Absent    []string // of the three roles, those that do not exist
	Ungranted []string // of the three roles, those that the login may not take
}

// SurveyDatabase asks by one connection of its own.
func SurveyDatabase(ctx context.Context, url, rolePrefix string) (Survey, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return Survey{}, notUnderstood("the database URL", err)
	}
	config.RuntimeParams["application_name"] = "tributary check"
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // where it passes a pooler by mistake, another check says so
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return Survey{}, unreached(err, config)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, _ := conn.Query(ctx, surveySQL, RolesOf(rolePrefix).all())
	survey, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Survey])
	if err != nil {
		return Survey{}, fmt.Errorf("survey the database: %w", failure(err))
	}
	return survey, nil
}

// Ownership is asked of the two schemas and what is in them: who owns the database alone cannot read its tables.
const surveySQL = `
	WITH owner AS (
		SELECT nspowner AS id FROM pg_namespace WHERE nspname IN ('tributary', 'tributary_river')
		UNION SELECT c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('tributary', 'tributary_river')
	), wanted AS (
		SELECT w.name, w.ord, r.oid AS id FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord) LEFT JOIN pg_roles r ON r.rolname = w.name
	)
	SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_text,
	       pg_is_in_recovery() AS standby, current_setting('fsync')::boolean AS fsync,
	       current_setting('synchronous_commit') <> 'off' AS commits,
	       (SELECT sum(CASE name WHEN 'max_connections' THEN setting::int ELSE -setting::int END)::int FROM pg_settings
	         WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')) AS max_connections, -- the last since 16
	       current_database()::text AS database,
	       me.rolname::text AS login, me.rolsuper OR me.rolbypassrls AS privileged, me.oid IN (SELECT id FROM owner) AS owns,
	       me.rolcreaterole AS makes_roles,
	       ARRAY(SELECT r.rolname::text FROM pg_roles r
	              WHERE r.oid <> me.oid AND NOT me.rolsuper AND (r.rolsuper OR r.rolbypassrls OR r.oid IN (SELECT id FROM owner))
	                AND pg_has_role(me.oid, r.oid, 'MEMBER') ORDER BY r.rolname) AS becomes,
	       ARRAY(SELECT name FROM wanted WHERE id IS NULL ORDER BY ord) AS absent,
	       ARRAY(SELECT name FROM wanted WHERE id IS NOT NULL AND NOT pg_has_role(me.oid, id, 'MEMBER') ORDER BY ord) AS ungranted
	  FROM pg_roles me WHERE me.rolname = session_user`
