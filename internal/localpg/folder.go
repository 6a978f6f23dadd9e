package localpg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	lockPatience = 5 * time.Second // a predecessor that is just leaving gets this
	socketName   = ".s.PGSQL." + port
	socketLimit  = 104 // sockaddr_un's path with its NUL: 104 bytes on macOS, 108 on Linux
)

// folder is a data folder that this process holds the lock of. Beside the lock it has:
//
//	data             the cluster, the owner's alone; data.init while it is being made
//	run              the socket, the owner's alone, unless the path would be too long for one
//	postgres.log     what the server says; postgres.log.1 of the start before
type folder struct {
	root   string   // absolute, symlinks resolved
	owner  *account // whom Postgres runs as
	socket string   // the folder of the socket
	lock   *os.File // held until close
}

// openFolder makes the folder if need be, and locks it: the lock dies with its holder, so whoever has it knows that
// no living process owns the Postgres there.
func openFolder(ctx context.Context, dir string) (*folder, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := makeFolder(root); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, err
	}
	lock, err := acquire(ctx, filepath.Join(root, "lock"))
	if err != nil {
		return nil, err
	}
	f := &folder{root: root, lock: lock}
	if f.owner, err = ownerOf(f.data()); err == nil {
		f.socket, err = f.makeSocketFolder()
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *folder) data() string    { return filepath.Join(f.root, "data") }
func (f *folder) logPath() string { return filepath.Join(f.root, "postgres.log") }

// close frees the lock, when nothing runs in the folder any more.
func (f *folder) close() {
	if f.socket != "" && !strings.HasPrefix(f.socket, f.root) {
		_ = os.Remove(f.socket) // a folder in a temporary place, unless something is left in it
	}
	_ = f.lock.Close()
}

// makeFolder makes what is missing of the way. Modes of what exists are its maker's business.
func makeFolder(root string) error {
	if _, err := os.Stat(root); err == nil {
		return nil
	}
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711 // Postgres, another user then, must pass through
	}
	if err := os.MkdirAll(root, mode); err != nil {
		return err
	}
	return os.Chmod(root, mode) // whatever the umask
}

// acquire takes the lock file, waiting a little for a process that is just leaving.
func acquire(ctx context.Context, path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !pause(ctx) {
			holder, _ := io.ReadAll(io.LimitReader(file, 20))
			_ = file.Close()
			return nil, fmt.Errorf("the data folder %s is in use by process %s: stop it, or choose another folder", filepath.Dir(path), holder)
		}
	}
	_ = file.Truncate(0)
	_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0) // for the message above only
	return file, nil
}

// makeSocketFolder makes the socket's folder, closed to all but the owner (and root): that is the whole
// authentication. A path that is too long for a socket, or has a comma (a list of hosts to clients), makes way for
// one under the temporary folder that is derived from it.
func (f *folder) makeSocketFolder() (string, error) {
	dir := filepath.Join(f.root, "run")
	if fitsSocket(dir) {
		if f.claim(dir) == nil {
			return dir, nil
		}
		if err := os.RemoveAll(dir); err != nil { // another user's, from a start before; it holds a socket at most
			return "", err
		}
		return dir, f.claim(dir)
	}
	sum := sha256.Sum256([]byte(f.root))
	name := "tributary-" + hex.EncodeToString(sum[:8])
	dir = filepath.Join(os.TempDir(), name)
	if !fitsSocket(dir) || f.owner.blocked(os.TempDir()) != "" {
		dir = filepath.Join("/tmp", name)
	}
	if err := f.claim(dir); err != nil {
		return "", fmt.Errorf("make a folder for the socket: %w", err)
	}
	return dir, nil
}

func fitsSocket(dir string) bool {
	return len(filepath.Join(dir, socketName)) < socketLimit && !strings.ContainsAny(dir, ",\n")
}

// claim makes dir, or takes one that is there if nobody else can have made it or look into it: under the temporary
// folder anybody may have been first.
func (f *folder) claim(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	uid, _ := idsOf(info)
	ours := uid == uint32(os.Geteuid()) || f.owner != nil && uid == f.owner.uid
	if !info.IsDir() || !ours || info.Mode().Perm() != 0o700 {
		return fmt.Errorf("%s exists, but is not a folder of ours alone", dir)
	}
	return f.owner.own(dir)
}

// stopPredecessor ends the Postgres that a killed process left in the folder: we hold the lock, so nobody owns it.
// It returns the process id that the cluster's lock file names if that is not, or no longer, a Postgres of ours; 0
// if there is none.
func (f *folder) stopPredecessor(ctx context.Context, log *slog.Logger) (stale int, err error) {
	content, err := os.ReadFile(filepath.Join(f.data(), "postmaster.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return 0, nil // cut short by a crash of the machine: Postgres has its own opinion on that
	}
	process, err := os.FindProcess(pid) // a handle where the system has them: what is checked is what is signalled
	if err != nil || !isPostmasterOf(pid, f.data()) {
		return pid, nil
	}
	defer func() { _ = process.Release() }()
	log.Info("stopping the postgres that a killed process left", "pid", pid)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	watched := make(chan struct{})
	go func() { // it is not our child, so it cannot be waited for
		defer close(watched)
		for isPostmasterOf(pid, f.data()) {
			if !pause(ctx) {
				return
			}
		}
		close(ended)
	}()
	err = stopProcess(ctx, process, ended)
	cancel()
	<-watched
	if err != nil {
		return 0, fmt.Errorf("stop the postgres that a killed process left, %d: %w", pid, err)
	}
	return pid, nil
}
