// Package e2e tests the real binary from outside: processes, sockets, a real Postgres, foreign parsers. It imports
// no store and no role; what it knows of the hub is the contract.
package e2e

import (
	"os"
	"os/exec"
	"testing"
)

// Needs skips the test with one sentence where a program is missing, and fails it where CI is set: there a skipped
// test proves nothing.
func Needs(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed, and in CI nothing is skipped", program)
	}
	t.Skipf("%s is not installed", program)
}
