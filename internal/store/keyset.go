package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Keyset is what the store knows of a process's keyset: ids, and no key.
type Keyset struct {
	Keys    []uint32 // of those that open
	Primary uint32   // of the one that seals, among Keys
	Proof   []byte   // what its primary makes of the value that all proofs are made of
}

// A KeysetKey is a key that nodes have sealed with.
type KeysetKey struct {
	ID      uint32
	Proof   []byte // opens with that key alone
	Retired bool   // nothing that is stored is sealed by it, and nothing may be
}

// A KeysetNode is a node that beats, with its keyset.
type KeysetNode struct {
	ID      string
	Keys    []uint32
	Primary *uint32 // nil, and no Keys: the build before this one does not say
}

// Has says whether the node opens what the key seals; not where it does not say.
func (n KeysetNode) Has(key uint32) bool { return slices.Contains(n.Keys, key) }

// A KeysetState is what a database knows of the keysets of those who use it.
type KeysetState struct {
	Keys   []KeysetKey
	Nodes  []KeysetNode
	Sample *SealedToken // where there are no Keys: any value that is sealed, nil where there is none
}

// A SealedToken is an endpoint's token as it is stored.
type SealedToken struct {
	Tenant   hub.TenantID
	Endpoint hub.EndpointID
	Sealed   []byte
}

// Refuses says why a process with the keyset must not use the database: it could not open what is there, or others
// could not open what it seals. Its own row, where self is its node's id, does not count.
func (s KeysetState) Refuses(k Keyset, self string) error {
	for _, key := range s.Keys { // this first: it says more
		if key.Retired && key.ID == k.Primary {
			return hub.Errorf(hub.Conflict, "the keyset seals with key %d, which `tributary keyset prune` has retired: use the keyset that prune printed, or one rotated from it", key.ID)
		}
	}
	for _, key := range s.Keys {
		if !key.Retired && !slices.Contains(k.Keys, key.ID) {
			return hub.Errorf(hub.Conflict, "the keyset cannot open what the database holds: it lacks key %d; use the keyset that has it, since what that key sealed is lost without it", key.ID)
		}
	}
	return s.lacking(k.Primary, self)
}

// lacking names the nodes that say what they have and do not have the key.
func (s KeysetState) lacking(key uint32, self string) error {
	var nodes []string
	for _, n := range s.Nodes {
		if n.ID != self && n.Primary != nil && !n.Has(key) {
			nodes = append(nodes, n.ID)
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	return hub.Errorf(hub.Conflict, "the keyset seals with key %d, which these running nodes do not have: %s; give them the keyset that `tributary keyset rotate` printed before one that was promoted is used", key, strings.Join(nodes, ", "))
}

// EveryNodeSays refuses where a node does not say which keys it has.
func (s KeysetState) EveryNodeSays() error {
	var nodes []string
	for _, n := range s.Nodes {
		if n.Primary == nil {
			nodes = append(nodes, n.ID)
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	return hub.Errorf(hub.Conflict, "these running nodes are of an earlier build, which does not say which keys it has: %s; upgrade them first", strings.Join(nodes, ", "))
}

// OwnersKeysetState is KeysetState for the commands of operators.
func OwnersKeysetState(ctx context.Context, ownerURL string) (s KeysetState, err error) {
	err = asOwner(ctx, ownerURL, func(conn *pgx.Conn) (err error) {
		s, err = keysetState(ctx, conn)
		return err
	})
	return s, err
}

// KeysetState reads what the database knows of keysets.
func (p *Pipeline) KeysetState(ctx context.Context) (KeysetState, error) {
	return keysetState(ctx, p.pool)
}

// rower is a pool, a connection or a transaction.
type rower interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func keysetState(ctx context.Context, db rower) (KeysetState, error) {
	var s KeysetState
	rows, _ := db.Query(ctx, `SELECT key_id, proof, retired_at IS NOT NULL FROM tributary.keyset_keys ORDER BY key_id`)
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[KeysetKey])
	if err != nil {
		return s, fmt.Errorf("read the keyset's keys: %w", failure(err))
	}
	rows, _ = db.Query(ctx, `
		SELECT id, key_ids, primary_key_id FROM tributary.nodes WHERE beat_at BETWEEN now() - $1::interval AND now() + $1::interval ORDER BY id`, NodeSilent)
	nodes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[KeysetNode])
	if err != nil {
		return s, fmt.Errorf("read the nodes' keysets: %w", failure(err))
	}
	s.Keys, s.Nodes = keys, nodes
	if len(keys) > 0 {
		return s, nil
	}
	rows, _ = db.Query(ctx, `SELECT tenant_id, id, token_sealed FROM tributary.endpoints ORDER BY tenant_id, id LIMIT 1`)
	sample, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[SealedToken])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return s, fmt.Errorf("read a sealed value: %w", failure(err))
	default:
		s.Sample = &sample
	}
	return s, nil
}

// Join writes a node's first beat and the key that it seals with, or refuses both, as KeysetState.Refuses does. Those
// who join at once do it one after the other: of two different keysets on a fresh database the second is refused.
func (p *Pipeline) Join(ctx context.Context, n Node) error {
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if err := admit(ctx, tx, n.Keyset, n.ID); err != nil {
			return err
		}
		return beat(ctx, tx, n)
	})
	if err != nil {
		return fmt.Errorf("join: %w", failure(err))
	}
	return nil
}

// keysetLock is held in a transaction while it is decided which key may seal.
const keysetLock = 7_020_413_118_530_611_208

// admit lets the keyset's primary seal, or refuses it. self is the node's id, "" where it is none.
func admit(ctx context.Context, tx pgx.Tx, k Keyset, self string) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(keysetLock)); err != nil {
		return err
	}
	state, err := keysetState(ctx, tx) // by a statement of its own: its snapshot sees what the lock waited for
	if err != nil {
		return err
	}
	if err := state.Refuses(k, self); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO tributary.keyset_keys (key_id, proof) VALUES ($1, $2) ON CONFLICT DO NOTHING`, k.Primary, k.Proof)
	return err
}
