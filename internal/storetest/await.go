package storetest

import (
	"testing"
	"time"
)

// awaited is generous: what is waited for takes milliseconds, on a busy machine seconds.
const awaited = time.Minute

// Await asks until the answer is yes, for what other goroutines bring about. The test ends where they do not.
func Await(t testing.TB, what string, done func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	timeout := time.After(awaited)
	for !done() {
		select {
		case <-look.C:
		case <-timeout:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// AwaitTrue asks the database, as its owner, until the query's one value is true.
func (db *DB) AwaitTrue(t testing.TB, query string) {
	t.Helper()
	Await(t, query, func() bool { return Value[bool](t, db, query) })
}
