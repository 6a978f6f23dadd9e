#!/usr/bin/env bash
# Makes the secrets that compose.yaml mounts, each a file in deploy/secrets, where there are none yet. Arguments are
# the command that runs the hub's program; the default is the image that compose builds.
set -euo pipefail
umask 077

tributary=("$@")
if [ "$#" -eq 0 ]; then tributary=(docker run --rm "${TRIBUTARY_IMAGE:-tributary:local}"); fi

cd "$(dirname "${BASH_SOURCE[0]}")"
if [ -e secrets ]; then
	echo 'deploy/secrets is there already; a new keyset could not open what the old one has sealed' >&2
	exit 1
fi

# All of it or none: the folder gets its name when it is whole.
new=$(mktemp -d secrets.XXXXXXXX)
trap 'rm -rf "$new"' EXIT

password() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
password >"$new/postgres_password"
password >"$new/owner_password"
password >"$new/hub_password"
printf 'postgres://tributary_owner:%s@postgres:5432/tributary?sslmode=disable' "$(<"$new/owner_password")" >"$new/owner_database_url"
printf 'postgres://tributary_hub:%s@postgres:5432/tributary?sslmode=disable' "$(<"$new/hub_password")" >"$new/database_url"
"${tributary[@]}" keyset new >"$new/keyset"

# Compose mounts files as they are, and containers run as other users: readable in a folder that is closed to them.
chmod 0444 "$new"/*
mv "$new" secrets
echo 'made deploy/secrets; keep a copy of secrets/keyset apart from the backups of the database' >&2
