package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Question names a request that carried an Idempotency-Key.
type Question struct {
	Caller  hub.KeyID // the key that asked
	Hash    [32]byte  // of method, path and Idempotency-Key
	Request [32]byte  // of the body
}

// An Answer is what such a request was answered.
type Answer struct {
	Status      int
	Header      map[string]string
	Body        []byte     // sealed where SecretUntil is set; nil once a secret in it is forgotten
	SecretUntil *time.Time // it holds a secret, and is given until then
}

// Claim asks for the answer to a question, and where there is none yet makes it the caller's to find one, until the
// claim's time is over: then the process that had it is taken for dead. It answers nil where the caller has the
// claim. hub.IdempotencyReused where the same key came with another body, hub.IdempotencyInFlight while somebody
// else has the claim.
func (p *Pipeline) Claim(ctx context.Context, q Question, claim, keep time.Duration) (*Answer, error) {
	tag, err := p.pool.Exec(ctx, `
		INSERT INTO tributary.idempotency AS i (caller, hash, request, claimed_until, expires_at)
		VALUES ($1, $2, $3, now() + $4::interval, now() + $5::interval)
		ON CONFLICT (caller, hash) DO UPDATE
		   SET request = EXCLUDED.request, claimed_until = EXCLUDED.claimed_until, expires_at = EXCLUDED.expires_at,
		       status = NULL, header = NULL, answer = NULL, sealed = false, secret_until = NULL
		 WHERE i.expires_at < now() OR i.status IS NULL AND i.claimed_until < now() AND i.request = EXCLUDED.request`,
		q.Caller, q.Hash[:], q.Request[:], claim, keep)
	if err != nil {
		return nil, fmt.Errorf("claim answer: %w", failure(err))
	}
	if tag.RowsAffected() == 1 {
		return nil, nil
	}
	return p.answer(ctx, q)
}

func (p *Pipeline) answer(ctx context.Context, q Question) (*Answer, error) {
	var a Answer
	var status *int
	var same bool
	err := p.pool.QueryRow(ctx, `
		SELECT request = $3, status, header, answer, secret_until FROM tributary.idempotency WHERE caller = $1 AND hash = $2`,
		q.Caller, q.Hash[:], q.Request[:]).Scan(&same, &status, &a.Header, &a.Body, &a.SecretUntil)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // released between the two statements
		return nil, hub.Errorf(hub.IdempotencyInFlight, "the first request with this Idempotency-Key is not done")
	case err != nil:
		return nil, fmt.Errorf("read answer: %w", failure(err))
	case !same:
		return nil, hub.Errorf(hub.IdempotencyReused, "this Idempotency-Key was used with another body")
	case status == nil:
		return nil, hub.Errorf(hub.IdempotencyInFlight, "the first request with this Idempotency-Key is not done")
	}
	a.Status = *status
	return &a, nil
}

// SaveAnswer keeps the answer of a claimed question.
func (p *Pipeline) SaveAnswer(ctx context.Context, q Question, a Answer) error {
	_, err := p.pool.Exec(ctx, `
		UPDATE tributary.idempotency SET status = $4, header = $5, answer = $6, sealed = $7::timestamptz IS NOT NULL, secret_until = $7
		 WHERE caller = $1 AND hash = $2 AND request = $3 AND status IS NULL`,
		q.Caller, q.Hash[:], q.Request[:], a.Status, pairs(a.Header), bytesOf(a.Body), a.SecretUntil)
	if err != nil {
		return fmt.Errorf("save answer: %w", failure(err))
	}
	return nil
}

// ReleaseClaim forgets a question that nothing was done about, so that it can be asked again at once.
func (p *Pipeline) ReleaseClaim(ctx context.Context, q Question) error {
	_, err := p.pool.Exec(ctx, `
		DELETE FROM tributary.idempotency WHERE caller = $1 AND hash = $2 AND request = $3 AND status IS NULL`,
		q.Caller, q.Hash[:], q.Request[:])
	if err != nil {
		return fmt.Errorf("release claim: %w", failure(err))
	}
	return nil
}
