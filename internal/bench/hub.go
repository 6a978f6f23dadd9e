package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// A hub is a `tributary dev` of this run.
type hub struct {
	cmd        *exec.Cmd
	ended      chan struct{}
	pid        int
	postmaster int
	dev        devFile
	endpoint   endpoint
	log        string // what it says goes to this file
}

// A devFile is what is needed of dev.json.
type devFile struct {
	URL         string              `json:"url"`
	Tenant      string              `json:"tenant"`
	TenantKey   string              `json:"tenant_key"`
	DatabaseURL string              `json:"database_url"`
	Endpoints   map[string]endpoint `json:"endpoints"`
}

type endpoint struct {
	ID     string `json:"id"`
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// startHub starts the hub with those roles on the run's folder and waits until it serves.
func startHub(ctx context.Context, o Options, dir, roles string) (*hub, error) {
	data := filepath.Join(dir, "data")
	_ = os.Remove(filepath.Join(data, "dev.json")) // written anew when it serves
	h := &hub{ended: make(chan struct{}), log: filepath.Join(dir, "hub.log")}
	said, err := os.OpenFile(h.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the hub's log: %w", err)
	}
	defer said.Close()
	h.cmd = exec.CommandContext(context.WithoutCancel(ctx), o.Binary, "dev", "--listen", "127.0.0.1:0", "--data-dir", data)
	h.cmd.Env = append(slices.Clone(o.Environ), "TRIBUTARY_ROLES="+roles, "TRIBUTARY_OPS_LISTEN=127.0.0.1:0", "TRIBUTARY_LOG_LEVEL=warn")
	h.cmd.Stdout, h.cmd.Stderr = said, said
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the hub: %w", err)
	}
	go func() {
		_ = h.cmd.Wait()
		close(h.ended)
	}()
	if err := h.await(ctx, data); err != nil {
		h.stop()
		return nil, err
	}
	h.pid = h.cmd.Process.Pid
	h.endpoint = h.dev.Endpoints["stripe"]
	if h.postmaster, err = childNamed(h.pid, "postgres"); err != nil {
		h.stop()
		return nil, err
	}
	return h, nil
}

func (h *hub) await(ctx context.Context, data string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		content, err := os.ReadFile(filepath.Join(data, "dev.json"))
		if err == nil && json.Unmarshal(content, &h.dev) == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-h.ended:
			return fmt.Errorf("the hub ended by itself; it said:\n%s", tail(h.log))
		case <-ctx.Done():
			return fmt.Errorf("the hub was not ready in a minute; it said:\n%s", tail(h.log))
		}
	}
}

// stop ends the hub in order; it may be called twice.
func (h *hub) stop() {
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.ended:
	case <-time.After(30 * time.Second):
		_ = h.cmd.Process.Kill()
		<-h.ended
	}
}

// drained waits until the worker has worked what the intake took in.
func (h *hub) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, h.dev.DatabaseURL)
	if err != nil {
		return fmt.Errorf("connect to the hub's database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var left bool
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM tributary_river.river_job
			WHERE queue = 'events' AND state IN ('available', 'running', 'retryable', 'scheduled'))`).Scan(&left)
		if err != nil {
			return fmt.Errorf("ask for jobs: %w", err)
		}
		if !left {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tail is the end of a file, for an error.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return "  " + strings.Join(lines[max(0, len(lines)-20):], "\n  ")
}
