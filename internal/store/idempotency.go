package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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

// Claim makes a question the change's own until its transaction ends, however it ends, and says what it was answered
// before, nil where it was not: then KeepAnswer belongs to the change. hub.IdempotencyInFlight while another
// transaction has it, hub.IdempotencyReused where the same key came with another body.
func (c *Change) Claim(ctx context.Context, q Question) (*Answer, error) {
	var claimed bool
	if err := c.tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, q.lock()).Scan(&claimed); err != nil {
		return nil, fmt.Errorf("claim answer: %w", failure(err))
	}
	if !claimed {
		return nil, hub.Errorf(hub.IdempotencyInFlight, "the first request with this Idempotency-Key is not done")
	}
	var a *Answer
	err := c.asPipeline(ctx, func() (err error) {
		a, err = answerTo(ctx, c.tx, q)
		return err
	})
	return a, err
}

// lock is the key of the question's advisory lock. Two questions that share one are in each other's way for the time
// of a transaction; with 64 bits of a hash that is never.
func (q Question) lock() int64 {
	h := sha256.New()
	h.Write(q.Caller[:])
	h.Write(q.Hash[:])
	return int64(binary.BigEndian.Uint64(h.Sum(nil)))
}

// KeepAnswer keeps the answer to a claimed question with the change: both are there, or neither.
func (c *Change) KeepAnswer(ctx context.Context, q Question, a Answer, keep time.Duration) error {
	return c.asPipeline(ctx, func() error {
		kept, err := keepAnswer(ctx, c.tx, q, a, keep)
		if err == nil && !kept {
			return hub.Errorf(hub.IdempotencyInFlight, "another request with this Idempotency-Key was quicker")
		}
		return err
	})
}

// Answer says what a question was answered, nil where it was not. hub.IdempotencyReused where the same key came with
// another body.
func (p *Pipeline) Answer(ctx context.Context, q Question) (*Answer, error) {
	return answerTo(ctx, p.pool, q)
}

// KeepAnswer keeps the answer to a question that changed nothing, or what can be done again. Where somebody was
// quicker theirs stays, and comes back.
func (p *Pipeline) KeepAnswer(ctx context.Context, q Question, a Answer, keep time.Duration) (*Answer, error) {
	kept, err := keepAnswer(ctx, p.pool, q, a, keep)
	if err != nil || kept {
		return nil, err
	}
	return p.Answer(ctx, q)
}

// querier is a pool, or a transaction.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func answerTo(ctx context.Context, db querier, q Question) (*Answer, error) {
	var a Answer
	var same bool
	err := db.QueryRow(ctx, `
		SELECT request = $3, status, header, answer, secret_until FROM tributary.idempotency
		 WHERE caller = $1 AND hash = $2 AND expires_at >= now()`,
		q.Caller, q.Hash[:], q.Request[:]).Scan(&same, &a.Status, &a.Header, &a.Body, &a.SecretUntil)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read answer: %w", failure(err))
	case !same:
		return nil, hub.Errorf(hub.IdempotencyReused, "this Idempotency-Key was used with another body")
	}
	return &a, nil
}

// keepAnswer says false where there is an answer that has not expired.
func keepAnswer(ctx context.Context, db querier, q Question, a Answer, keep time.Duration) (kept bool, err error) {
	tag, err := db.Exec(ctx, `
		INSERT INTO tributary.idempotency AS i (caller, hash, request, status, header, answer, sealed, secret_until, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7::timestamptz IS NOT NULL, $7, now() + $8::interval)
		ON CONFLICT (caller, hash) DO UPDATE
		   SET request = EXCLUDED.request, status = EXCLUDED.status, header = EXCLUDED.header, answer = EXCLUDED.answer,
		       sealed = EXCLUDED.sealed, secret_until = EXCLUDED.secret_until, expires_at = EXCLUDED.expires_at
		 WHERE i.expires_at < now()`,
		q.Caller, q.Hash[:], q.Request[:], a.Status, pairs(a.Header), bytesOf(a.Body), a.SecretUntil, keep)
	if err != nil {
		return false, fmt.Errorf("keep answer: %w", failure(err))
	}
	return tag.RowsAffected() == 1, nil
}
