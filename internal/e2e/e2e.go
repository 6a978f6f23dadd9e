// Package e2e tests the real binary from outside: processes, sockets, a real Postgres, foreign parsers. It imports
// no store and no role; what it knows of the hub is the contract.
package e2e

import (
	"os"
	"os/exec"
	"testing"
)

// Needs skips the test where a program is missing.
func Needs(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		Lacks(t, program+" is not installed")
	}
}

// Lacks skips the test with that sentence, and fails it where CI is set: there a skipped test proves nothing.
func Lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s, and in CI nothing is skipped", what)
	}
	t.Skip(what)
}
