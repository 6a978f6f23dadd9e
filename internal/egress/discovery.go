package egress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// CheckIssuer says whether a URL can be an issuer's: absolute, https (or, under Dev, http), without user, query and
// fragment (OpenID Connect Discovery 1.0, 3). Its error is hub.Invalid.
func (c *Client) CheckIssuer(issuer string) error {
	u, err := c.parseURL(issuer)
	if err != nil || u.RawQuery != "" || u.ForceQuery {
		return hub.Errorf(hub.Invalid, "an issuer is an absolute https URL without user, query and fragment")
	}
	return nil
}

// load fetches a source's keys: the discovery document first, where the row names no key set itself. Its first
// request is paid for by the caller.
func (k *Keys) load(ctx context.Context, src source, spare bool) (publicKeys, error) {
	began := time.Now()
	keys, err := k.fetchKeys(ctx, src, spare)
	k.metrics.fetched(began, err)
	if err != nil {
		k.logger.DebugContext(ctx, "key set not fetched", "issuer", src.issuer, "error", err)
		return nil, err
	}
	return keys, nil
}

func (k *Keys) fetchKeys(ctx context.Context, src source, spare bool) (publicKeys, error) {
	jwksURI := src.jwksURI
	if jwksURI == "" {
		discovered, err := k.discover(ctx, src)
		if err != nil {
			return nil, fmt.Errorf("discovery document: %w", err)
		}
		if !k.afford(discovered, spare) {
			return nil, errors.New("too many requests to the key set's host")
		}
		jwksURI = discovered
	}
	document, err := k.client.Get(ctx, jwksURI, src.internal)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	return parseJWKS(document)
}

// discover reads the issuer's own document and gives its jwks_uri. A document that names another issuer is
// nobody's: its keys would be another's.
func (k *Keys) discover(ctx context.Context, src source) (jwksURI string, err error) {
	if err := k.client.CheckIssuer(src.issuer); err != nil {
		return "", err
	}
	document, err := k.client.Get(ctx, src.first(), src.internal)
	if err != nil {
		return "", err
	}
	var discovered struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(document, &discovered); err != nil {
		return "", errors.New("not JSON")
	}
	if discovered.Issuer != src.issuer {
		return "", errors.New("names another issuer")
	}
	return discovered.JWKSURI, nil
}
