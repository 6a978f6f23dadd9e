package keyset

import (
	"bytes"
	"context"
	"fmt"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

// known is what every proof holds.
var known = []byte("tributary")

// Of says what others may know of a keeper's keyset.
func Of(k *secret.Keeper) (store.Keyset, error) {
	proof, err := k.Seal(secret.Check, known)
	if err != nil {
		return store.Keyset{}, fmt.Errorf("prove the keyset: %w", err)
	}
	return store.Keyset{Keys: k.Keys(), Primary: k.Primary(), Proof: proof}, nil
}

// Check says why a process must not use the database with that keyset: it cannot open what is there, or the nodes
// that run cannot open what it would seal. It is cheap, and writes nothing: store.Pipeline.Join does, and decides
// for those who start at once.
func Check(ctx context.Context, p *store.Pipeline, k *secret.Keeper) error {
	state, err := p.KeysetState(ctx)
	if err != nil {
		return err
	}
	return check(state, k)
}

func check(state store.KeysetState, k *secret.Keeper) error {
	if err := state.Refuses(store.Keyset{Keys: k.Keys(), Primary: k.Primary()}, ""); err != nil {
		return err
	}
	for _, key := range state.Keys {
		if key.Retired {
			continue
		}
		if opened, err := k.Open(secret.Check, key.Proof); err != nil || !bytes.Equal(opened, known) {
			return hub.Errorf(hub.Conflict, "the keyset cannot open what the database holds: its key %d is another one than the database's of that id", key.ID)
		}
	}
	if s := state.Sample; s != nil {
		if _, err := k.Open(secret.EndpointToken, s.Sealed, s.Tenant[:], s.Endpoint[:]); err != nil {
			return hub.Errorf(hub.Conflict, "the keyset cannot open what the database holds: use the one that it was filled with%s", sealedBy(k, s.Sealed))
		}
	}
	return nil
}

// sealedBy names the key that a value needs, where it has the form of one.
func sealedBy(k *secret.Keeper, sealed []byte) string {
	id, ok := k.KeyID(sealed)
	if !ok {
		return ""
	}
	return fmt.Sprintf(", which has key %d", id)
}
