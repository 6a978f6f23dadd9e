package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/tributary-hub/tributary/internal/localpg"
)

// source says whose programs are used: another build of Postgres does not run another's cluster.
const source = "TRIBUTARY_POSTGRES"

// slots is how many test processes may have a Postgres at once.
const slots = 64

// start runs a Postgres for this test process, which ends with it. Its folder is one of a few in the temporary
// folder, kept for the next run: initdb and the migrated template are paid for once.
func start(ctx context.Context) (pg *localpg.Server, dir string, lock *os.File, err error) {
	base := filepath.Join(os.TempDir(), "tributary-test-"+os.Getenv(source)+strconv.Itoa(os.Getuid()))
	dir, lock, err = takeSlot(base)
	if err != nil {
		return nil, "", nil, err
	}
	pg, err = localpg.Start(ctx, localpg.Options{
		DataDir: dir,
		Source:  os.Getenv(source),
		Log:     slog.New(slog.DiscardHandler),
		Settings: map[string]string{
			"fsync":              "off", // nothing here must outlive a crash of the machine
			"full_page_writes":   "off",
			"max_connections":    "400",
			"autovacuum_naptime": "5min",
		},
	})
	return pg, dir, lock, err
}

// takeSlot locks the first free folder; the lock ends with the process.
func takeSlot(base string) (dir string, lock *os.File, err error) {
	if err := os.MkdirAll(base, 0o711); err != nil {
		return "", nil, fmt.Errorf("make the tests' folder: %w", err)
	}
	for i := range slots {
		dir = filepath.Join(base, strconv.Itoa(i))
		lock, err = os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return "", nil, fmt.Errorf("open a slot's lock: %w", err)
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return dir, lock, nil
		}
		_ = lock.Close()
	}
	return "", nil, errors.New("too many test processes at once")
}
