#!/usr/bin/env bash
# Run once by the Postgres image, on an empty cluster, as its superuser: makes the hub's database and two logins. One
# owns it, runs migrations, and sees and ends sessions as the runbooks need; the hub's own owns nothing, and gets its
# roles from `tributary migrate up --login`.
set -euo pipefail

owner_password=$(</run/secrets/owner_password)
hub_password=$(</run/secrets/hub_password)

psql --no-psqlrc --set ON_ERROR_STOP=1 --set owner_password="$owner_password" --set hub_password="$hub_password" \
	--username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE tributary_owner LOGIN CREATEROLE PASSWORD :'owner_password';
GRANT pg_monitor, pg_signal_backend TO tributary_owner;
CREATE ROLE tributary_hub LOGIN NOINHERIT PASSWORD :'hub_password';
CREATE DATABASE tributary OWNER tributary_owner;
SQL
