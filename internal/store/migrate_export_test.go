package store

import (
	"context"
	"io/fs"
	"time"
)

// MigrateFrom is Migrate with other migrations, which gets no lock in as many tries and gives up.
func MigrateFrom(ctx context.Context, o MigrateOptions, files fs.FS, tries int) error {
	return migrateFrom(ctx, o, files, tries)
}

// OutsideTransaction says that a migration runs in no transaction.
func OutsideTransaction(sql string) bool { return outsideTransaction(sql) }

// What bounds a migration's waiting.
const (
	LockPatience = lockPatience
	LockTries    = lockTries
)

// PauseAfter is how long it lets others go after that try.
func PauseAfter(try int) time.Duration { return pauseAfter(try) }
