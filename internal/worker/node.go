package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// The rhythm of nodes. A node is dead to the others after 10 s of silence; it judges them only after its own last
// three beats were written in time, since a slow Postgres must not make everybody dead to everybody.
const (
	beatEvery     = 2 * time.Second
	takeOverEvery = 5 * time.Second
	beatsToJudge  = 3
	beatInTime    = beatEvery
)

// NodeOptions of a Node.
type NodeOptions struct {
	Pipeline *store.Pipeline       // required
	River    *store.River          // required
	Self     store.Node            // required
	Log      *slog.Logger          // required
	Metrics  prometheus.Registerer // required
	Mine     bool                  // whether the id was this process's before it was killed, so that its jobs are taken over at start
}

// A Node writes that this process lives and takes over the jobs of those that do not.
type Node struct {
	o         NodeOptions
	beatEvery time.Duration // these two are the constants, or less in a test
	lookEvery time.Duration
	inTime    int // beats in a row
	silent    telemetry.Stretch
	metrics   nodeMetrics

	cancel  context.CancelFunc
	stopped chan struct{}
}

// NewNode makes a Node; it beats between Start and Stop.
func NewNode(o NodeOptions) *Node {
	return &Node{o: o, beatEvery: beatEvery, lookEvery: takeOverEvery, metrics: newNodeMetrics(o.Metrics)}
}

// Start takes over what its own killed predecessor left, joins with the first beat, and goes on in the background. It
// fails where the others and this process do not open what each other seals.
func (n *Node) Start(ctx context.Context) error {
	if n.o.Mine {
		if err := n.takeOver(ctx, n.o.Self.ID); err != nil {
			return err
		}
	}
	if err := n.o.Pipeline.Join(ctx, n.o.Self); err != nil {
		return err
	}
	ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	n.stopped = make(chan struct{})
	go func() {
		defer close(n.stopped)
		n.run(ctx)
	}()
	return nil
}

// Stop ends the beat and forgets the node: it ended in order, nobody needs to wait for its silence.
func (n *Node) Stop(ctx context.Context) error {
	if n.cancel == nil {
		return nil
	}
	n.cancel()
	select {
	case <-n.stopped:
		return n.o.Pipeline.RemoveNode(ctx, n.o.Self.ID)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) run(ctx context.Context) {
	beat, look := time.NewTicker(n.beatEvery), time.NewTicker(n.lookEvery)
	defer beat.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			n.beat(ctx)
		case <-look.C:
			n.look(ctx)
		}
	}
}

func (n *Node) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, beatInTime)
	defer cancel()
	write := n.o.Pipeline.Beat
	if n.inTime == 0 { // the others may have gone on without it, and seal with a key that it lacks: then it stays silent
		write = n.o.Pipeline.Join
	}
	if err := write(ctx, n.o.Self); err != nil {
		n.inTime = 0
		n.metrics.unwritten.Inc()
		if n.silent.Begins() {
			n.o.Log.WarnContext(ctx, "beats cannot be written", "error", err)
		}
		return
	}
	if n.silent.Ends() {
		n.o.Log.InfoContext(ctx, "beats are written again")
	}
	n.inTime++
	n.metrics.written.Inc()
}

// look judges the others by their silence, where this node's own beats were written.
func (n *Node) look(ctx context.Context) {
	if n.inTime < beatsToJudge {
		return
	}
	if err := n.takeOver(ctx, ""); err != nil && ctx.Err() == nil {
		n.o.Log.WarnContext(ctx, "jobs of dead nodes not taken over", "error", err)
	}
}

func (n *Node) takeOver(ctx context.Context, mine string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	jobs, err := n.o.River.TakeOver(ctx, mine)
	if err != nil {
		return err
	}
	n.metrics.taken.Add(float64(jobs))
	if jobs > 0 {
		n.o.Log.InfoContext(ctx, "jobs taken over", "jobs", jobs)
	}
	return nil
}
