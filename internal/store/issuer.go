package store

import (
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

const issuerColumns = `id, name, issuer, audiences, authorized_parties, required_claims, grants, session_seconds,
	shares_channels, jwks_uri, internal, metadata, created_at, updated_at`

// A grantRow is hub.Grant as issuers.grants keeps it.
type grantRow struct {
	Pattern string `json:"pattern"`
	When    string `json:"when,omitempty"`
}

func scanIssuer(row pgx.CollectableRow) (hub.Issuer, error) {
	var i hub.Issuer
	var grants []grantRow
	err := row.Scan(&i.ID, &i.Name, &i.Issuer, &i.Audiences, &i.AuthorizedParties, &i.RequiredClaims, &grants, &i.SessionSeconds,
		&i.SharesChannels, &i.JWKSURI, &i.Internal, &i.Metadata, &i.CreatedAt, &i.UpdatedAt)
	for _, g := range grants {
		i.Grants = append(i.Grants, hub.Grant(g))
	}
	return i, err
}
