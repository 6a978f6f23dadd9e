package localpg

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// account is the user that Postgres's programs run as. A nil account is this process's own: initdb and postgres
// refuse to run as root, so only root needs another.
type account struct {
	name     string
	uid, gid uint32
}

// ownerOf returns the account for a cluster: nil unless this process is root. A cluster that exists stays with its
// owner; a new one goes to postgres, or to nobody where there is no such user.
func ownerOf(dataDir string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if info, err := os.Stat(dataDir); err == nil {
		if uid, gid := idsOf(info); uid != 0 {
			return &account{name: "#" + strconv.FormatUint(uint64(uid), 10), uid: uid, gid: gid}, nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if errUID == nil && errGID == nil && uid != 0 {
			return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("postgres refuses to run as root, and this system has neither a user postgres nor a user nobody: add one, or run as another user")
}

// command prepares a program of Postgres: as the account with no further group, in a process group of its own so that
// a Ctrl-C in the terminal does not reach it, and without the environment of this process, which may hold secrets
// and PG… variables that bend what we say.
func (a *account) command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...) //nolint:noctx // who starts it also ends it, in Postgres's own way
	cmd.Dir = "/"                      // the current folder may be closed to the account
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = []string{"LC_ALL=C"} // messages that we can read
	for _, name := range []string{"PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.SysProcAttr = childAttributes()
	if a != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid} // no Groups: supplementary ones are cleared
	}
	return cmd
}

// own makes a folder with nothing but the account's access, or takes an existing one over.
func (a *account) own(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if a == nil {
		return nil
	}
	return os.Lchown(dir, int(a.uid), int(a.gid))
}

// blocked returns the first folder on the way into dir that the account may not pass; "" if there is none.
// Access lists beyond the mode bits are not seen.
func (a *account) blocked(dir string) string {
	if a == nil {
		return ""
	}
	if parent := filepath.Dir(dir); parent != dir {
		if closed := a.blocked(parent); closed != "" {
			return closed
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return dir
	}
	search := os.FileMode(0o001)
	switch uid, gid := idsOf(info); {
	case uid == a.uid:
		search = 0o100
	case gid == a.gid:
		search = 0o010
	}
	if info.Mode()&search == 0 {
		return dir
	}
	return ""
}

// idsOf returns a file's owner and group.
func idsOf(info os.FileInfo) (uid, gid uint32) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Uid, st.Gid
	}
	return math.MaxUint32, math.MaxUint32 // nobody's; on a Unix it is always known
}

// closedError says what to do about a folder that the account cannot pass.
func (a *account) closedError(dir, closed string) error {
	return fmt.Errorf("%s is closed to user %s, whom Postgres runs as (chmod o+x %s would let it pass)", dir, a.name, closed)
}

// version asks a postgres binary for its version.
func (a *account) version(ctx context.Context, postgres string) (version, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	said, err := runToEnd(ctx, a.command(postgres, "--version"))
	if err != nil {
		return version{}, err
	}
	return parseVersion(said)
}
