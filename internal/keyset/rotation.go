package keyset

import (
	"context"

	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

// begin opens a keyset for a command, and the state of the database that it is for, which it must fit.
func begin(ctx context.Context, ownerURL string, encoded secret.String) (*secret.Keeper, store.KeysetState, error) {
	keeper, err := secret.Open(encoded)
	if err != nil {
		return nil, store.KeysetState{}, err
	}
	state, err := store.OwnersKeysetState(ctx, ownerURL)
	if err != nil {
		return nil, store.KeysetState{}, err
	}
	return keeper, state, check(state, keeper)
}

// Promote makes the newest key of a keyset the one that seals. It refuses while a node that runs does not have that
// key: it could not open what the others seal.
func Promote(ctx context.Context, ownerURL string, encoded secret.String) (secret.String, error) {
	promoted, err := secret.Promote(encoded)
	if err != nil {
		return secret.String{}, err
	}
	_, state, err := begin(ctx, ownerURL, promoted)
	if err != nil {
		return secret.String{}, err
	}
	if err := state.EveryNodeSays(); err != nil {
		return secret.String{}, err
	}
	return promoted, nil
}

// Prune drops all keys of a keyset but the one that seals, and retires them in the database. It refuses while
// anything that is stored needs one of them, and while a node that runs seals with one.
func Prune(ctx context.Context, ownerURL string, encoded secret.String) (secret.String, error) {
	pruned, err := secret.Prune(encoded)
	if err != nil {
		return secret.String{}, err
	}
	keeper, _, err := begin(ctx, ownerURL, encoded)
	if err != nil {
		return secret.String{}, err
	}
	keys, err := Of(keeper)
	if err != nil {
		return secret.String{}, err
	}
	if err := store.Retire(ctx, ownerURL, keys, keeper.Prefix()); err != nil {
		return secret.String{}, err
	}
	return pruned, nil
}

// Reseal seals anew, with the keyset's primary, whatever another of its keys sealed, and tells progress. What does
// not open with any of them is counted as failed.
func Reseal(ctx context.Context, ownerURL string, encoded secret.String, progress func(store.Resealed)) error {
	keeper, _, err := begin(ctx, ownerURL, encoded)
	if err != nil {
		return err
	}
	keys, err := Of(keeper)
	if err != nil {
		return err
	}
	return store.Reseal(ctx, store.ResealOptions{
		URL: ownerURL, Keyset: keys, Prefix: keeper.Prefix(), Progress: progress,
		Seal: func(v store.SealedValue) ([]byte, error) {
			opened, err := keeper.Open(secret.Purpose(v.Purpose), v.Sealed, v.Parts...)
			if err != nil {
				return nil, err
			}
			return keeper.Seal(secret.Purpose(v.Purpose), opened, v.Parts...)
		},
	})
}
