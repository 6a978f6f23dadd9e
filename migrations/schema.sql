-- What the migrations come to. Written by go test ./internal/store -run TestSchemaDump -update, not by hand.

CREATE OR REPLACE FUNCTION tributary.current_tenant()
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$ SELECT NULLIF(current_setting('tributary.tenant', true), '')::uuid $function$;

CREATE OR REPLACE FUNCTION tributary.drop_partition(kind text, day date)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET lock_timeout TO '200ms'
AS $function$
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
END $function$;

CREATE OR REPLACE FUNCTION tributary.first_id(t timestamp with time zone)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ SELECT (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $function$;

CREATE OR REPLACE FUNCTION tributary.make_partition(kind text, day date)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET lock_timeout TO '2s'
AS $function$
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
END $function$;

CREATE TABLE tributary.audit (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT now(),
    actor_kind text NOT NULL,
    actor_key uuid,
    actor_name text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'::jsonb,
    CONSTRAINT audit_pkey PRIMARY KEY (tenant_id, id)
);
ALTER TABLE tributary.audit ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.audit AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.audit AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.dedup (
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    hash bytea NOT NULL,
    event_id uuid NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT dedup_hash_check CHECK ((length(hash) = 16)),
    CONSTRAINT dedup_pkey PRIMARY KEY (tenant_id, endpoint_id, hash)
);
CREATE INDEX dedup_expires ON tributary.dedup USING btree (expires_at);
ALTER TABLE tributary.dedup ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.dedup AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.dedup AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.endpoints (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    provider text NOT NULL,
    state text NOT NULL,
    mode text NOT NULL,
    token_hash bytea NOT NULL,
    token_sealed bytea NOT NULL,
    config jsonb NOT NULL DEFAULT '{}'::jsonb,
    armed_until timestamp with time zone,
    metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT endpoints_mode_check CHECK ((mode = ANY (ARRAY['enforce'::text, 'monitor'::text]))),
    CONSTRAINT endpoints_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT endpoints_state_check CHECK ((state = ANY (ARRAY['enabled'::text, 'disabled'::text]))),
    CONSTRAINT endpoints_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tributary.tenants(id) ON DELETE CASCADE,
    CONSTRAINT endpoints_tenant_id_name_key UNIQUE (tenant_id, name),
    CONSTRAINT endpoints_token_hash_check CHECK ((length(token_hash) = 32)),
    CONSTRAINT endpoints_token_hash_key UNIQUE (token_hash)
);
ALTER TABLE tributary.endpoints ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.endpoints AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.endpoints AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.epoch (
    single boolean NOT NULL DEFAULT true,
    salt text NOT NULL,
    CONSTRAINT epoch_pkey PRIMARY KEY (single),
    CONSTRAINT epoch_single_check CHECK (single)
);
ALTER TABLE tributary.epoch ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.epoch AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);

CREATE TABLE tributary.events (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    provider text NOT NULL,
    type text NOT NULL,
    provider_id text NOT NULL,
    received_at timestamp with time zone NOT NULL,
    verified boolean NOT NULL,
    cause text NOT NULL,
    secret_id uuid,
    header bytea NOT NULL,
    sealed bytea,
    body bytea NOT NULL,
    sealed_body bytea,
    CONSTRAINT events_pkey PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX events_provider_id ON ONLY tributary.events USING btree (tenant_id, provider_id, id) WHERE (provider_id <> ''::text);
ALTER TABLE tributary.events ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.events AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.events AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.idempotency (
    caller uuid NOT NULL,
    hash bytea NOT NULL,
    request bytea NOT NULL,
    status integer NOT NULL,
    header jsonb NOT NULL,
    answer bytea,
    sealed boolean NOT NULL DEFAULT false,
    secret_until timestamp with time zone,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT idempotency_hash_check CHECK ((length(hash) = 32)),
    CONSTRAINT idempotency_pkey PRIMARY KEY (caller, hash),
    CONSTRAINT idempotency_request_check CHECK ((length(request) = 32))
);
CREATE INDEX idempotency_expires ON tributary.idempotency USING btree (expires_at);
CREATE INDEX idempotency_secrets ON tributary.idempotency USING btree (secret_until) WHERE (sealed AND (answer IS NOT NULL));
ALTER TABLE tributary.idempotency ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.idempotency AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);

CREATE TABLE tributary.installation (
    single boolean NOT NULL DEFAULT true,
    kind text NOT NULL,
    made_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT installation_kind_check CHECK ((kind = ANY (ARRAY['dev'::text, 'production'::text]))),
    CONSTRAINT installation_pkey PRIMARY KEY (single),
    CONSTRAINT installation_single_check CHECK (single)
);
ALTER TABLE tributary.installation ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.installation AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);

CREATE TABLE tributary.issuers (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    issuer text NOT NULL,
    audiences text[] NOT NULL,
    authorized_parties text[] NOT NULL,
    required_claims jsonb NOT NULL DEFAULT '{}'::jsonb,
    grants jsonb NOT NULL,
    session_seconds integer,
    shares_channels boolean NOT NULL DEFAULT false,
    jwks_uri text NOT NULL DEFAULT ''::text,
    internal boolean NOT NULL DEFAULT false,
    metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT issuers_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT issuers_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tributary.tenants(id) ON DELETE CASCADE,
    CONSTRAINT issuers_tenant_id_name_key UNIQUE (tenant_id, name)
);
ALTER TABLE tributary.issuers ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.issuers AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.issuers AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.keys (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT keys_hash_check CHECK ((length(hash) = 32)),
    CONSTRAINT keys_hash_key UNIQUE (hash),
    CONSTRAINT keys_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tributary.tenants(id) ON DELETE CASCADE
);
ALTER TABLE tributary.keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.keys AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.keys AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.keyset_keys (
    key_id bigint NOT NULL,
    proof bytea NOT NULL,
    made_at timestamp with time zone NOT NULL DEFAULT now(),
    retired_at timestamp with time zone,
    CONSTRAINT keyset_keys_pkey PRIMARY KEY (key_id)
);
ALTER TABLE tributary.keyset_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.keyset_keys AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);

CREATE TABLE tributary.log_days (
    tenant_id uuid NOT NULL,
    first_position bigint NOT NULL,
    day date NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT log_days_pkey PRIMARY KEY (tenant_id, first_position)
);
CREATE INDEX log_days_day ON tributary.log_days USING btree (day);
ALTER TABLE tributary.log_days ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.log_days AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.log_days AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.log_heads (
    tenant_id uuid NOT NULL,
    position bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    day_start bigint NOT NULL,
    CONSTRAINT log_heads_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT log_heads_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tributary.tenants(id) ON DELETE CASCADE
) WITH (fillfactor=10);
ALTER TABLE tributary.log_heads ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.log_heads AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.log_heads AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.messages (
    tenant_id uuid NOT NULL,
    position bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    id uuid NOT NULL,
    event_id uuid,
    run uuid,
    channel text COLLATE "C" NOT NULL,
    type text NOT NULL,
    key text,
    version_number bigint,
    version_text text COLLATE "C",
    data bytea NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (tenant_id, "position", at)
) PARTITION BY RANGE (at);
CREATE INDEX messages_channel ON ONLY tributary.messages USING btree (tenant_id, channel, "position");
CREATE INDEX messages_event ON ONLY tributary.messages USING btree (tenant_id, event_id, "position") WHERE (event_id IS NOT NULL);
ALTER TABLE tributary.messages ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.messages AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.messages AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.nodes (
    id text NOT NULL,
    roles text[] NOT NULL,
    version text NOT NULL,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    beat_at timestamp with time zone NOT NULL DEFAULT now(),
    key_ids bigint[],
    primary_key_id bigint,
    CONSTRAINT nodes_pkey PRIMARY KEY (id)
);
ALTER TABLE tributary.nodes ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.nodes AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY river ON tributary.nodes AS PERMISSIVE FOR ALL TO tributary_river USING (true);

CREATE TABLE tributary.operator_keys (
    id uuid NOT NULL,
    name text NOT NULL,
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT operator_keys_hash_check CHECK ((length(hash) = 32)),
    CONSTRAINT operator_keys_hash_key UNIQUE (hash),
    CONSTRAINT operator_keys_pkey PRIMARY KEY (id)
);
ALTER TABLE tributary.operator_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.operator_keys AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);

CREATE TABLE tributary.outcomes (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    run uuid NOT NULL,
    state text NOT NULL,
    error text NOT NULL,
    routes jsonb,
    worked_at timestamp with time zone NOT NULL,
    CONSTRAINT outcomes_pkey PRIMARY KEY (tenant_id, event_id, run)
) PARTITION BY RANGE (event_id);
ALTER TABLE tributary.outcomes ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.outcomes AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.outcomes AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.rejections (
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    id uuid NOT NULL,
    cause text NOT NULL,
    detail text NOT NULL,
    received_at timestamp with time zone NOT NULL,
    header bytea NOT NULL,
    sealed bytea,
    body bytea NOT NULL,
    sealed_body bytea,
    truncated boolean NOT NULL,
    event_id uuid,
    CONSTRAINT rejections_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT rejections_tenant_id_endpoint_id_fkey FOREIGN KEY (tenant_id, endpoint_id) REFERENCES tributary.endpoints(tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX rejections_endpoint ON tributary.rejections USING btree (tenant_id, endpoint_id, id);
ALTER TABLE tributary.rejections ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.rejections AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.rejections AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.routes (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    endpoint_id uuid,
    match text NOT NULL,
    channels text[] NOT NULL,
    type text NOT NULL DEFAULT ''::text,
    data text NOT NULL DEFAULT ''::text,
    key text NOT NULL DEFAULT ''::text,
    version text NOT NULL DEFAULT ''::text,
    state text NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
    failures bigint NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT ''::text,
    last_failed_event uuid,
    last_failed_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT routes_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT routes_state_check CHECK ((state = ANY (ARRAY['enabled'::text, 'disabled'::text]))),
    CONSTRAINT routes_tenant_id_endpoint_id_fkey FOREIGN KEY (tenant_id, endpoint_id) REFERENCES tributary.endpoints(tenant_id, id),
    CONSTRAINT routes_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tributary.tenants(id) ON DELETE CASCADE,
    CONSTRAINT routes_tenant_id_name_key UNIQUE (tenant_id, name)
);
CREATE INDEX routes_endpoint ON tributary.routes USING btree (tenant_id, endpoint_id);
ALTER TABLE tributary.routes ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.routes AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.routes AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.schema_version (
    version integer NOT NULL,
    CONSTRAINT schema_version_pkey PRIMARY KEY (version)
);
ALTER TABLE tributary.schema_version ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.schema_version AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);

CREATE TABLE tributary.secrets (
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    id uuid NOT NULL,
    state text NOT NULL,
    sealed bytea NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    matches bigint NOT NULL DEFAULT 0,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT secrets_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT secrets_state_check CHECK ((state = ANY (ARRAY['active'::text, 'candidate'::text]))),
    CONSTRAINT secrets_tenant_id_endpoint_id_fkey FOREIGN KEY (tenant_id, endpoint_id) REFERENCES tributary.endpoints(tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX secrets_endpoint ON tributary.secrets USING btree (tenant_id, endpoint_id, id);
ALTER TABLE tributary.secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.secrets AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.secrets AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.state (
    tenant_id uuid NOT NULL,
    channel text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    type text NOT NULL,
    version_number bigint,
    version_text text COLLATE "C",
    forget boolean NOT NULL,
    data bytea,
    CONSTRAINT state_pkey PRIMARY KEY (tenant_id, channel, key)
) WITH (fillfactor=50);
ALTER TABLE tributary.state ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.state AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.state AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.tenant_slugs (
    slug text NOT NULL,
    tenant_id uuid NOT NULL,
    CONSTRAINT tenant_slugs_pkey PRIMARY KEY (slug)
);
ALTER TABLE tributary.tenant_slugs ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.tenant_slugs AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.tenant_slugs AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

CREATE TABLE tributary.tenants (
    id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    state text NOT NULL DEFAULT 'active'::text,
    limits jsonb NOT NULL DEFAULT '{}'::jsonb,
    retention_days integer,
    settings jsonb NOT NULL DEFAULT '{}'::jsonb,
    metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
    config_version bigint NOT NULL DEFAULT 1,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT tenants_pkey PRIMARY KEY (id),
    CONSTRAINT tenants_retention_days_check CHECK ((retention_days >= 1)),
    CONSTRAINT tenants_slug_key UNIQUE (slug),
    CONSTRAINT tenants_state_check CHECK ((state = ANY (ARRAY['active'::text, 'suspended'::text])))
);
ALTER TABLE tributary.tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.tenants AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.tenants AS PERMISSIVE FOR ALL TO tributary_tenant USING ((id = tributary.current_tenant())) WITH CHECK ((id = tributary.current_tenant()));

CREATE TABLE tributary.usage (
    tenant_id uuid NOT NULL,
    hour timestamp with time zone NOT NULL,
    received bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    messages bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    connections_peak bigint NOT NULL DEFAULT 0,
    CONSTRAINT usage_pkey PRIMARY KEY (tenant_id, hour),
    CONSTRAINT usage_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tributary.tenants(id) ON DELETE CASCADE
);
ALTER TABLE tributary.usage ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.usage AS PERMISSIVE FOR ALL TO tributary_pipeline USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.usage AS PERMISSIVE FOR ALL TO tributary_tenant USING ((tenant_id = tributary.current_tenant())) WITH CHECK ((tenant_id = tributary.current_tenant()));

GRANT EXECUTE ON FUNCTION tributary.current_tenant() TO tributary_pipeline;
GRANT EXECUTE ON FUNCTION tributary.drop_partition(text,date) TO tributary_pipeline;
GRANT EXECUTE ON FUNCTION tributary.make_partition(text,date) TO tributary_pipeline;
GRANT EXECUTE ON FUNCTION tributary_river.river_job_state_in_bitmask(bit,tributary_river.river_job_state) TO tributary_pipeline;
GRANT USAGE ON SCHEMA tributary TO tributary_pipeline;
GRANT USAGE ON SCHEMA tributary_river TO tributary_pipeline;
GRANT USAGE ON SEQUENCE tributary_river.river_job_id_seq TO tributary_pipeline;
GRANT USAGE ON SEQUENCE tributary_river.river_notification_id_seq TO tributary_pipeline;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary.dedup TO tributary_pipeline;
GRANT SELECT ON tributary.endpoints TO tributary_pipeline;
GRANT SELECT ON tributary.epoch TO tributary_pipeline;
GRANT INSERT, SELECT ON tributary.events TO tributary_pipeline;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary.idempotency TO tributary_pipeline;
GRANT INSERT, SELECT ON tributary.installation TO tributary_pipeline;
GRANT SELECT ON tributary.issuers TO tributary_pipeline;
GRANT SELECT, UPDATE (last_used_at) ON tributary.keys TO tributary_pipeline;
GRANT INSERT, SELECT ON tributary.keyset_keys TO tributary_pipeline;
GRANT INSERT, SELECT ON tributary.log_days TO tributary_pipeline;
GRANT INSERT, SELECT, UPDATE ON tributary.log_heads TO tributary_pipeline;
GRANT INSERT, SELECT ON tributary.messages TO tributary_pipeline;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary.nodes TO tributary_pipeline;
GRANT SELECT, UPDATE (last_used_at) ON tributary.operator_keys TO tributary_pipeline;
GRANT INSERT, SELECT ON tributary.outcomes TO tributary_pipeline;
GRANT DELETE, INSERT, SELECT ON tributary.rejections TO tributary_pipeline;
GRANT SELECT, UPDATE (failures), UPDATE (last_error), UPDATE (last_failed_at), UPDATE (last_failed_event) ON tributary.routes TO tributary_pipeline;
GRANT SELECT ON tributary.schema_version TO tributary_pipeline;
GRANT SELECT, UPDATE (last_used_at), UPDATE (matches) ON tributary.secrets TO tributary_pipeline;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary.state TO tributary_pipeline;
GRANT SELECT ON tributary.tenants TO tributary_pipeline;
GRANT INSERT, SELECT, UPDATE ON tributary.usage TO tributary_pipeline;
GRANT INSERT ON tributary_river.river_job TO tributary_pipeline;

GRANT EXECUTE ON FUNCTION tributary.current_tenant() TO tributary_river;
GRANT EXECUTE ON FUNCTION tributary_river.river_job_state_in_bitmask(bit,tributary_river.river_job_state) TO tributary_river;
GRANT USAGE ON SCHEMA tributary TO tributary_river;
GRANT USAGE ON SCHEMA tributary_river TO tributary_river;
GRANT USAGE ON SEQUENCE tributary_river.river_job_id_seq TO tributary_river;
GRANT USAGE ON SEQUENCE tributary_river.river_notification_id_seq TO tributary_river;
GRANT SELECT ON tributary.nodes TO tributary_river;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary_river.river_job TO tributary_river;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary_river.river_leader TO tributary_river;
GRANT SELECT ON tributary_river.river_migration TO tributary_river;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary_river.river_notification TO tributary_river;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary_river.river_queue TO tributary_river;

GRANT EXECUTE ON FUNCTION tributary.current_tenant() TO tributary_tenant;
GRANT USAGE ON SCHEMA tributary TO tributary_tenant;
GRANT INSERT, SELECT ON tributary.audit TO tributary_tenant;
GRANT DELETE, SELECT ON tributary.dedup TO tributary_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary.endpoints TO tributary_tenant;
GRANT SELECT ON tributary.events TO tributary_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary.issuers TO tributary_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary.keys TO tributary_tenant;
GRANT DELETE, SELECT ON tributary.log_days TO tributary_tenant;
GRANT SELECT ON tributary.log_heads TO tributary_tenant;
GRANT SELECT ON tributary.messages TO tributary_tenant;
GRANT SELECT ON tributary.outcomes TO tributary_tenant;
GRANT DELETE, SELECT, UPDATE (event_id) ON tributary.rejections TO tributary_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary.routes TO tributary_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary.secrets TO tributary_tenant;
GRANT DELETE, SELECT ON tributary.state TO tributary_tenant;
GRANT INSERT, SELECT ON tributary.tenant_slugs TO tributary_tenant;
GRANT DELETE, INSERT, SELECT, UPDATE ON tributary.tenants TO tributary_tenant;
GRANT SELECT ON tributary.usage TO tributary_tenant;

-- default privileges of functions: PUBLIC has none
