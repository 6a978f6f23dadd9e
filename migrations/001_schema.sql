-- The whole schema of the main job. Three roles that own nothing reach it (made before, by migrate up):
-- {{.Tenant}} sees one tenant at a time by row-level security, {{.Pipeline}} has just the tables and verbs that
-- cross tenants by nature, {{.River}} has River's tables alone.

-- Functions are executable by PUBLIC unless this comes before the first of them.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

REVOKE ALL ON SCHEMA tributary FROM PUBLIC;
GRANT USAGE ON SCHEMA tributary TO {{.Tenant}}, {{.Pipeline}}, {{.River}};

-- Inlined, so that it stays an index condition. After a commit the setting is '', not NULL.
CREATE FUNCTION tributary.current_tenant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT NULLIF(current_setting('tributary.tenant', true), '')::uuid $$;
GRANT EXECUTE ON FUNCTION tributary.current_tenant() TO {{.Tenant}}, {{.Pipeline}}, {{.River}};

---------------------------------------------------------------------------------------------------------------
-- The installation: one row each.

CREATE TABLE tributary.epoch (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    salt text NOT NULL
);
INSERT INTO tributary.epoch (salt) VALUES (gen_random_uuid()::text);

-- Marked by its first use: a database of tributary dev is refused by serve, and the other way round.
CREATE TABLE tributary.installation (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    kind text NOT NULL CHECK (kind IN ('dev', 'production')),
    made_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tributary.operator_keys (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes text[] NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tributary.nodes (
    id text PRIMARY KEY, -- the id of its River client
    roles text[] NOT NULL,
    version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    beat_at timestamptz NOT NULL DEFAULT now()
);

---------------------------------------------------------------------------------------------------------------
-- What a tenant owns: its configuration.

CREATE TABLE tributary.tenants (
    id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    name text NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    limits jsonb NOT NULL DEFAULT '{}',
    retention_days integer CHECK (retention_days >= 1),
    settings jsonb NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    config_version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- A slug is not given out twice, so this has no foreign key and outlives its tenant.
CREATE TABLE tributary.tenant_slugs (
    slug text PRIMARY KEY,
    tenant_id uuid NOT NULL
);

CREATE TABLE tributary.keys (
    tenant_id uuid NOT NULL REFERENCES tributary.tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    name text NOT NULL,
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes text[] NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE tributary.endpoints (
    tenant_id uuid NOT NULL REFERENCES tributary.tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    name text NOT NULL,
    provider text NOT NULL,
    state text NOT NULL CHECK (state IN ('enabled', 'disabled')),
    mode text NOT NULL CHECK (mode IN ('enforce', 'monitor')),
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    token_sealed bytea NOT NULL,
    config jsonb NOT NULL DEFAULT '{}',
    armed_until timestamptz, -- a handshake that sets the secret is taken until then
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);

CREATE TABLE tributary.secrets (
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('active', 'candidate')),
    sealed bytea NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    matches bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES tributary.endpoints ON DELETE CASCADE
);
CREATE INDEX secrets_endpoint ON tributary.secrets (tenant_id, endpoint_id, id);

CREATE TABLE tributary.rejections (
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    id uuid NOT NULL,
    cause text NOT NULL,
    detail text NOT NULL,
    received_at timestamptz NOT NULL,
    header bytea NOT NULL, -- wire form, without what carries credentials
    sealed bytea,          -- what carries credentials
    body bytea NOT NULL,   -- raw, or without the credential that sealed_body has in its place
    sealed_body bytea,
    truncated boolean NOT NULL,
    event_id uuid,         -- what a retry made of it
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES tributary.endpoints ON DELETE CASCADE
);
CREATE INDEX rejections_endpoint ON tributary.rejections (tenant_id, endpoint_id, id);

CREATE TABLE tributary.routes (
    tenant_id uuid NOT NULL REFERENCES tributary.tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    name text NOT NULL,
    endpoint_id uuid, -- NULL: every endpoint
    match text NOT NULL,
    channels text[] NOT NULL,
    type text NOT NULL DEFAULT '',
    data text NOT NULL DEFAULT '',
    key text NOT NULL DEFAULT '',
    version text NOT NULL DEFAULT '',
    state text NOT NULL CHECK (state IN ('enabled', 'disabled')),
    metadata jsonb NOT NULL DEFAULT '{}',
    failures bigint NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '',
    last_failed_event uuid,
    last_failed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES tributary.endpoints
);
CREATE INDEX routes_endpoint ON tributary.routes (tenant_id, endpoint_id);

CREATE TABLE tributary.issuers (
    tenant_id uuid NOT NULL REFERENCES tributary.tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    name text NOT NULL,
    issuer text NOT NULL,
    audiences text[] NOT NULL,
    authorized_parties text[] NOT NULL,
    required_claims jsonb NOT NULL DEFAULT '{}',
    grants jsonb NOT NULL,
    session_seconds integer,
    shares_channels boolean NOT NULL DEFAULT false,
    jwks_uri text NOT NULL DEFAULT '',
    internal boolean NOT NULL DEFAULT false,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);

-- Without a foreign key: who deleted a tenant is still known when it is gone.
CREATE TABLE tributary.audit (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    actor_kind text NOT NULL,
    actor_key uuid,
    actor_name text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE tributary.usage (
    tenant_id uuid NOT NULL REFERENCES tributary.tenants ON DELETE CASCADE,
    hour timestamptz NOT NULL,
    received bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    messages bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    connections_peak bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, hour)
);

-- The answers of POST requests that carried an Idempotency-Key, under whoever asked. It has no tenant: an operator
-- who creates one has none yet.
CREATE TABLE tributary.idempotency (
    caller uuid NOT NULL,                               -- the key that asked
    hash bytea NOT NULL CHECK (length(hash) = 32),      -- method, path, Idempotency-Key
    request bytea NOT NULL CHECK (length(request) = 32),-- the body's hash: another body is refused
    status integer NOT NULL,
    header jsonb NOT NULL,
    answer bytea,                                       -- sealed where it holds a secret; NULL once that is forgotten
    sealed boolean NOT NULL DEFAULT false,
    secret_until timestamptz,                           -- a sealed answer is given until then
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caller, hash)
);
CREATE INDEX idempotency_expires ON tributary.idempotency (expires_at);
CREATE INDEX idempotency_secrets ON tributary.idempotency (secret_until) WHERE sealed AND answer IS NOT NULL;

---------------------------------------------------------------------------------------------------------------
-- What flows. Partition keys go last in primary keys, so that these also order. Partitioned tables have no
-- foreign keys: ATTACH would lock the referenced table against writers.

CREATE TABLE tributary.events (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    provider text NOT NULL,
    type text NOT NULL,
    provider_id text NOT NULL,
    received_at timestamptz NOT NULL,
    verified boolean NOT NULL,
    cause text NOT NULL,
    secret_id uuid,
    header bytea NOT NULL, -- wire form, without what carries credentials
    sealed bytea,          -- what carries credentials
    body bytea NOT NULL,   -- raw, or without the credential that sealed_body has in its place
    sealed_body bytea,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX events_provider_id ON tributary.events (tenant_id, provider_id, id) WHERE provider_id <> '';

-- The gate: a working is recorded once, before its messages have positions.
CREATE TABLE tributary.outcomes (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    run uuid NOT NULL,
    state text NOT NULL,
    error text NOT NULL,
    routes jsonb,
    worked_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, event_id, run)
) PARTITION BY RANGE (event_id);

CREATE TABLE tributary.messages (
    tenant_id uuid NOT NULL,
    position bigint NOT NULL,
    at timestamptz NOT NULL,
    id uuid NOT NULL,
    event_id uuid,
    run uuid,
    channel text COLLATE "C" NOT NULL,
    type text NOT NULL,
    key text,
    version_number bigint,
    version_text text COLLATE "C",
    data bytea NOT NULL,
    PRIMARY KEY (tenant_id, position, at)
) PARTITION BY RANGE (at);
CREATE INDEX messages_channel ON tributary.messages (tenant_id, channel, position);
CREATE INDEX messages_event ON tributary.messages (tenant_id, event_id, position) WHERE event_id IS NOT NULL;

-- Every append updates it; the free space keeps all updates heap-only.
CREATE TABLE tributary.log_heads (
    tenant_id uuid PRIMARY KEY REFERENCES tributary.tenants ON DELETE CASCADE,
    position bigint NOT NULL,
    at timestamptz NOT NULL,
    day_start bigint NOT NULL
) WITH (fillfactor = 10);

-- A tenant's first message of each day that is still held: the floor, since=<time>, and the bound of a bare cursor.
CREATE TABLE tributary.log_days (
    tenant_id uuid NOT NULL,
    first_position bigint NOT NULL,
    day date NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, first_position)
);
CREATE INDEX log_days_day ON tributary.log_days (day);

-- A channel's last value per key. data NULL is a tombstone, swept later: a DELETE in the append would not see
-- rows committed after its snapshot.
CREATE TABLE tributary.state (
    tenant_id uuid NOT NULL,
    channel text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    at timestamptz NOT NULL,
    type text NOT NULL,
    version_number bigint,
    version_text text COLLATE "C",
    forget boolean NOT NULL,
    data bytea,
    PRIMARY KEY (tenant_id, channel, key)
) WITH (fillfactor = 50);

CREATE TABLE tributary.dedup (
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 16),
    event_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, endpoint_id, hash)
);
CREATE INDEX dedup_expires ON tributary.dedup (expires_at);

-- lz4 where this build of Postgres has it; partitions copy it.
DO $$
BEGIN
    IF 'lz4' = ANY (SELECT unnest(enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
        ALTER TABLE tributary.events ALTER COLUMN body SET COMPRESSION lz4, ALTER COLUMN header SET COMPRESSION lz4;
        ALTER TABLE tributary.messages ALTER COLUMN data SET COMPRESSION lz4;
        ALTER TABLE tributary.state ALTER COLUMN data SET COMPRESSION lz4;
        ALTER TABLE tributary.rejections ALTER COLUMN body SET COMPRESSION lz4;
    END IF;
END $$;

---------------------------------------------------------------------------------------------------------------
-- Partitions. Only an owner can make or drop one and the process owns nothing, so the owner does it for it.

-- The smallest UUIDv7 of a moment.
CREATE FUNCTION tributary.first_id(t timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

-- Makes the day's partition of events, outcomes or messages and says whether there was none. CREATE … PARTITION OF
-- would wait for every reader of the parent and stall those behind it; ATTACH does not.
CREATE FUNCTION tributary.make_partition(kind text, day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s'
AS $$
DECLARE
    name text := kind || '_' || to_char(day, 'YYYYMMDD');
    low text;
    high text;
BEGIN
    IF kind IS NULL OR kind NOT IN ('events', 'outcomes', 'messages') THEN
        RAISE EXCEPTION 'no partitioned table %', kind USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF day IS NULL OR day < current_date - 400 OR day > current_date + 31 THEN
        RAISE EXCEPTION 'no partition is made for %', day USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('tributary.partition', 0));
    IF to_regclass('tributary.' || quote_ident(name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    IF kind = 'messages' THEN
        low := day::timestamptz;
        high := (day + 1)::timestamptz;
    ELSE
        low := tributary.first_id(day::timestamptz);
        high := tributary.first_id((day + 1)::timestamptz);
    END IF;
    EXECUTE format('CREATE TABLE tributary.%I (LIKE tributary.%I INCLUDING ALL)', name, kind);
    EXECUTE format('ALTER TABLE tributary.%I ENABLE ROW LEVEL SECURITY', name); -- LIKE does not copy it
    EXECUTE format('REVOKE ALL ON tributary.%I FROM PUBLIC', name);
    EXECUTE format('ALTER TABLE tributary.%I ATTACH PARTITION tributary.%I FOR VALUES FROM (%L) TO (%L)', kind, name, low, high);
    RETURN true;
END $$;

-- Drops the day's partition and says whether there was one. A day that can still be written is refused; a lock
-- that is not had within 200 ms is SQLSTATE 55P03: try again later. With a day of messages goes its place in
-- log_days, in the same transaction: that is the floor.
CREATE FUNCTION tributary.drop_partition(kind text, day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '200ms'
AS $$
DECLARE
    name text := kind || '_' || to_char(day, 'YYYYMMDD');
    cut date := day;
BEGIN
    IF kind IS NULL OR kind NOT IN ('events', 'outcomes', 'messages') THEN
        RAISE EXCEPTION 'no partitioned table %', kind USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF day IS NULL OR day >= current_date - 1 THEN
        RAISE EXCEPTION 'the partition of % may still be written', day USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('tributary.partition', 0));
    IF to_regclass('tributary.' || quote_ident(name)) IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE tributary.%I', name);
    IF kind = 'messages' THEN
        DELETE FROM tributary.log_days d WHERE d.day <= cut;
    END IF;
    RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION tributary.make_partition(text, date), tributary.drop_partition(text, date) TO {{.Pipeline}};

---------------------------------------------------------------------------------------------------------------
-- Who may what.

GRANT SELECT, INSERT, UPDATE, DELETE ON
    tributary.tenants, tributary.keys, tributary.endpoints, tributary.secrets, tributary.routes, tributary.issuers TO {{.Tenant}};
GRANT SELECT, INSERT ON tributary.tenant_slugs, tributary.audit TO {{.Tenant}};
GRANT SELECT, DELETE ON tributary.rejections, tributary.state, tributary.log_days, tributary.dedup TO {{.Tenant}};
GRANT UPDATE (event_id) ON tributary.rejections TO {{.Tenant}};
GRANT SELECT ON tributary.events, tributary.outcomes, tributary.messages, tributary.log_heads, tributary.usage TO {{.Tenant}};

GRANT SELECT ON
    tributary.tenants, tributary.keys, tributary.endpoints, tributary.secrets, tributary.routes, tributary.issuers,
    tributary.epoch, tributary.operator_keys, tributary.schema_version TO {{.Pipeline}};
GRANT UPDATE (last_used_at) ON tributary.keys, tributary.operator_keys TO {{.Pipeline}};
GRANT UPDATE (last_used_at, matches) ON tributary.secrets TO {{.Pipeline}};
GRANT UPDATE (failures, last_error, last_failed_event, last_failed_at) ON tributary.routes TO {{.Pipeline}};
GRANT SELECT, INSERT ON tributary.installation, tributary.events, tributary.outcomes, tributary.messages, tributary.log_days TO {{.Pipeline}};
GRANT SELECT, INSERT, UPDATE ON tributary.log_heads, tributary.usage TO {{.Pipeline}};
GRANT SELECT, INSERT, DELETE ON tributary.rejections TO {{.Pipeline}};
GRANT SELECT, INSERT, UPDATE, DELETE ON tributary.dedup, tributary.state, tributary.nodes, tributary.idempotency TO {{.Pipeline}};

GRANT SELECT ON tributary.nodes TO {{.River}};

-- Row-level security on everything, the tables without a tenant included.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT c.relname FROM pg_class c
                 WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p') LOOP
        EXECUTE format('ALTER TABLE tributary.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY pipeline ON tributary.%I TO {{.Pipeline}} USING (true) WITH CHECK (true)', name);
        IF EXISTS (SELECT FROM pg_attribute a
                    WHERE a.attrelid = format('tributary.%I', name)::regclass AND a.attname = 'tenant_id') THEN
            EXECUTE format('CREATE POLICY tenant ON tributary.%I TO {{.Tenant}}
                USING (tenant_id = tributary.current_tenant()) WITH CHECK (tenant_id = tributary.current_tenant())', name);
        END IF;
    END LOOP;
END $$;
CREATE POLICY tenant ON tributary.tenants TO {{.Tenant}}
    USING (id = tributary.current_tenant()) WITH CHECK (id = tributary.current_tenant());
CREATE POLICY river ON tributary.nodes TO {{.River}} USING (true);
