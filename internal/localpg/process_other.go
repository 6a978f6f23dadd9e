//go:build unix && !linux

package localpg

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// childAttributes: no signal at this process's death here, so the next start on the folder stops what was left.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// lend returns the path by which cmd reaches dir; an error where a folder above it is closed to the account.
func (a *account) lend(_ *exec.Cmd, dir string) (string, error) {
	if closed := a.blocked(dir); closed != "" {
		return "", a.closedError(dir, closed)
	}
	return dir, nil
}

// isPostmasterOf tells whether the process is a postgres that was started on dataDir.
func isPostmasterOf(pid int, dataDir string) bool {
	said, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return false
	}
	program, args, _ := strings.Cut(strings.TrimSpace(string(said)), " -D ")
	return filepath.Base(program) == "postgres" && strings.HasPrefix(args+" ", dataDir+" ")
}
