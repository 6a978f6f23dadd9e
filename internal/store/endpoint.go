package store

import (
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A SealedEndpoint is an endpoint whose token is as it is stored: looked up by its hash, and sealed so that its
// URL can be shown again.
type SealedEndpoint struct {
	hub.Endpoint
	TokenHash   [32]byte
	TokenSealed []byte
}

const endpointColumns = `id, name, provider, state, mode, config, token_hash, token_sealed, metadata, created_at, updated_at`

func scanEndpoint(row pgx.CollectableRow) (SealedEndpoint, error) {
	var e SealedEndpoint
	var hash []byte
	err := row.Scan(&e.ID, &e.Name, &e.Provider, &e.State, &e.Mode, &e.Config, &hash, &e.TokenSealed, &e.Metadata, &e.CreatedAt, &e.UpdatedAt)
	copy(e.TokenHash[:], hash)
	return e, err
}

// A SealedSecret is a signing secret with its value sealed.
type SealedSecret struct {
	hub.Secret
	Sealed []byte
}

const secretColumns = `id, endpoint_id, state, expires_at, last_used_at, matches, created_at, updated_at, sealed`

func scanSecret(row pgx.CollectableRow) (SealedSecret, error) {
	var s SealedSecret
	err := row.Scan(&s.ID, &s.Endpoint, &s.State, &s.ExpiresAt, &s.LastUsedAt, &s.Matches, &s.CreatedAt, &s.UpdatedAt, &s.Sealed)
	return s, err
}
