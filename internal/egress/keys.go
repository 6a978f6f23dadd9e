package egress

import (
	"context"
	"crypto"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/hub"
)

// How long what an issuer published is believed.
const (
	refreshEvery = 30 * time.Second // at most: for whatever reason, and however many ask
	refreshAfter = 5 * time.Minute  // a set in use is fetched again behind its users' backs
	dropAfter    = 15 * time.Minute // older keys wait for a fetch, for the issuer may have withdrawn them
	staleFor     = time.Hour        // but are used while the issuer is down, this long
	loadTimeout  = 10 * time.Second // discovery document and key set together
)

// KeysOptions are the options of Keys.
type KeysOptions struct {
	// Client makes the requests. Required.
	Client *Client
	// MaxSets bounds the key sets held; the one that was asked for least recently goes first. Default 2048.
	MaxSets int
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Logger gets, at debug level, why a set could not be fetched; default none.
	Logger *slog.Logger
	// Registerer takes the metrics; default none.
	Registerer prometheus.Registerer
}

// Keys caches others' public keys. A fetch serves everybody who waits for it, goes on when they leave, and is ended
// by Stop.
type Keys struct {
	client  *Client
	maxSets int
	now     func() time.Time
	logger  *slog.Logger
	metrics metrics
	running sync.WaitGroup // the fetches

	mu      sync.Mutex // guards what follows and what it points to
	sets    map[source]*entry
	hosts   hosts
	stopped bool
}

// A source says where a key set comes from. Sets of different sources are never shared, not even where their
// documents name the same jwks_uri: whoever writes one document would have a say in another's keys.
type source struct {
	issuer   string
	jwksURI  string // instead of discovery; "" for most
	internal bool
}

// first is the URL that is asked first.
func (s source) first() string {
	if s.jwksURI != "" {
		return s.jwksURI
	}
	return strings.TrimSuffix(s.issuer, "/") + "/.well-known/openid-configuration"
}

// NewKeys makes a cache that holds nothing and runs nothing yet.
func NewKeys(o KeysOptions) *Keys {
	if o.MaxSets == 0 {
		o.MaxSets = 2048
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keys{
		client:  o.Client,
		maxSets: o.MaxSets,
		now:     o.Now,
		logger:  o.Logger,
		sets:    map[source]*entry{},
		hosts:   hosts{},
	}
	k.metrics = newMetrics(o.Registerer, k.held)
	return k
}

// held is how many sets there are: a gauge.
func (k *Keys) held() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.sets)
}

// Stop ends the fetches that run and waits for them until ctx is done. Afterwards keys that are held still serve,
// and whatever needs a fetch is hub.KeyUnavailable.
func (k *Keys) Stop(ctx context.Context) error {
	k.mu.Lock()
	k.stopped = true
	for _, e := range k.sets {
		if e.running != nil {
			e.running.cancel()
		}
	}
	k.mu.Unlock()
	ended := make(chan struct{})
	go func() { // ends with the last fetch, which were all just cancelled
		k.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// KeySet is the keys of one issuer, by its own discovery document, or by jwksURI where an operator's row sets one.
// Internal says that an operator made or marked the row: then exempt addresses may be asked. Making a KeySet costs
// nothing and holds nothing.
func (k *Keys) KeySet(issuer, jwksURI string, internal bool) *KeySet {
	return &KeySet{keys: k, source: source{issuer, jwksURI, internal}}
}

// A KeySet finds public keys of one issuer.
type KeySet struct {
	keys   *Keys
	source source
}

// Key gives the key by which a token with this key id and algorithm (both as the token claims them, unverified)
// must verify. A token that names no key gets the only one that its algorithm fits.
//
// Errors: hub.Unauthenticated where the issuer is known not to have that key, which takes a fetch that began after
// the id was first seen; hub.KeyUnavailable where that is not known, or the issuer cannot be reached.
func (s *KeySet) Key(ctx context.Context, id, alg string) (crypto.PublicKey, error) {
	if !slices.Contains(Algorithms(), alg) {
		return nil, hub.Errorf(hub.Unauthenticated, "the token is not signed with an asymmetric algorithm that we take")
	}
	if len(id) > maxKeyID {
		return nil, hub.Errorf(hub.Unauthenticated, "the token's key id is too long")
	}
	for range 2 { // once more after the fetch that the first look waited for
		key, fetch, err := s.keys.look(ctx, s.source, id, alg)
		if fetch == nil {
			return key, err
		}
		select {
		case <-fetch.done:
		case <-ctx.Done():
			return nil, errUnavailable()
		}
	}
	return nil, errUnavailable()
}

func errUnavailable() error {
	return hub.Errorf(hub.KeyUnavailable, "the issuer's keys cannot be fetched at the moment")
}

// look finds the key in what is held, or gives the fetch to wait for before looking again. Where there is neither,
// the error stands.
func (k *Keys) look(ctx context.Context, src source, id, alg string) (crypto.PublicKey, *fetch, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	e := k.entryLocked(src, now)
	if e == nil {
		return nil, nil, errUnavailable()
	}
	age := now.Sub(e.loadedAt)
	if age >= staleFor {
		e.keys = nil
	}
	switch {
	case e.keys == nil:
		e.unknown.see(id, e.started, now)
		return nil, k.refreshLocked(ctx, e, now, false), errUnavailable()
	case age >= dropAfter && !e.down(now):
		e.unknown.see(id, e.started, now)
		if f := k.refreshLocked(ctx, e, now, false); f != nil {
			return nil, f, nil
		}
	case age >= refreshAfter:
		k.refreshLocked(ctx, e, now, false)
	}
	key, known := e.keys.find(id, alg)
	switch {
	case key != nil:
		return key, nil, nil
	case known && id == "":
		return nil, nil, hub.Errorf(hub.Unauthenticated, "the token does not say which of the issuer's keys signed it")
	case known:
		return nil, nil, hub.Errorf(hub.Unauthenticated, "the token's algorithm is not that of its key")
	case e.loaded > e.unknown.see(id, e.started, now):
		return nil, nil, hub.Errorf(hub.Unauthenticated, "the issuer has no such key as the token names")
	}
	return nil, k.refreshLocked(ctx, e, now, true), errUnavailable()
}

// Check fetches an issuer's keys now, for whoever saves the issuer: hub.Invalid where its address cannot be an
// issuer's, hub.IssuerUnreachable where it gives no discovery document that names it and no key that could verify.
func (k *Keys) Check(ctx context.Context, issuer, jwksURI string, internal bool) error {
	if err := k.client.CheckIssuer(issuer); err != nil {
		return err
	}
	if _, err := k.client.parseURL(jwksURI); err != nil && jwksURI != "" {
		return hub.Errorf(hub.Invalid, "the key set's address is not an absolute https URL without user and fragment")
	}
	src := source{issuer, jwksURI, internal}
	if !k.afford(src.first(), true) {
		return errUnreachable()
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	keys, err := k.load(ctx, src, true)
	if err != nil || len(keys) == 0 {
		return errUnreachable()
	}
	return nil
}

func errUnreachable() error {
	return hub.Errorf(hub.IssuerUnreachable, "the issuer's discovery document or its keys cannot be fetched, or are not what they should be")
}
