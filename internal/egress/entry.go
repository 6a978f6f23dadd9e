package egress

import (
	"context"
	"crypto/sha256"
	"time"
)

// entry is one source's keys and what is known about fetching them. Keys.mu guards it.
type entry struct {
	source  source
	usedAt  time.Time
	keys    publicKeys // replaced whole by each fetch, so that what the issuer withdrew is gone; nil: none yet
	unknown unknownIDs

	running  *fetch    // nil: none
	triedAt  time.Time // when the last fetch began; zero: never
	loadedAt time.Time // when the last fetch that succeeded began
	failing  bool      // the last fetch failed
	started  int       // fetches begun
	loaded   int       // which of them, counted from 1, gave the keys; 0: none
}

// fetch is one run of load. Whoever waits looks again when done is closed.
type fetch struct {
	done   chan struct{}
	cancel context.CancelFunc
}

// down says whether the issuer could not be reached just now: then old keys are better than none.
func (e *entry) down(now time.Time) bool {
	return e.failing && now.Sub(e.triedAt) < 2*refreshEvery
}

// entryLocked gives the source's entry; nil where there is no room for a new one, since all that are held are being
// fetched.
func (k *Keys) entryLocked(src source, now time.Time) *entry {
	e, ok := k.sets[src]
	if !ok {
		if len(k.sets) >= k.maxSets && !k.evictLocked() {
			return nil
		}
		e = &entry{source: src, unknown: unknownIDs{}}
		k.sets[src] = e
	}
	e.usedAt = now
	return e
}

// evictLocked lets go of the set that was asked for least recently, but of none that is being fetched: its fetch
// would not be found by Stop.
func (k *Keys) evictLocked() (evicted bool) {
	var oldest *entry
	for _, e := range k.sets {
		if e.running == nil && (oldest == nil || e.usedAt.Before(oldest.usedAt)) {
			oldest = e
		}
	}
	if oldest == nil {
		return false
	}
	delete(k.sets, oldest.source)
	return true
}

// refreshLocked gives the fetch that runs, or begins one; nil where it is too early for another. Spare says that
// only a token's unknown key id asks for it.
func (k *Keys) refreshLocked(ctx context.Context, e *entry, now time.Time, spare bool) *fetch {
	if e.running != nil {
		return e.running
	}
	if k.stopped || !e.triedAt.IsZero() && now.Sub(e.triedAt) < refreshEvery {
		return nil
	}
	if !k.affordLocked(e.source.first(), now, spare) {
		k.metrics.refused.Inc()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
	f := &fetch{done: make(chan struct{}), cancel: cancel}
	e.running, e.triedAt = f, now
	e.started++
	k.running.Go(func() {
		defer cancel()
		keys, err := k.load(ctx, e.source, spare)
		k.settle(e, now, keys, err)
		close(f.done)
	})
	return f
}

// settle takes in what a fetch brought.
func (k *Keys) settle(e *entry, began time.Time, keys publicKeys, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e.running = nil
	e.failing = err != nil
	if err != nil {
		return
	}
	e.keys, e.loadedAt, e.loaded = keys, began, e.started
}

// unknownIDs remembers key ids that a set did not have, so that each asks for one fetch and no more. It is keyed by
// a hash, since the ids are strangers'.
type unknownIDs map[[16]byte]unknownID

type unknownID struct {
	seenAt  time.Time
	started int // fetches that had begun when it was first seen
}

// Bounds of unknownIDs. When it is full the oldest goes: that id counts as new when it comes again. Nothing is
// unknown for longer than unknownFor, so that a key which is published after its first token is found.
const (
	maxUnknown = 128
	unknownFor = 5 * time.Minute
)

// see gives how many fetches had begun when the id was first seen, which is now where it is not remembered.
func (u unknownIDs) see(id string, started int, now time.Time) int {
	sum := sha256.Sum256([]byte(id))
	key := [16]byte(sum[:16])
	if seen, ok := u[key]; ok && now.Sub(seen.seenAt) < unknownFor {
		return seen.started
	}
	delete(u, key)
	if len(u) >= maxUnknown {
		u.forgetOldest()
	}
	u[key] = unknownID{now, started}
	return started
}

func (u unknownIDs) forgetOldest() {
	var oldest [16]byte
	var at time.Time
	for key, seen := range u {
		if at.IsZero() || seen.seenAt.Before(at) {
			oldest, at = key, seen.seenAt
		}
	}
	delete(u, oldest)
}
