package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	tributary "github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/store"
)

// rowCommits measures how many single rows the same Postgres commits, each for itself.
func (r *run) rowCommits(ctx context.Context, h *hub, clients int) error {
	r.o.Log.InfoContext(ctx, "measuring", "what", "one-row commits", "connections", clients)
	setup, err := pgx.Connect(ctx, h.dev.DatabaseURL)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer setup.Close(context.WithoutCancel(ctx))
	if _, err := setup.Exec(ctx, `CREATE TABLE IF NOT EXISTS bench_rows (id bigserial PRIMARY KEY, body text)`); err != nil {
		return fmt.Errorf("make a table: %w", err)
	}
	before, err := usageOf(h.pid, h.postmaster)
	if err != nil {
		return err
	}
	var (
		mu     sync.Mutex // guards total and failed
		total  load
		failed error
		wait   sync.WaitGroup
	)
	began := time.Now()
	until := began.Add(r.o.Duration)
	for range clients {
		wait.Go(func() {
			taken, err := commitRows(ctx, h.dev.DatabaseURL, until)
			mu.Lock()
			defer mu.Unlock()
			total.latency = append(total.latency, taken...)
			if err != nil {
				failed = err
			}
		})
	}
	wait.Wait()
	total.done, total.took = len(total.latency), time.Since(began)
	after, err := usageOf(h.pid, h.postmaster)
	if err != nil {
		return err
	}
	r.rows = append(r.rows, row{what: "one-row commits", clients: clients, load: total, cpu: after.since(before)})
	return failed
}

func commitRows(ctx context.Context, url string, until time.Time) (latencies, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var taken latencies
	for time.Now().Before(until) && ctx.Err() == nil {
		began := time.Now()
		if _, err := conn.Exec(ctx, `INSERT INTO bench_rows (body) VALUES ($1)`, filler()); err != nil {
			return taken, fmt.Errorf("insert: %w", err)
		}
		taken = append(taken, time.Since(began))
	}
	return taken, nil
}

// A yardstick is a process that serves the handler with a transaction for each request.
type yardstick struct {
	cmd *exec.Cmd
	in  io.Closer // its end is the process's end
	url string
}

// startYardstick runs this program as the yardstick of that folder's hub.
func startYardstick(ctx context.Context, o Options, dir string) (*yardstick, error) {
	cmd := exec.CommandContext(ctx, o.Binary, "bench", "--yardstick", filepath.Join(dir, "data", "dev.json"))
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the yardstick: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the yardstick: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the yardstick: %w", err)
	}
	y := &yardstick{cmd: cmd, in: in}
	if _, err := fmt.Fscanln(out, &y.url); err != nil {
		y.stop()
		return nil, fmt.Errorf("hear the yardstick's address: %w", err)
	}
	return y, nil
}

func (y *yardstick) stop() {
	_ = y.in.Close()
	_ = y.cmd.Wait()
}

// ServeYardstick serves one endpoint of a dev.json's hub as one would write it first: verify, one transaction that
// inserts event, dedup key and job, answer. It prints its address and ends with its standard input.
func ServeYardstick(ctx context.Context, devJSON string, in io.Reader, out io.Writer) error {
	handler, closeStore, err := newYardstick(ctx, devJSON)
	if err != nil {
		return err
	}
	defer closeStore()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = server.Close()
	}()
	fmt.Fprintf(out, "http://%s/in/yardstick\n", listener.Addr())
	if err := server.Serve(listener); err != nil && !strings.Contains(err.Error(), "closed") {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func newYardstick(ctx context.Context, devJSON string) (http.Handler, func(), error) {
	content, err := os.ReadFile(devJSON)
	if err != nil {
		return nil, nil, fmt.Errorf("read dev.json: %w", err)
	}
	var dev devFile
	if err := json.Unmarshal(content, &dev); err != nil {
		return nil, nil, fmt.Errorf("read dev.json: %w", err)
	}
	endpointID, err := tributary.ParseID[tributary.EndpointID](dev.Endpoints["stripe"].ID)
	if err != nil {
		return nil, nil, err
	}
	db, err := store.Open(ctx, store.Options{URL: dev.DatabaseURL, Tenant: 1, Pipeline: 32, Application: "yardstick"})
	if err != nil {
		return nil, nil, err
	}
	tenant, err := db.Pipeline.TenantBySlug(ctx, "demo")
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	stripe, _ := provider.Get("stripe")
	secrets := []provider.Secret{{ID: tributary.NewID[tributary.SecretID](), Value: []byte(dev.Endpoints["stripe"].Secret)}}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "unreadable", http.StatusBadRequest)
			return
		}
		now := time.Now()
		v := stripe.Verify(provider.Request{Method: r.Method, Header: r.Header, Body: body, Secrets: secrets, At: now})
		if !v.OK {
			http.Error(w, "unverified", http.StatusUnauthorized)
			return
		}
		receipts, err := db.Pipeline.InsertEvents(r.Context(), []tributary.Event{{
			Tenant: tenant, ID: tributary.NewID[tributary.EventID](), Endpoint: endpointID, Provider: "stripe", Type: v.Type, ProviderID: v.ProviderID,
			ReceivedAt: now, Verified: true, Secret: v.Secret, Header: r.Header, Body: body, Dedup: v.Dedup,
		}})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, `{"event":%q}`, receipts[0].Event)
	})
	return handler, db.Close, nil
}
