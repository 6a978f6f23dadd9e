// Package bench measures a hub that it starts itself, as a process of its own on a fresh folder, beside yardsticks on
// the same Postgres in the same run: how many rows that can commit one by one, and a handler with a transaction for
// each request. Figures of a shared machine are noisy; the ratios hold better.
package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"
)

// Options of a run.
type Options struct {
	Binary   string        // required: the hub's program
	Environ  []string      // required: what the hub's process is given
	Out      io.Writer     // required: gets the table
	Log      *slog.Logger  // required: says what is being measured
	Duration time.Duration // of each measurement; default 8 s
	Clients  []int         // numbers of connections; default 32 and 128
}

// Run measures and prints the table.
func Run(ctx context.Context, o Options) error {
	if o.Duration == 0 {
		o.Duration = 8 * time.Second
	}
	if len(o.Clients) == 0 {
		o.Clients = []int{32, 128}
	}
	dir, err := os.MkdirTemp("", "tributary-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	r := &run{o: o, dir: dir}
	if err := r.measure(ctx); err != nil {
		return err
	}
	return r.print()
}

// A row is one line of the table.
type row struct {
	what    string
	clients int
	load    load
	cpu     usage // of the whole measurement
}

type run struct {
	o    Options
	dir  string
	rows []row
	lag  latencies
	rate int
}

// measure takes each figure on one Postgres: the hub is started again with other roles, its data stays. Latency comes
// first, on tables that are small.
func (r *run) measure(ctx context.Context) error {
	const whole = "ingest,api,worker,stream"
	if err := r.with(ctx, whole, r.latency); err != nil {
		return err
	}
	if err := r.with(ctx, "ingest,api", r.yardsticks); err != nil {
		return err
	}
	return r.with(ctx, whole, func(ctx context.Context, h *hub) error {
		if err := h.drained(ctx); err != nil {
			return err
		}
		return r.webhooks(ctx, h, "webhooks acknowledged while the worker routes them", r.o.Clients[len(r.o.Clients)-1])
	})
}

// with runs a measurement on a hub of those roles.
func (r *run) with(ctx context.Context, roles string, measure func(context.Context, *hub) error) error {
	h, err := startHub(ctx, r.o, r.dir, roles)
	if err != nil {
		return err
	}
	defer h.stop()
	return measure(ctx, h)
}

// yardsticks measures the intake beside what the same Postgres does otherwise.
func (r *run) yardsticks(ctx context.Context, h *hub) error {
	for _, clients := range r.o.Clients {
		if err := r.rowCommits(ctx, h, clients); err != nil {
			return err
		}
		if err := r.perRequest(ctx, h, clients); err != nil {
			return err
		}
		if err := r.webhooks(ctx, h, "webhooks acknowledged", clients); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) webhooks(ctx context.Context, h *hub, what string, clients int) error {
	r.o.Log.InfoContext(ctx, "measuring", "what", what, "connections", clients)
	return r.posts(ctx, h, what, clients, h.endpoint.URL, h.pid, h.postmaster)
}

// perRequest measures the handler with a transaction for each request, in a process of its own.
func (r *run) perRequest(ctx context.Context, h *hub, clients int) error {
	r.o.Log.InfoContext(ctx, "measuring", "what", "a transaction for each request", "connections", clients)
	y, err := startYardstick(ctx, r.o, r.dir)
	if err != nil {
		return err
	}
	defer y.stop()
	return r.posts(ctx, h, "a transaction for each request", clients, y.url, y.cmd.Process.Pid, h.postmaster)
}

func (r *run) posts(ctx context.Context, h *hub, what string, clients int, url string, pid, postmaster int) error {
	before, err := usageOf(pid, postmaster)
	if err != nil {
		return err
	}
	result, err := post(ctx, url, h.endpoint.Secret, clients, r.o.Duration)
	if err != nil {
		return err
	}
	after, err := usageOf(pid, postmaster)
	if err != nil {
		return err
	}
	r.rows = append(r.rows, row{what: what, clients: clients, load: result, cpu: after.since(before)})
	return nil
}

func (r *run) print() error {
	w := tabwriter.NewWriter(r.o.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tconnections\tper second\tp50 ms\tp99 ms\thub CPU ms\tPostgres CPU ms\tCPU ms each\t")
	for _, row := range r.rows {
		n := float64(max(row.load.done, 1))
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%.1f\t%.1f\t%.3f\t%.3f\t%.3f\t\n", row.what, row.clients, row.load.perSecond(),
			ms(row.load.quantile(0.5)), ms(row.load.quantile(0.99)), ms(row.cpu.hub)/n, ms(row.cpu.postgres)/n, ms(row.cpu.hub+row.cpu.postgres)/n)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, clients := range r.o.Clients {
		fmt.Fprintf(r.o.Out, "at %d connections: %.1f times a transaction for each request, %.1f times one-row commits\n", clients,
			r.ratio(clients, "a transaction for each request"), r.ratio(clients, "one-row commits"))
	}
	_, err := fmt.Fprintf(r.o.Out, "POST to frame at %d/s: p50 %.1f ms, p99 %.1f ms over %d\n", r.rate, ms(r.lag.quantile(0.5)), ms(r.lag.quantile(0.99)), len(r.lag))
	return err
}

// ratio is the hub's rate over another row's at the same number of connections.
func (r *run) ratio(clients int, other string) float64 {
	var mine, theirs float64
	for _, row := range r.rows {
		switch {
		case row.clients != clients:
		case row.what == "webhooks acknowledged":
			mine = row.load.perSecond()
		case row.what == other:
			theirs = row.load.perSecond()
		}
	}
	return mine / max(theirs, 1)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
