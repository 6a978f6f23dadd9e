package localpg_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tributary-hub/tributary/internal/localpg"
)

// The real build, really fetched: it starts a cluster, also as root, and has its links.
func TestNPM(t *testing.T) {
	t.Parallel()
	needsNPM(t)
	s := start(t, localpg.Options{DataDir: openDir(t), Source: "npm"})
	if got := ask(t, s, `SHOW server_version`); got != "17.10" {
		t.Errorf("version %s; want the pinned 17.10", got)
	}
	if got := ask(t, s, `SELECT 'ä' < 'b' COLLATE "C"`); got != "false" {
		t.Errorf("got %s", got)
	}

	folder := filepath.Join(openDir(t), "17")
	found, err := localpg.ObtainIn(t.Context(), localpg.Places{Path: os.Getenv("PATH"), Cache: folder}, "npm", quiet())
	if err != nil || found != filepath.Join(folder, "native", "bin") {
		t.Errorf("found %q, %v", found, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(folder), ".fetch-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Without a network npm says a screenful, and the user needs a sentence and what else there is.
func TestNPM_Fails(t *testing.T) {
	t.Parallel()
	npm := func(script string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
		return dir + ":/usr/bin:/bin"
	}
	noNetwork := npm(`case "$*" in *--fetch-retries=1*) ;; *) echo 'waits for a minute' >&2; exit 1 ;; esac
cat >&2 <<'END'
npm error code ENOTFOUND
npm error network request to https://registry.example.com/x failed, reason: getaddrinfo ENOTFOUND registry.example.com
npm error     at ClientRequest.<anonymous> (/usr/lib/node_modules/npm/index.js:130:14)
npm error A complete log of this run can be found in: ~/.npm/_logs/x.log
END
exit 1
`)
	for name, c := range map[string]struct {
		path, source string
		want         []string
		not          string
	}{
		"no network":       {noNetwork, "auto", []string{"failed, reason: getaddrinfo ENOTFOUND registry.example.com.\nDo one of these:\n  Debian", "start again once npm reaches its registry"}, "ClientRequest"},
		"another failure":  {npm("echo 'npm error code E404' >&2; exit 1"), "auto", []string{"exit status 1: code E404.\nDo one of these:"}, ""},
		"a second line":    {npm("printf 'npm error code E404\\nnpm error 404 Not Found\\nnpm error A complete log of x\\n' >&2; exit 1"), "auto", []string{"exit status 1: code E404: 404 Not Found.\nDo one of these:"}, "complete log"},
		"a code and a log": {npm("printf 'npm error code E404\\nnpm error A complete log of x\\n' >&2; exit 1"), "auto", []string{"exit status 1: code E404.\nDo one of these:"}, ""},
		"silence":          {npm("exit 3"), "auto", []string{"exit status 3: it did not say why.\nDo one of these:"}, ""},
		"no npm":           {"/nowhere", "auto", []string{"npm, which could fetch a build, is not installed.\n", "install npm (Node.js) and leave"}, "unset"},
		"no npm, but told": {"/nowhere", "npm", []string{"is not installed.\nDo one of these:\n  unset TRIBUTARY_POSTGRES", "anywhere:       install npm (Node.js): a"}, "at auto"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := localpg.ObtainIn(t.Context(), localpg.Places{Path: c.path, Cache: filepath.Join(t.TempDir(), "17")}, c.source, quiet())
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
			if c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Errorf("%q in: %v", c.not, err)
			}
		})
	}
}

// Whoever interrupts the fetch is not told what to install.
func TestNPM_Interrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	begun := filepath.Join(dir, "begun")
	if err := syscall.Mkfifo(begun, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\necho >'"+begun+"'; exec sleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, _ = os.ReadFile(begun) // returns once npm has begun
		cancel()
	}()
	places := localpg.Places{Path: dir + ":/usr/bin:/bin", Cache: filepath.Join(t.TempDir(), "17")}
	if _, err := localpg.ObtainIn(ctx, places, "npm", quiet()); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "Do one of these") {
		t.Errorf("got %v", err)
	}
	if _, err := localpg.ObtainIn(ctx, places, "system", quiet()); !errors.Is(err, context.Canceled) {
		t.Errorf("already interrupted: %v", err)
	}
}

func TestInstall(t *testing.T) {
	t.Parallel()
	links := file{name: "package/native/pg-symlinks.json", body: `[{"source":"native/lib/liba.so.1","target":"native/lib/liba.so"}]`}
	lib := file{name: "package/native/lib/liba.so.1", body: "library"}
	for name, c := range map[string]struct {
		files []file
		sum   string // of the tarball itself where empty
		want  string // in the error; none where empty
	}{
		"good":                  {files: []file{lib, links, {name: "package/native/bin/postgres", body: "program", mode: 0o755}}},
		"corrupted":             {files: []file{lib, links}, sum: "hU4Sgna19ixDP/l3P/zkHhQ9", want: "not the pinned one"},
		"no list of links":      {files: []file{lib}, want: "pg-symlinks.json"},
		"a name that leads out": {files: []file{{name: "package/../../out"}, links}, want: "outside the package"},
		"an absolute name":      {files: []file{{name: "/out"}, links}, want: "outside the package"},
		"a link in the archive": {files: []file{{name: "package/out", kind: tar.TypeSymlink, link: "/etc"}, links}, want: "neither a file nor a folder"},
		"a listed link that leads out": {
			files: []file{lib, {name: links.name, body: `[{"source":"../../out","target":"native/lib/liba.so"}]`}},
			want:  "outside the package",
		},
		"the same name twice": {files: []file{lib, lib, links}, want: "exists"},
		"too large":           {files: []file{{name: "package/big", size: 1 << 40}}, want: "larger than any build"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tarball, sum := pack(t, dir, c.files)
			if c.sum != "" {
				sum = c.sum
			}
			folder := filepath.Join(dir, "installed")
			err := localpg.Install(tarball, sum, dir, folder)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v; want %q", err, c.want)
				}
				if _, err := os.Stat(folder); err == nil {
					t.Error("it was installed all the same")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if body, err := os.ReadFile(filepath.Join(folder, "native", "lib", "liba.so")); err != nil || string(body) != "library" {
				t.Errorf("through the link: %q, %v", body, err)
			}
			if info, err := os.Stat(filepath.Join(folder, "native", "bin", "postgres")); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("postgres: %v, %v", info, err)
			}
			if err := os.RemoveAll(filepath.Join(dir, "tree")); err != nil {
				t.Fatal(err)
			}
			if err := localpg.Install(tarball, sum, dir, folder); err != nil {
				t.Errorf("another process was faster: %v", err)
			}
		})
	}
}

type file struct {
	name, body, link string
	mode             int64 // 0644 where 0
	size             int64 // claimed, without a body
	kind             byte
}

// pack writes a tarball into dir and returns its SHA-512.
func pack(t *testing.T, dir string, files []file) (path, sum string) {
	t.Helper()
	var packed bytes.Buffer
	zipper := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zipper)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Typeflag: f.kind, Linkname: f.link, Mode: max(f.mode, 0o644), Size: max(f.size, int64(len(f.body)))}
		if header.Typeflag == 0 {
			header.Typeflag = tar.TypeReg
		}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(f.body)); err != nil {
			t.Fatal(err)
		}
	}
	_ = archive.Flush() // fails where a size was claimed only
	if err := zipper.Close(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "package.tgz")
	if err := os.WriteFile(path, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	hash := sha512.Sum512(packed.Bytes())
	return path, base64.StdEncoding.EncodeToString(hash[:])
}

func needsNPM(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("npm is not installed, and CI tests everything")
		}
		t.Skip("npm is not installed: the build that it fetches is not tested")
	}
}
