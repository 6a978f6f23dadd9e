-- Which keys seal what the database holds, and which of them each node has. The build before this one writes neither:
-- its nodes' columns stay NULL.

ALTER TABLE tributary.nodes
    ADD COLUMN key_ids bigint[],       -- of the keys that the node's keyset has
    ADD COLUMN primary_key_id bigint;  -- of the one that it seals with

-- A row for each key that a node has sealed with, written before it seals. A keyset that lacks one of those that are
-- not retired cannot open what is stored; one that seals with a retired key would store what others cannot open.
CREATE TABLE tributary.keyset_keys (
    key_id bigint PRIMARY KEY,
    proof bytea NOT NULL,              -- a fixed value, sealed by that key: who opens it has the key, not only its id
    made_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz             -- nothing that is stored is sealed by it any more, and nothing may be
);
GRANT SELECT, INSERT ON tributary.keyset_keys TO {{.Pipeline}};
ALTER TABLE tributary.keyset_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.keyset_keys TO {{.Pipeline}} USING (true) WITH CHECK (true);
