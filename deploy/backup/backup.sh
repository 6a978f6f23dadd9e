#!/usr/bin/env bash
# Takes a backup of a hub's database while the hub runs, and restores one into an empty database, with Postgres's own
# pg_dump, pg_restore and psql, not older than the server.
#
#   backup.sh take FILE      writes FILE, which must not be there
#   backup.sh restore FILE   into a database that is empty and that nobody uses; all of it or nothing
#
# It connects as the schema's owner, by TRIBUTARY_OWNER_DATABASE_URL or the file that TRIBUTARY_OWNER_DATABASE_URL_FILE
# names. A password in that URL goes to the programs by their environment, never by a command line; it may as well be
# in PGPASSWORD or PGPASSFILE.
#
# The keyset is not in the backup, and the backup opens with it alone. Logins are not in it either.
set -euo pipefail
umask 077
export PGAPPNAME='tributary backup' PGCONNECT_TIMEOUT=10

fail() {
	printf 'backup.sh: %s\n' "$@" >&2
	exit 1
}

say() { printf '%s\n' "$@" >&2; }

# connect sets url, without a password.
connect() {
	url=${TRIBUTARY_OWNER_DATABASE_URL:-}
	if [ -z "$url" ] && [ -n "${TRIBUTARY_OWNER_DATABASE_URL_FILE:-}" ]; then url=$(<"$TRIBUTARY_OWNER_DATABASE_URL_FILE"); fi
	if [ -z "$url" ]; then fail 'TRIBUTARY_OWNER_DATABASE_URL is not set; it names the database with the login of its owner'; fi
	if [[ $url =~ ^(postgres(ql)?://[^:/@?#]*):([^/@]*)@(.*)$ ]]; then
		local encoded=${BASH_REMATCH[3]//\\/\\\\}
		url="${BASH_REMATCH[1]}@${BASH_REMATCH[4]}"
		PGPASSWORD=$(printf '%b' "${encoded//%/\\x}")
		export PGPASSWORD
	fi
	if [[ $url =~ (^|[?\&[:space:]])(ssl)?password[[:space:]]*= ]]; then
		fail 'the password stands where it would show in the list of processes; put it before the @ of the URL, or into PGPASSWORD'
	fi
}

# ask prints the rows of one question to the database.
ask() { psql --no-psqlrc --no-password --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$url" "$@"; }

take() {
	local file=$1 part keys
	case $file in -*) file=./$file ;; esac
	if [ -e "$file" ]; then fail "$file is there already"; fi
	if [ "$(ask --command "SELECT to_regclass('tributary.keyset_keys') IS NOT NULL")" != t ]; then
		fail 'this is no database of a hub, or of one older than this script'
	fi
	# A partition that is dropped, or a migration, between the list of tables and their locks ends it: then it is taken anew.
	part=$(mktemp "$file.part.XXXXXXXX")
	# shellcheck disable=SC2064 # its name now
	trap "rm -f $(printf '%q' "$part")" EXIT
	pg_dump --no-password --format custom --schema tributary --schema tributary_river --lock-wait-timeout 30s \
		--file "$part" --dbname "$url" &
	# shellcheck disable=SC2064 # this one
	trap "kill $! 2>/dev/null || true; exit 143" TERM INT HUP # left alone it would hold its snapshot
	wait $!
	trap - TERM INT HUP
	pg_restore --list "$part" >/dev/null
	ln "$part" "$file" # fails where another one has come meanwhile
	keys=$(ask --command "SELECT coalesce(string_agg(key_id::text, ', ' ORDER BY made_at), 'none yet') FROM tributary.keyset_keys WHERE retired_at IS NULL")
	say "took $file, which has no logins, and not the keyset: it opens with a keyset that has these keys: $keys." \
		'Keep that keyset as long as this file, and elsewhere.'
}

# grantees prints the roles that the backup grants something to.
grantees() {
	pg_restore --schema-only --file - "$1" |
		sed -nE 's/^GRANT .* TO ("[^"]+"|[^" ;]+)( WITH GRANT OPTION)?;$/\1/p' | tr -d '"' | sort -u
}

restore() {
	local file=$1 others what tenant prefix role known missing=()
	pg_restore --list "$file" >/dev/null || fail "$file is no backup that this pg_restore can read"
	# Of others' sessions a login sees whose they are, and not of which kind: autovacuum's are nobody's.
	others=$(ask --command "SELECT string_agg(format('%s (%s)', usename, coalesce(nullif(application_name, ''), 'without a name')), ', ') FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL")
	if [ -n "$others" ]; then fail "the database is in use, by $others; stop the hub, or name another database"; fi
	what=$(ask --command "SELECT string_agg(name, ', ') FROM (
		SELECT 'schema ' || nspname AS name FROM pg_namespace WHERE nspname IN ('tributary', 'tributary_river')
		UNION ALL
		SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'tributary', 'tributary_river') AND n.nspname NOT LIKE 'pg\\_%'
		   AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
		 ORDER BY 1 LIMIT 5) found")
	if [ -n "$what" ]; then fail "the database is not empty: it has $what; make an empty one, owned by this login, and name that"; fi

	# Grants and policies name the three roles, so these come first. `tributary migrate up` could not make them: it makes
	# the tables too. Another hub of the cluster may have them already.
	tenant=$(grantees "$file" | grep -E '_tenant$' | head -n 1) || fail "$file is no backup of a hub"
	prefix=${tenant%_tenant}
	known=$(ask --command 'SELECT rolname FROM pg_roles')
	for role in "${prefix}_tenant" "${prefix}_pipeline" "${prefix}_river"; do
		if ! grep -qxF -- "$role" <<<"$known"; then
			ask --command "CREATE ROLE \"$role\" NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT"
		fi
	done
	known=$(ask --command 'SELECT rolname FROM pg_roles')
	while read -r role; do
		if ! grep -qxF -- "$role" <<<"$known"; then missing+=("$role"); fi
	done < <(grantees "$file")
	if [ "${#missing[@]}" -gt 0 ]; then
		fail 'the backup grants something to logins that this cluster does not have. Make them, with new passwords; one that is needed no more can be NOLOGIN:' \
			"${missing[@]/#/  }"
	fi

	pg_restore --no-password --single-transaction --exit-on-error --no-owner --dbname "$url" "$file"
	ask >/dev/null <<-'SQL'
		SELECT format('ANALYZE %s', c.oid::regclass) FROM pg_class c
		 WHERE c.relnamespace IN ('tributary'::regnamespace, 'tributary_river'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition \gexec
	SQL
	say "restored $file. Now \`tributary migrate up --login NAME\` lets the hub's login in, and brings the schema to that build." \
		'The hub starts with the keyset that it had when the backup was taken, or a later one that has the same keys.'
	if [ "$prefix" != tributary ]; then say "It needs TRIBUTARY_ROLE_PREFIX=$prefix."; fi
}

if [ "$#" -ne 2 ]; then
	say 'usage: backup.sh take FILE' '       backup.sh restore FILE'
	exit 2
fi
connect
case $1 in
take) take "$2" ;;
restore) restore "$2" ;;
*)
	say 'usage: backup.sh take FILE' '       backup.sh restore FILE'
	exit 2
	;;
esac
