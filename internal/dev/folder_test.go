package dev_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/dev"
)

func TestFolder_KeepsWhatItHas(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first := openFolder(t, dir)
	value, err := first.Keep("node-id", func() (string, error) { return "one", nil })
	if err != nil || value != "one" {
		t.Fatalf("first keep: %q, %v", value, err)
	}
	first.Close()

	second := openFolder(t, dir)
	value, err = second.Keep("node-id", func() (string, error) { return "two", nil })
	if err != nil || value != "one" {
		t.Errorf("second keep: %q, %v; want what the first kept", value, err)
	}
}

func TestFolder_AfterAKill(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files map[string]string // what was there when the process died
		gone  []string
	}{
		{"before anything was written", map[string]string{}, nil},
		{"while the first file was made", map[string]string{".gitignore": ""}, nil},
		{"while a value was written", map[string]string{".gitignore": "*\n", "node-id.new-17": "ha"}, []string{"node-id.new-17"}},
		{"by a system without a disk cache", map[string]string{".gitignore": "*\n", "node-id": ""}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, content := range tt.files {
				write(t, filepath.Join(dir, name), content)
			}
			f := openFolder(t, dir)
			value, err := f.Keep("node-id", func() (string, error) { return "fresh", nil })
			if err != nil || value != "fresh" {
				t.Errorf("keep: %q, %v; want a fresh value", value, err)
			}
			for _, name := range tt.gone {
				if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is still there: %v", name, err)
				}
			}
		})
	}
}

func TestFolder_IsClosedToOthers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	f := openFolder(t, dir)
	if _, err := f.Keep("keyset", func() (string, error) { return "secret", nil }); err != nil {
		t.Fatal(err)
	}
	want := map[string]os.FileMode{".": 0o700, ".gitignore": 0o600, "keyset": 0o600, "lock": 0o600}
	if os.Geteuid() == 0 {
		want["."] = 0o711
	}
	got := map[string]os.FileMode{}
	for name := range want {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = info.Mode().Perm()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("modes (-want +got):\n%s", diff)
	}
	ignore, err := os.ReadFile(filepath.Join(dir, ".gitignore"))
	if err != nil || string(ignore) != "*\n" {
		t.Errorf(".gitignore: %q, %v", ignore, err)
	}
}

func TestFolder_LeavesOthersAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".gitignore"), "node_modules\n")
	write(t, filepath.Join(dir, "package.json"), "{}")
	if _, err := dev.OpenFolder(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "holds something else") {
		t.Errorf("a project's folder: %v", err)
	}
	ignore, err := os.ReadFile(filepath.Join(dir, ".gitignore"))
	if err != nil || string(ignore) != "node_modules\n" {
		t.Errorf("its .gitignore: %q, %v", ignore, err)
	}
}

func TestFolder_HasOneUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := openFolder(t, dir)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dev.OpenFolder(cancelled, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("a start that is cancelled while it waits: %v", err)
	}
	if _, err := dev.OpenFolder(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("a second user: %v", err)
	}
	first.Close()
	openFolder(t, dir)
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := dev.ReadFile(dir); err == nil || !strings.Contains(err.Error(), "there is no") {
		t.Errorf("no file: %v", err)
	}
	write(t, filepath.Join(dir, dev.FileName), `{"operator_key": "trb_secret`)
	if _, err := dev.ReadFile(dir); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a broken file: %v", err)
	}
}

func openFolder(t *testing.T, dir string) dev.Folder {
	t.Helper()
	f, err := dev.OpenFolder(t.Context(), dir)
	if err != nil {
		t.Fatalf("open the data folder: %v", err)
	}
	t.Cleanup(f.Close)
	return f
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
