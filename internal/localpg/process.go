package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const pollEvery = 25 * time.Millisecond

// shutdown is how a Postgres is asked to end, each step harder than the one before: roll back and write everything
// out; leave at once and recover at the next start; no longer ask.
var shutdown = [...]struct {
	signal   syscall.Signal
	patience time.Duration
}{
	{syscall.SIGINT, 30 * time.Second},
	{syscall.SIGQUIT, 5 * time.Second},
	{syscall.SIGKILL, 5 * time.Second},
}

// launch starts cmd and closes ended when the process has been waited for. The thread that starts it is kept until
// then, because the kernel sends Pdeathsig when the thread that forked ends, not the process.
func launch(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		closeLent(cmd)
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in cmd.ProcessState
		}
	}()
	return done, <-started
}

// runToEnd runs a command that ends by itself, such as initdb; its error holds the last lines of what it said. When
// ctx is done, the whole process group is killed.
func runToEnd(ctx context.Context, cmd *exec.Cmd) (string, error) {
	said := &tailBuffer{}
	cmd.Stdout, cmd.Stderr = said, said
	ended, err := launch(cmd)
	if err != nil {
		return "", fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	select {
	case <-ended:
	case <-ctx.Done():
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the group that Setpgid made: initdb has children
		<-ended
		return "", fmt.Errorf("run %s: %w", cmd.Path, context.Cause(ctx))
	}
	if !cmd.ProcessState.Success() {
		return "", fmt.Errorf("%s failed (%s):\n%s", cmd.Path, cmd.ProcessState, lastLines(said.String()))
	}
	return said.String(), nil
}

// stopProcess takes a Postgres down the steps of shutdown until ended is closed or ctx is done.
func stopProcess(ctx context.Context, p *os.Process, ended <-chan struct{}) error {
	for _, step := range shutdown {
		if err := p.Signal(step.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("signal process %d: %w", p.Pid, err)
		}
		timer := time.NewTimer(step.patience)
		select {
		case <-ended:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
	return fmt.Errorf("process %d survived SIGKILL", p.Pid)
}

// pause waits a moment; it is false when ctx was done first.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tailBuffer keeps the last bytes that were written to it.
type tailBuffer struct{ kept []byte }

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p...)
	b.kept = b.kept[max(0, len(b.kept)-tailBytes):]
	return len(p), nil
}

func (b *tailBuffer) String() string { return string(b.kept) }
