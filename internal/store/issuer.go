package store

import (
	"context"
	"fmt"

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

func grantRows(grants []hub.Grant) []grantRow {
	rows := make([]grantRow, len(grants))
	for i, g := range grants {
		rows[i] = grantRow(g)
	}
	return rows
}

// Issuers lists the tenant's issuers in the order they were made, those after an id.
func (tx *Tx) Issuers(ctx context.Context, after hub.IssuerID, limit int) ([]hub.Issuer, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+issuerColumns+` FROM tributary.issuers
		 WHERE tenant_id = tributary.current_tenant() AND id > $1 ORDER BY id LIMIT $2`, after, limit)
	issuers, err := pgx.CollectRows(rows, scanIssuer)
	if err != nil {
		return nil, fmt.Errorf("list issuers: %w", failure(err))
	}
	return issuers, nil
}

// AllIssuers lists every issuer of the tenant: a new one's grants are compared with all of them.
func (tx *Tx) AllIssuers(ctx context.Context) ([]hub.Issuer, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+issuerColumns+` FROM tributary.issuers WHERE tenant_id = tributary.current_tenant() ORDER BY id`)
	issuers, err := pgx.CollectRows(rows, scanIssuer)
	if err != nil {
		return nil, fmt.Errorf("list issuers: %w", failure(err))
	}
	return issuers, nil
}

// Issuer is the tenant's issuer of that id or name; hub.NotFound where there is none.
func (tx *Tx) Issuer(ctx context.Context, ref Ref[hub.IssuerID]) (hub.Issuer, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+issuerColumns+` FROM tributary.issuers
		 WHERE tenant_id = tributary.current_tenant() AND (id = $1 OR name = $2)`, ref.ID, ref.Name)
	i, err := pgx.CollectExactlyOneRow(rows, scanIssuer)
	return i, absent(err, "no such issuer")
}

// LockIssuer is Issuer, and makes other changes of the issuer wait.
func (c *Change) LockIssuer(ctx context.Context, ref Ref[hub.IssuerID]) (hub.Issuer, error) {
	rows, _ := c.tx.Query(ctx, `
		SELECT `+issuerColumns+` FROM tributary.issuers
		 WHERE tenant_id = tributary.current_tenant() AND (id = $1 OR name = $2) FOR UPDATE`, ref.ID, ref.Name)
	i, err := pgx.CollectExactlyOneRow(rows, scanIssuer)
	return i, absent(err, "no such issuer")
}

// CreateIssuer makes an issuer; hub.Conflict where its name is taken.
func (c *Change) CreateIssuer(ctx context.Context, i hub.Issuer) (hub.Issuer, error) {
	rows, _ := c.tx.Query(ctx, `
		INSERT INTO tributary.issuers (tenant_id, id, name, issuer, audiences, authorized_parties, required_claims, grants,
			session_seconds, shares_channels, jwks_uri, internal, metadata)
		VALUES (tributary.current_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		RETURNING `+issuerColumns,
		i.ID, i.Name, i.Issuer, texts(i.Audiences), texts(i.AuthorizedParties), pairs(i.RequiredClaims), grantRows(i.Grants),
		i.SessionSeconds, i.SharesChannels, i.JWKSURI, i.Internal, pairs(i.Metadata))
	created, err := pgx.CollectExactlyOneRow(rows, scanIssuer)
	if err != nil {
		return hub.Issuer{}, fmt.Errorf("create issuer: %w", taken(err, "issuers_tenant_id_name_key", "issuer"))
	}
	return created, nil
}

// UpdateIssuer writes everything of the issuer but its id and times; hub.Conflict where its new name is taken.
func (c *Change) UpdateIssuer(ctx context.Context, i hub.Issuer) (hub.Issuer, error) {
	rows, _ := c.tx.Query(ctx, `
		UPDATE tributary.issuers
		   SET name = $2, issuer = $3, audiences = $4, authorized_parties = $5, required_claims = $6, grants = $7,
		       session_seconds = $8, shares_channels = $9, jwks_uri = $10, internal = $11, metadata = $12, updated_at = now()
		 WHERE tenant_id = tributary.current_tenant() AND id = $1
		RETURNING `+issuerColumns,
		i.ID, i.Name, i.Issuer, texts(i.Audiences), texts(i.AuthorizedParties), pairs(i.RequiredClaims), grantRows(i.Grants),
		i.SessionSeconds, i.SharesChannels, i.JWKSURI, i.Internal, pairs(i.Metadata))
	updated, err := pgx.CollectExactlyOneRow(rows, scanIssuer)
	if err != nil {
		return hub.Issuer{}, fmt.Errorf("update issuer: %w", taken(err, "issuers_tenant_id_name_key", "issuer"))
	}
	return updated, nil
}

// DeleteIssuer removes an issuer.
func (c *Change) DeleteIssuer(ctx context.Context, id hub.IssuerID) error {
	tag, err := c.tx.Exec(ctx, `
		DELETE FROM tributary.issuers WHERE tenant_id = tributary.current_tenant() AND id = $1`, id)
	if err != nil {
		return fmt.Errorf("delete issuer: %w", failure(err))
	}
	if tag.RowsAffected() == 0 {
		return hub.Errorf(hub.NotFound, "issuer %s", id)
	}
	return nil
}
