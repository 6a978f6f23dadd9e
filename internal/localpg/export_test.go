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

func (p Places) finder() (finder, error) {
	owner, err := ownerOf("")
	return finder{bindir: p.BinDir, path: p.Path, globs: p.Globs, cache: p.Cache, owner: owner, major: p.Major}, err
}

// FindIn looks for programs there, and fetches none.
func FindIn(ctx context.Context, p Places, source string) (string, error) {
	f, err := p.finder()
	if err != nil {
		return "", err
	}
	found, err := f.find(ctx, source)
	return found.dir, err
}

// ObtainIn looks there, and fetches a build with the npm in p.Path into p.Cache if there is none.
func ObtainIn(ctx context.Context, p Places, source string, log *slog.Logger) (string, error) {
	f, err := p.finder()
	if err != nil {
		return "", err
	}
	return f.obtain(ctx, source, log)
}

// Pid is the process id of the postmaster.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

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
