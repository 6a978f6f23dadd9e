package app

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
			name: "server", needs: []string{"TRIBUTARY_DATABASE_URL", "DATABASE_URL", "TRIBUTARY_DIRECT_DATABASE_URL"}, run: checkServer, mends: reach,
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
			name: "writes", needs: []string{"database"}, run: checkWrites, probe: probeWrites,
			remedy: "take default_transaction_read_only back (ALTER DATABASE, ALTER ROLE, postgresql.conf), give the disk room, and see that a standby of synchronous_standby_names runs",
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
			name: "partitions", needs: []string{"migrations"}, minor: true, run: checkPartitions, probe: probePartitions,
			remedy: "see why the process with the role worker does not make them: its log says so; it makes them at its start too",
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
