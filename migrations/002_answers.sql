-- An answer to an idempotent request is kept by the transaction that it answers for: nobody claims the question
-- beforehand any more. Nodes of the version before still write the column; once none is left it goes, and with it the
-- rows without a status.
ALTER TABLE tributary.idempotency ALTER COLUMN claimed_until DROP NOT NULL;
