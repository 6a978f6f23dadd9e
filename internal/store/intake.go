package store

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/job"
)

// InsertEvents commits events in one transaction, each with its dedup key and the job that will work it, and says
// for each whether it is new or which event was first. An event whose key is held is not inserted; a key that has
// expired is taken again. Order in events decides between two that share a key.
func (p *Pipeline) InsertEvents(ctx context.Context, events []hub.Event) ([]hub.Receipt, error) {
	var receipts []hub.Receipt
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		inserted, began, err := insertEvents(ctx, tx, events)
		if err != nil {
			return err
		}
		p.clock.began.Store(&began) // of two at once the other's will do as well
		if receipts, err = receiptsOf(ctx, tx, events, inserted); err != nil {
			return err
		}
		return p.enqueue(ctx, tx, events, inserted)
	})
	if err != nil {
		return nil, fmt.Errorf("insert events: %w", failure(err))
	}
	return receipts, nil
}

// insertEvents inserts what is new and says which those are, and when the transaction began, by Postgres's clock.
func insertEvents(ctx context.Context, tx pgx.Tx, events []hub.Event) (inserted map[hub.EventID]bool, began time.Time, err error) {
	c := columnsOf(events)
	rows, _ := tx.Query(ctx, insertEventsSQL,
		c.tenants, c.ids, c.endpoints, c.providers, c.types, c.providerIDs, c.receivedAt, c.verified, c.causes, c.secrets,
		c.headers, c.sealed, c.bodies, c.hashes, c.keeps, c.sealedBodies)
	inserted = make(map[hub.EventID]bool, len(events))
	var id hub.EventID
	_, err = pgx.ForEachRow(rows, []any{&id, &began}, func() error {
		inserted[id] = true
		return nil
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("insert: %w", err)
	}
	return inserted, began, nil
}

// What expires is compared with Postgres's clock, and so dated by it. Sorted by the unique key, or two flushers deadlock; DISTINCT ON, since DO UPDATE refuses to touch a row twice.
const insertEventsSQL = `
	WITH input AS MATERIALIZED (
		SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::boolean[],
			$9::text[], $10::uuid[], $11::bytea[], $12::bytea[], $13::bytea[], $14::bytea[], $15::interval[], $16::bytea[]) WITH ORDINALITY
			AS i(tenant_id, id, endpoint_id, provider, type, provider_id, received_at, verified, cause, secret_id, header, sealed, body, hash, keep, sealed_body, ord)
	), key AS (
		INSERT INTO tributary.dedup AS d (tenant_id, endpoint_id, hash, event_id, expires_at)
		SELECT DISTINCT ON (tenant_id, endpoint_id, hash) tenant_id, endpoint_id, hash, id, now() + keep
		  FROM input WHERE hash IS NOT NULL
		 ORDER BY tenant_id, endpoint_id, hash, ord
		ON CONFLICT (tenant_id, endpoint_id, hash) DO UPDATE SET event_id = EXCLUDED.event_id, expires_at = EXCLUDED.expires_at
		 WHERE d.expires_at < now()
		RETURNING event_id
	)
	INSERT INTO tributary.events (tenant_id, id, endpoint_id, provider, type, provider_id, received_at, verified, cause, secret_id, header, sealed, body, sealed_body)
	SELECT tenant_id, id, endpoint_id, provider, type, provider_id, received_at, verified, cause, secret_id, header, sealed, body, sealed_body
	  FROM input WHERE hash IS NULL OR id IN (SELECT event_id FROM key)
	RETURNING id, now()`

// receiptsOf asks for the first events of duplicates. As a second statement its snapshot sees the rows that the
// first one waited for.
func receiptsOf(ctx context.Context, tx pgx.Tx, events []hub.Event, inserted map[hub.EventID]bool) ([]hub.Receipt, error) {
	receipts := make([]hub.Receipt, len(events))
	var duplicates []hub.Event
	var places []int
	for i, e := range events {
		receipts[i].Event = e.ID
		if !inserted[e.ID] {
			duplicates = append(duplicates, e)
			places = append(places, i)
		}
	}
	if len(duplicates) == 0 {
		return receipts, nil
	}
	c := columnsOf(duplicates)
	rows, _ := tx.Query(ctx, `
		SELECT i.ord, d.event_id
		  FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) WITH ORDINALITY AS i(tenant_id, endpoint_id, hash, ord)
		 CROSS JOIN LATERAL (SELECT event_id FROM tributary.dedup d
			WHERE d.tenant_id = i.tenant_id AND d.endpoint_id = i.endpoint_id AND d.hash = i.hash ORDER BY d.hash LIMIT 1) d`,
		c.tenants, c.endpoints, c.hashes)
	var ord int64
	var first hub.EventID
	found := 0
	_, err := pgx.ForEachRow(rows, []any{&ord, &first}, func() error {
		place := places[ord-1]
		receipts[place] = hub.Receipt{Event: first, Duplicate: first != events[place].ID} // its own: it was flushed twice
		found++
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find first events: %w", err)
	}
	if found != len(duplicates) {
		return nil, fmt.Errorf("find first events: %d of %d", found, len(duplicates))
	}
	return receipts, nil
}

func (p *Pipeline) enqueue(ctx context.Context, tx pgx.Tx, events []hub.Event, inserted map[hub.EventID]bool) error {
	jobs := make([]river.InsertManyParams, 0, len(inserted))
	for _, e := range events {
		if inserted[e.ID] {
			jobs = append(jobs, river.InsertManyParams{Args: job.RouteEvent{Tenant: e.Tenant, Event: e.ID, Traceparent: e.Trace}})
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	if _, err := p.insert.InsertManyFastTx(ctx, tx, jobs); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	return nil
}

// eventArrays are events turned into the arrays that unnest takes.
type eventArrays struct {
	tenants      []hub.TenantID
	ids          []hub.EventID
	endpoints    []hub.EndpointID
	providers    []string
	types        []string
	providerIDs  []string
	receivedAt   []time.Time
	verified     []bool
	causes       []hub.Cause
	secrets      []*hub.SecretID
	headers      [][]byte
	sealed       [][]byte
	bodies       [][]byte
	sealedBodies [][]byte
	hashes       [][]byte
	keeps        []*time.Duration
}

func columnsOf(events []hub.Event) eventArrays {
	n := len(events)
	c := eventArrays{
		tenants: make([]hub.TenantID, n), ids: make([]hub.EventID, n), endpoints: make([]hub.EndpointID, n),
		providers: make([]string, n), types: make([]string, n), providerIDs: make([]string, n),
		receivedAt: make([]time.Time, n), verified: make([]bool, n), causes: make([]hub.Cause, n), secrets: make([]*hub.SecretID, n),
		headers: make([][]byte, n), sealed: make([][]byte, n), bodies: make([][]byte, n), sealedBodies: make([][]byte, n),
		hashes: make([][]byte, n), keeps: make([]*time.Duration, n),
	}
	for i := range events {
		e := &events[i]
		c.tenants[i], c.ids[i], c.endpoints[i] = e.Tenant, e.ID, e.Endpoint
		c.providers[i], c.types[i], c.providerIDs[i] = e.Provider, e.Type, e.ProviderID
		c.receivedAt[i], c.verified[i], c.causes[i], c.secrets[i] = e.ReceivedAt, e.Verified, e.Cause, optional(e.Secret)
		c.headers[i], c.sealed[i] = EncodeHeader(e.Header), e.Sealed
		c.bodies[i], c.sealedBodies[i] = bytesOf(e.Body), e.SealedBody
		c.hashes[i], c.keeps[i] = dedupOf(e)
	}
	return c
}

func dedupOf(e *hub.Event) (hash []byte, keep *time.Duration) {
	if e.Dedup.Keep == 0 {
		return nil, nil
	}
	return e.Dedup.Hash[:], &e.Dedup.Keep
}

// bytesOf makes nil an empty value, which Postgres tells from NULL.
func bytesOf(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// EncodeHeader writes headers in wire form, a line each, names sorted and values as they came: jsonb could hold
// neither every byte nor repeated names.
func EncodeHeader(h http.Header) []byte {
	names := make([]string, 0, len(h))
	size := 0
	for name, values := range h {
		names = append(names, name)
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	slices.Sort(names)
	var out bytes.Buffer
	out.Grow(size)
	for _, name := range names {
		for _, value := range h[name] {
			out.WriteString(name)
			out.WriteString(": ")
			out.WriteString(value)
			out.WriteString("\r\n")
		}
	}
	return bytesOf(out.Bytes())
}

// DecodeHeader reads what EncodeHeader wrote.
func DecodeHeader(wire []byte) http.Header {
	h := http.Header{}
	for line := range bytes.SplitSeq(wire, []byte("\r\n")) {
		if name, value, ok := bytes.Cut(line, []byte(": ")); ok {
			h[string(name)] = append(h[string(name)], string(value))
		}
	}
	return h
}
