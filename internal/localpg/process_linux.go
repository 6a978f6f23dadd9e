package localpg

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// childAttributes ties a child to this process: however this process ends, the kernel sends the child SIGINT, which
// makes Postgres shut down fast.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
}

// lend returns the path by which cmd reaches dir. Where a folder above it is closed to the account (root's home, a
// mktemp -d), the child gets dir as an open file and finds it through /proc: nobody's modes need to change, and
// nothing but dir is opened to it.
func (a *account) lend(cmd *exec.Cmd, dir string) (string, error) {
	if a.blocked(dir) == "" {
		return dir, nil
	}
	file, err := os.Open(dir)
	if err != nil {
		return "", err
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	return fmt.Sprintf("/proc/self/fd/%d", 2+len(cmd.ExtraFiles)), nil
}

// isPostmasterOf tells whether the process is a postgres that works in dataDir: its processes live there.
func isPostmasterOf(pid int, dataDir string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	name, err := os.ReadFile(filepath.Join(proc, "comm"))
	if err != nil || string(name) != "postgres\n" {
		return false
	}
	there, errThere := os.Stat(filepath.Join(proc, "cwd")) // follows; a zombie has none
	ours, errOurs := os.Stat(dataDir)
	return errThere == nil && errOurs == nil && os.SameFile(there, ours)
}
