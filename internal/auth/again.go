package auth

import (
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
)

// Again judges a token that was verified before by the rows as they are now, for whoever holds a stream open: its row
// may be gone, or want another audience. The token's own time is not asked: Expires has it. The error is
// hub.Unauthenticated.
func (c Claims) Again(issuers []*directory.Issuer) (Claims, error) {
	for _, row := range issuers {
		if row.ID != c.Issuer.ID {
			continue
		}
		if iss, _ := c.Values["iss"].(string); iss != row.Issuer.Issuer {
			return Claims{}, refused("the issuer's address is another now")
		}
		if err := checkRow(c.Values, row.Issuer); err != nil {
			return Claims{}, err
		}
		c.Issuer = *row
		return c, nil
	}
	return Claims{}, hub.Errorf(hub.Unauthenticated, "the tenant no longer trusts the token's issuer")
}
