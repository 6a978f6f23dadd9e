package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	tailLines = 12      // of a log, in an error
	tailBytes = 8 << 10 // what is read for them
)

// major is the major version that made the cluster; 0 where there is none yet.
func (f *folder) major() (int, error) {
	content, err := os.ReadFile(filepath.Join(f.data(), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0, fmt.Errorf("%s is not a Postgres cluster: PG_VERSION holds no number", f.data())
	}
	return major, nil
}

// initialize makes the cluster beside its place and then renames it: a data folder that is there is whole.
func (f *folder) initialize(ctx context.Context, bin string, o Options) error {
	o.Log.Info("making a postgres cluster", "folder", f.data(), "programs", bin)
	var failed error
	for _, locale := range []string{"C.UTF-8", "C"} { // the first is missing on some systems
		err := f.initdb(ctx, bin, locale, o.Settings["fsync"] != "off")
		if err == nil {
			return os.Rename(f.data()+".init", f.data())
		}
		failed = errors.Join(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("make a postgres cluster: %w", failed)
}

// initdb makes a cluster in data.init. Whoever reaches the socket's folder is trusted; TCP is off and refused besides.
func (f *folder) initdb(ctx context.Context, bin, locale string, sync bool) error {
	dir := f.data() + ".init"
	if err := os.RemoveAll(dir); err != nil { // of a start that was killed
		return err
	}
	if err := f.owner.own(dir); err != nil {
		return err
	}
	cmd := f.owner.command(filepath.Join(bin, "initdb"))
	lent, err := f.owner.lend(cmd, dir)
	if err != nil {
		return err
	}
	cmd.Args = append(cmd.Args, "-D", lent, "-U", superuser, "-E", "UTF8", "--locale="+locale,
		"--auth-local=trust", "--auth-host=reject", "--no-instructions")
	if !sync {
		cmd.Args = append(cmd.Args, "--no-sync")
	}
	_, err = runToEnd(ctx, cmd)
	return err
}

// settings returns the server's settings as name=value, sorted. lz4 is the default for big values where the build has
// it.
func (f *folder) settings(ctx context.Context, bin string, own map[string]string) ([]string, error) {
	all := map[string]string{
		"max_connections": "200",
		"shared_buffers":  "128MB",
		"timezone":        "UTC",
		"cluster_name":    "tributary",
		"lc_messages":     "C", // logSaysBusy reads them

		"log_timezone":    "UTC",
		"log_line_prefix": "%m [%p] ",
		"log_checkpoints": "off",
		// Neither row values nor statements belong into a log, not even of a failure.
		"log_error_verbosity":     "terse",
		"log_min_error_statement": "panic",

		// An upgrade of the package under a running server breaks what is loaded later (SQLSTATE 58P01): load the
		// one library that is needed now, and never the compiler.
		"shared_preload_libraries": "plpgsql",
		"jit":                      "off",
	}
	maps.Copy(all, own)
	if _, chosen := own["default_toast_compression"]; !chosen {
		lz4, err := f.accepts(ctx, bin, "default_toast_compression", "lz4")
		if err != nil {
			return nil, err
		}
		if lz4 {
			all["default_toast_compression"] = "lz4"
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, name+"="+all[name])
	}
	return list, nil
}

// accepts asks the programs whether a setting may have a value.
func (f *folder) accepts(ctx context.Context, bin, name, value string) (bool, error) {
	cmd := f.owner.command(filepath.Join(bin, "postgres"))
	lent, err := f.owner.lend(cmd, f.data())
	if err != nil {
		return false, err
	}
	cmd.Args = append(cmd.Args, "-D", lent, "-C", name, "-c", name+"="+value)
	_, err = runToEnd(ctx, cmd)
	return err == nil, ctx.Err()
}

// serverCommand prepares the server's process, and returns besides the data directory as the server will name it.
// stale is the process id in the lock files of a Postgres that is gone.
func (f *folder) serverCommand(bin string, settings []string, stale int) (cmd *exec.Cmd, dataDir string, err error) {
	cmd = f.owner.command(filepath.Join(bin, "postgres"))
	defer func() {
		if err != nil {
			closeLent(cmd)
		}
	}()
	if stale != 0 {
		// By now another process may have that number, and Postgres would take it for a living server. As its
		// grandparent it is ignored: the lock file stays, and with it the check for orphans that it makes possible.
		cmd.Env = append(cmd.Env, "PG_GRANDPARENT_PID="+strconv.Itoa(stale))
	}
	if dataDir, err = f.owner.lend(cmd, f.data()); err != nil {
		return nil, "", err
	}
	socket, err := f.owner.lend(cmd, f.socket)
	if err != nil {
		return nil, "", err
	}
	for _, setting := range settings {
		cmd.Args = append(cmd.Args, "-c", setting)
	}
	// The last word: where it listens is what the rest of this package relies on.
	cmd.Args = append(cmd.Args, "-c", "listen_addresses=", "-c", "port="+port, "-c", "unix_socket_permissions=0700",
		"-c", "unix_socket_directories="+`"`+strings.ReplaceAll(socket, `"`, `""`)+`"`)
	cmd.Args = slices.Insert(cmd.Args, 1, "-D", dataDir) // first, so that ps shows it
	log, err := os.OpenFile(f.logPath(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, "", err
	}
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, dataDir, nil
}

// closeLent closes this process's copies of the files that the child has got.
func closeLent(cmd *exec.Cmd) {
	for _, file := range cmd.ExtraFiles {
		_ = file.Close()
	}
	if log, ok := cmd.Stdout.(*os.File); ok {
		_ = log.Close()
	}
}

// rotateLog keeps the log of the last run beside the new one.
func (f *folder) rotateLog() error {
	err := os.Rename(f.logPath(), f.logPath()+".1")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// logSaysBusy tells whether the server refused to start because processes of another one still use the cluster.
func (f *folder) logSaysBusy() bool {
	content, _ := os.ReadFile(f.logPath())
	return strings.Contains(string(content), "is still in use") || // the shared memory, by orphans
		strings.Contains(string(content), "already exists") // a lock file, by a process that is just ending
}

// logTail is the end of the server's log, for an error.
func (f *folder) logTail() string {
	file, err := os.Open(f.logPath())
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && info.Size() > tailBytes {
		_, _ = file.Seek(-tailBytes, io.SeekEnd)
	}
	content, _ := io.ReadAll(io.LimitReader(file, tailBytes))
	return lastLines(string(content))
}

// lastLines returns the last lines of a text, indented.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	return "  " + strings.Join(lines, "\n  ")
}
