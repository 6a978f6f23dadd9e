package auth

import (
	"context"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/egress"
	"github.com/tributary-hub/tributary/internal/hub"
)

// Claims are what a verified token says.
type Claims struct {
	Issuer    directory.Issuer // the row by which it was judged
	Subject   hub.Subject
	IssuedAt  time.Time      // zero where it does not say
	ExpiresAt time.Time      // its own exp; how long it is good for here, Identity says
	Values    map[string]any // all of its claims; numbers are json.Number
}

// VerifierOptions of a Verifier.
type VerifierOptions struct {
	// Keys has the issuers' public keys. Required.
	Keys *egress.Keys
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Verifier verifies tokens of tenants' issuers.
type Verifier struct {
	keys *egress.Keys
	now  func() time.Time
}

// NewVerifier makes a Verifier.
func NewVerifier(o VerifierOptions) *Verifier {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Verifier{keys: o.Keys, now: o.Now}
}

// Verify judges a token by the rows of one tenant's issuers. A row is chosen by the token's iss among these alone;
// where several have it, such as one for each audience, the first that fits counts.
//
// Errors: hub.Unauthenticated with a sentence that names the rule which the token breaks, and never what it says;
// hub.KeyUnavailable where its issuer's key cannot be had. Which rule is told to those alone who hold a token that one
// of the issuers signed: by guesses a stranger would learn whom the tenant trusts, for whom and on what condition.
func (v *Verifier) Verify(ctx context.Context, raw string, issuers []*directory.Issuer) (Claims, error) {
	t, err := parseToken(raw)
	if err != nil {
		return Claims{}, err
	}
	claims, err := v.judge(ctx, t, issuers)
	if hub.CodeOf(err) != hub.Unauthenticated {
		return claims, err
	}
	if stranger := v.checkSigned(ctx, t, issuers); stranger != nil {
		return Claims{}, stranger
	}
	return Claims{}, err
}

// Explain is Verify for those who may read the issuers: it always names the rule.
func (v *Verifier) Explain(ctx context.Context, raw string, issuers []*directory.Issuer) (Claims, error) {
	t, err := parseToken(raw)
	if err != nil {
		return Claims{}, err
	}
	return v.judge(ctx, t, issuers)
}

func (v *Verifier) judge(ctx context.Context, t *token, issuers []*directory.Issuer) (Claims, error) {
	rows := rowsOf(t.claims, issuers)
	if len(rows) == 0 {
		return Claims{}, refused("the token's iss is none of the tenant's issuers")
	}
	// Everything that costs nothing is asked before the key is, which may cost a fetch.
	if err := checkUse(t.claims); err != nil {
		return Claims{}, err
	}
	at, err := checkTimes(t.claims, v.now())
	if err != nil {
		return Claims{}, err
	}
	sub, err := subject(t.claims)
	if err != nil {
		return Claims{}, err
	}
	row, err := v.chooseRow(ctx, t, rows)
	if err != nil {
		return Claims{}, err
	}
	return Claims{
		Issuer:    *row,
		Subject:   hub.Subject{Issuer: row.ID, Sub: sub},
		IssuedAt:  at.issued,
		ExpiresAt: at.expires,
		Values:    t.claims,
	}, nil
}

// checkSigned says why the token's holder is not told which rule it breaks: no row of its iss has a key that verifies
// it. Where one of their keys cannot be had, that is the answer, as for a token that breaks no rule: else whoever
// names a key that does not exist would learn from the answer that everything else was guessed right.
func (v *Verifier) checkSigned(ctx context.Context, t *token, issuers []*directory.Issuer) error {
	unsigned := refused("the token is not signed by an issuer that the tenant trusts; issuers/check of the admin API tells the tenant more")
	for _, row := range rowsOf(t.claims, issuers) {
		_, err := v.key(t, row.Issuer).VerifySignature(ctx, t.raw)
		if err == nil {
			return nil
		}
		if hub.CodeOf(err) == hub.KeyUnavailable {
			unsigned = err
		}
	}
	return unsigned
}

func (v *Verifier) key(t *token, row hub.Issuer) *issuerKey {
	return &issuerKey{token: t, set: v.keys.KeySet(row.Issuer, row.JWKSURI, row.Internal)}
}

func rowsOf(claims map[string]any, issuers []*directory.Issuer) []*directory.Issuer {
	iss, _ := claims["iss"].(string)
	var rows []*directory.Issuer
	for _, row := range issuers {
		if iss != "" && row.Issuer.Issuer == iss {
			rows = append(rows, row)
		}
	}
	return rows
}

// chooseRow gives the first row that the token fits and whose keys verify it. Where none does, the reason is the
// first row's, unless another row's key could not be had: then nobody knows yet.
func (v *Verifier) chooseRow(ctx context.Context, t *token, rows []*directory.Issuer) (*directory.Issuer, error) {
	var reason error
	for _, row := range rows {
		err := checkRow(t.claims, row.Issuer)
		if err == nil {
			err = v.checkSignature(ctx, t, row.Issuer)
		}
		if err == nil {
			return row, nil
		}
		if reason == nil || hub.CodeOf(reason) == hub.Unauthenticated && hub.CodeOf(err) != hub.Unauthenticated {
			reason = err
		}
	}
	return nil, reason
}

// checkSignature leaves the verdict to go-oidc, which looks at iss, exp and nbf once more.
func (v *Verifier) checkSignature(ctx context.Context, t *token, row hub.Issuer) error {
	key := v.key(t, row)
	verifier := oidc.NewVerifier(row.Issuer, key, &oidc.Config{
		SkipClientIDCheck:    true, // the row's audiences are checked above, several of them
		SupportedSigningAlgs: egress.Algorithms(),
		Now:                  v.now,
	})
	_, err := verifier.Verify(ctx, t.raw)
	if key.err != nil { // go-oidc keeps the text of it alone
		return key.err
	}
	if err != nil {
		return refused("the token does not verify")
	}
	return nil
}

// issuerKey is the oidc.KeySet for one token: the one key that its header names, out of its issuer's.
type issuerKey struct {
	token *token
	set   *egress.KeySet
	err   error // why there is no payload
}

// VerifySignature gives the payload of the token that it was made for.
func (k *issuerKey) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	if raw != k.token.raw {
		k.err = hub.Errorf(hub.Internal, "another token than the one that was read")
		return nil, k.err
	}
	key, err := k.set.Key(ctx, k.token.keyID, k.token.alg)
	if err != nil {
		k.err = err
		return nil, err
	}
	payload, err := k.token.jws.Verify(key)
	if err != nil {
		k.err = refused("the token's signature is not its issuer's")
		return nil, k.err
	}
	return payload, nil
}
