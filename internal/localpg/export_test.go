package localpg

import (
	"context"
	"log/slog"
	"os/exec"
)

// Places is where a search looks, instead of this machine's.
type Places struct {
	BinDir, Path string
	Globs        []string
	Cache        string
	Major        int // of the cluster; 0 where there is none
}

// FindIn is Find in other places.
func FindIn(ctx context.Context, p Places, source string) (string, error) {
	owner, err := ownerOf("")
	if err != nil {
		return "", err
	}
	f := finder{bindir: p.BinDir, path: p.Path, globs: p.Globs, cache: p.Cache, owner: owner, major: p.Major}
	found, err := f.find(ctx, source)
	return found.dir, err
}

// FetchInto fetches this platform's build into a folder that does not exist yet.
func FetchInto(ctx context.Context, folder string, log *slog.Logger) error {
	return fetchInto(ctx, folder, log)
}

// Install checks and unpacks a tarball.
func Install(tarball, sha512, stage, folder string) error {
	return install(tarball, sha512, stage, folder)
}

// OwnerCommand prepares a program that runs as the owner of the cluster in dataDir.
func OwnerCommand(dataDir, path string, args ...string) (*exec.Cmd, error) {
	owner, err := ownerOf(dataDir)
	if err != nil {
		return nil, err
	}
	return owner.command(path, args...), nil
}

// IsPostmasterOf tells whether a process is a Postgres of that data directory.
func IsPostmasterOf(pid int, dataDir string) bool { return isPostmasterOf(pid, dataDir) }
