package dev

import (
	"context"
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

// lockPatience is for a predecessor that is just leaving.
const lockPatience = 5 * time.Second

// The files of the data folder, beside dev.json.
const (
	fileIgnore      = ".gitignore"
	fileLock        = "lock"
	fileKeyset      = "keyset"
	fileIssuerKey   = "issuer-key.json"
	fileNodeID      = "node-id"
	fileOperatorKey = "operator-key"
	fileTenantKey   = "tenant-key"
	filePassword    = "database-password"
	folderPostgres  = "postgres"

	ignoreAll    = "*\n"   // what the .gitignore says
	temporaryTag = ".new-" // stands in the name of a file that is being written
)

// folder is the data folder, which this process holds the lock of: what a second start needs to find everything again.
type folder struct {
	root string   // absolute
	lock *os.File // held until close; ends with the process
	made bool     // by this start
}

// openFolder makes the folder, or takes one that it made before, and locks it.
func openFolder(ctx context.Context, dir string, log *slog.Logger) (*folder, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the data folder: %w", err)
	}
	for {
		_, err := os.Stat(root)
		f := &folder{root: root, made: errors.Is(err, os.ErrNotExist)}
		if err := claim(root); err != nil {
			return nil, fmt.Errorf("make the data folder: %w", err)
		}
		if f.lock, err = acquire(ctx, f.path(fileLock), log); err != nil {
			return nil, err
		}
		if f.stillThere() {
			f.sweep()
			return f, nil
		}
		f.close() // whoever had the lock discarded the folder
	}
}

// stillThere says whether the lock that is held is the one that the next start will look for.
func (f *folder) stillThere() bool {
	held, err := f.lock.Stat()
	if err != nil {
		return false
	}
	found, err := os.Stat(f.path(fileLock))
	return err == nil && os.SameFile(held, found)
}

// discard removes what a start made that failed before it had a database: nothing was sealed or signed by the keys in
// it. What was there before stays, a cluster stays, and so does the password of a login in a database of others.
func (f *folder) discard() {
	if !f.made {
		return
	}
	for _, name := range []string{filePassword, filepath.Join(folderPostgres, "data")} {
		if _, err := os.Lstat(f.path(name)); !errors.Is(err, os.ErrNotExist) {
			return
		}
	}
	for _, name := range []string{folderPostgres, fileKeyset, fileIssuerKey, fileNodeID, fileIgnore, fileLock} {
		_ = os.RemoveAll(f.path(name)) // what stays does no harm
	}
	_ = os.Remove(f.root) // only when it is empty
}

// sweep removes what a process that was killed while it wrote left behind.
func (f *folder) sweep() {
	left, _ := filepath.Glob(f.path("*" + temporaryTag + "*")) // errs on a bad pattern alone
	for _, path := range left {
		_ = os.Remove(path) // what stays does no harm
	}
}

func (f *folder) close() { _ = f.lock.Close() }

func (f *folder) path(name string) string { return filepath.Join(f.root, name) }

// claim makes the folder closed to others. What holds something else is refused: its mode and its .gitignore are
// somebody else's.
func claim(root string) error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711 // Postgres, another user then, must pass through
	}
	if err := os.MkdirAll(root, mode); err != nil {
		return err
	}
	ours, err := isOurs(root)
	if err != nil {
		return err
	}
	if !ours {
		return fmt.Errorf("%s holds something else; name an empty folder, or one that does not exist yet", root)
	}
	if err := os.WriteFile(filepath.Join(root, fileIgnore), []byte(ignoreAll), 0o600); err != nil {
		return err
	}
	return os.Chmod(root, mode) // whatever the umask, and whoever made it
}

// isOurs says whether a folder is empty, or has been claimed before, if only just.
func isOurs(root string) (bool, error) {
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) == 0 {
		return err == nil, err
	}
	content, err := os.ReadFile(filepath.Join(root, fileIgnore))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	justMade := len(entries) == 1 && len(content) == 0
	return justMade || string(content) == ignoreAll, err
}

// acquire takes the lock file. It is freed by the end of its holder, however that comes.
func acquire(ctx context.Context, path string, log *slog.Logger) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	patience := time.NewTimer(lockPatience)
	defer patience.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for waiting := false; ; waiting = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !waiting {
			log.InfoContext(ctx, "another process uses the data folder; waiting for its end", "folder", filepath.Dir(path), "patience", lockPatience.String())
		}
		select {
		case <-tick.C:
			if errors.Is(err, syscall.EWOULDBLOCK) {
				continue
			}
		case <-ctx.Done():
			err = ctx.Err()
		case <-patience.C:
			holder, _ := io.ReadAll(io.LimitReader(file, 20))
			err = fmt.Errorf("a hub runs here already: process %s uses it; stop that one, or name another folder with --data-dir", holder)
		}
		_ = file.Close()
		return nil, fmt.Errorf("data folder %s: %w", filepath.Dir(path), err)
	}
	_ = file.Truncate(0)
	_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0) // for the message above alone
	return file, nil
}

// keep gives what the file holds, and where there is none what fresh makes: once in the life of the folder.
func (f *folder) keep(name string, fresh func() (string, error)) (string, error) {
	content, err := os.ReadFile(f.path(name))
	if value := strings.TrimSpace(string(content)); err == nil && value != "" {
		return value, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read what was kept: %w", err)
	}
	return f.renew(name, fresh)
}

// renew makes the value anew and keeps that one.
func (f *folder) renew(name string, fresh func() (string, error)) (string, error) {
	value, err := fresh()
	if err != nil {
		return "", err
	}
	return value, f.write(name, []byte(value+"\n"))
}

// write replaces a file whole, whatever happens meanwhile: a reader, and a start after a crash, sees the old content
// or the new one.
func (f *folder) write(name string, content []byte) error {
	temporary, err := os.CreateTemp(f.root, name+temporaryTag) // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() { _ = os.Remove(temporary.Name()) }() // gone already, if all went well
	_, err = temporary.Write(content)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), f.path(name))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
