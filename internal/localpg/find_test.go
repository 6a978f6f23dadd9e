package localpg_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/localpg"
)

func TestFind(t *testing.T) {
	t.Parallel()
	root := openDir(t)
	fake := func(name, version string) string { return fakePrograms(t, filepath.Join(root, name), version) }
	old, early, late, beta := fake("old", "14.9"), fake("16/bin", "16.2"), fake("17/bin", "17.10 (Debian 17.10-1)"), fake("18/bin", "18beta1")
	links := filepath.Join(root, "links")
	if err := os.Mkdir(links, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(early, "postgres"), filepath.Join(links, "postgres")); err != nil {
		t.Fatal(err)
	}
	clientsOnly := fake("clients", "18.1")
	if err := os.Remove(filepath.Join(clientsOnly, "initdb")); err != nil {
		t.Fatal(err)
	}
	packages := []string{filepath.Join(root, "*", "bin")}
	cache := filepath.Join(root, "cache")
	fetched := fakePrograms(t, filepath.Join(cache, "native", "bin"), "17.10")

	for name, c := range map[string]struct {
		places localpg.Places
		source string
		want   string
	}{
		"newest of packages":                {localpg.Places{Globs: packages}, "auto", beta},
		"PG_BINDIR":                         {localpg.Places{BinDir: early}, "", early},
		"newest wins over PG_BINDIR":        {localpg.Places{BinDir: early, Path: late}, "system", late},
		"a link in PATH":                    {localpg.Places{Path: "relative:" + links}, "system", early},
		"old and incomplete are passed by":  {localpg.Places{Path: old + ":" + clientsOnly + ":" + early}, "system", early},
		"the cluster's version":             {localpg.Places{Globs: packages, Major: 16}, "auto", early},
		"fetched where nothing is":          {localpg.Places{Cache: cache}, "auto", fetched},
		"fetched for the cluster's version": {localpg.Places{Path: early, Cache: cache, Major: 17}, "auto", fetched},
		"installed before fetched":          {localpg.Places{Path: early, Cache: cache}, "auto", early},
		"PG_BINDIR of another version":      {localpg.Places{BinDir: late, Path: early, Major: 16}, "auto", early},
		"npm passes PG_BINDIR by":           {localpg.Places{BinDir: "wrong", Cache: cache}, "npm", fetched},
		"npm":                               {localpg.Places{Path: early, Cache: cache}, "npm", fetched},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := localpg.FindIn(t.Context(), c.places, c.source)
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}

	for name, c := range map[string]struct {
		places localpg.Places
		source string
		want   []string
	}{
		"nothing":             {localpg.Places{}, "auto", []string{"no Postgres 15 or newer", "apt-get install postgresql", "dnf install postgresql-server", "brew install postgresql", "npm", "PG_BINDIR", "TRIBUTARY_POSTGRES", "TRIBUTARY_DATABASE_URL"}},
		"too old":             {localpg.Places{Path: old}, "auto", []string{"no Postgres 15 or newer", old + ": is Postgres 14"}},
		"no initdb":           {localpg.Places{Path: clientsOnly}, "system", []string{clientsOnly + ": has no initdb"}},
		"system, not fetched": {localpg.Places{Cache: cache}, "system", []string{"no Postgres 15 or newer"}},
		"another version":     {localpg.Places{Path: late, Major: 16}, "auto", []string{"made by Postgres 16", "Remove the data folder", late + ": is Postgres 17"}},
		"PG_BINDIR, too old":  {localpg.Places{BinDir: old, Path: late}, "auto", []string{"PG_BINDIR is", "is Postgres 14", "unset it"}},
		"PG_BINDIR, empty":    {localpg.Places{BinDir: root, Path: late, Cache: cache}, "auto", []string{"PG_BINDIR is", "has no postgres"}},
		"PG_BINDIR, relative": {localpg.Places{BinDir: "bin", Path: late}, "system", []string{`PG_BINDIR is "bin"`, "not an absolute path"}},
		"unknown source":      {localpg.Places{Path: late}, "brew", []string{"auto, system or npm"}},
	} {
		t.Run("error/"+name, func(t *testing.T) {
			t.Parallel()
			got, err := localpg.FindIn(t.Context(), c.places, c.source)
			if err == nil {
				t.Fatalf("got %q; want an error", got)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
		})
	}
}

// fakePrograms makes programs that know their version and nothing else.
func fakePrograms(t *testing.T, dir, version string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postgres", "initdb"} {
		script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %s'\n", name, version)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
