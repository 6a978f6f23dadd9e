package localpg

import (
	"context"
	"fmt"
	"path/filepath"
)

// CopyTo makes another data folder with a copy of the running cluster, as a streaming standby of this server: who
// Starts it has one that follows until it is promoted. It must be empty, and open to the account of Postgres.
func (s *Server) CopyTo(ctx context.Context, dataDir string) error {
	f, err := openFolder(ctx, dataDir)
	if err != nil {
		return fmt.Errorf("copy postgres: %w", err)
	}
	defer f.close()
	if err := f.owner.own(f.data()); err != nil {
		return fmt.Errorf("copy postgres: %w", err)
	}
	cmd := f.owner.command(filepath.Join(s.bin, "pg_basebackup"),
		"-h", s.socket, "-p", port, "-U", superuser, "-D", f.data(), "-X", "stream", "-c", "fast", "--no-sync", "-R")
	if _, err := runToEnd(ctx, cmd); err != nil {
		return fmt.Errorf("copy postgres: %w", err)
	}
	return nil
}
