package check_test

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var units = []string{"tributary.service", "tributary-migrate.service"}

// exposure is what `systemd-analyze security` may find, in tenths: the network, and the host's root folder, are what a
// hub needs.
const exposure = "11"

func TestSystemd_Verify(t *testing.T) {
	t.Parallel()
	needs(t, "systemd-analyze")
	hub, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	verify := func(change func(string) string) (string, error) {
		folder := t.TempDir()
		dropIn := filepath.Join(folder, "tributary.service.d")
		if err := errors.Join(os.Mkdir(dropIn, 0o755), os.WriteFile(filepath.Join(dropIn, "tls.conf"), []byte(change(read(t, "../systemd/tls.conf"))), 0o644)); err != nil {
			t.Fatal(err)
		}
		args := []string{"verify", "--man=no"}
		for _, unit := range units {
			path := filepath.Join(folder, unit)
			text := strings.ReplaceAll(change(read(t, "../systemd/"+unit)), "/usr/local/bin/tributary", hub)
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			args = append(args, path)
		}
		out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
		return string(out), err
	}
	if out, err := verify(asItIs); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("%v\n%s", err, out)
	}
	for name, change := range map[string]func(string) string{
		"a misspelt setting": func(s string) string { return strings.Replace(s, "LoadCredential=", "LoadCredentials=", 1) },
		"a wrong value": func(s string) string {
			return strings.Replace(s, "RestrictNamespaces=yes", "RestrictNamespaces=perhaps", 1)
		},
		"a wrong value in the drop-in": func(s string) string { return strings.Replace(s, "PrivateUsers=no", "PrivateUsers=never", 1) },
	} {
		if out, err := verify(change); err == nil && strings.TrimSpace(out) == "" {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestSystemd_Security(t *testing.T) {
	t.Parallel()
	needs(t, "systemd-analyze")
	for _, unit := range units {
		if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold="+exposure, "../systemd/"+unit).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
	weaker := filepath.Join(t.TempDir(), "weaker.service")
	if err := os.WriteFile(weaker, []byte(strings.Replace(read(t, "../systemd/tributary.service"), "PrivateDevices=yes", "PrivateDevices=no", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if exec.Command("systemd-analyze", "security", "--offline=true", "--threshold="+exposure, weaker).Run() == nil {
		t.Error("a weaker unit passes: the bound is too high")
	}
}

// The hub takes what each unit and its file of settings give it, and each secret that a variable names is a credential;
// with the drop-in and what that says of the file's settings too.
func TestSystemd_Environment(t *testing.T) {
	t.Parallel()
	public := map[string]string{}
	for _, line := range said(read(t, "../systemd/tributary.env")) {
		name, value, _ := strings.Cut(line, "=")
		public[name] = value
	}
	own := maps.Clone(public)
	own["TRIBUTARY_LISTEN"] = ":443"
	delete(own, "TRIBUTARY_TRUSTED_PROXIES")
	for name, c := range map[string]struct {
		files    []string
		settings map[string]string
	}{
		"hub":        {[]string{"tributary.service"}, public},
		"hub by TLS": {[]string{"tributary.service", "tls.conf"}, own},
		"migrations": {[]string{"tributary-migrate.service"}, map[string]string{}},
	} {
		environment := maps.Clone(c.settings)
		credentials := map[string]bool{}
		for _, file := range c.files {
			for _, line := range said(read(t, "../systemd/"+file)) {
				switch key, value, _ := strings.Cut(line, "="); key {
				case "Environment":
					variable, at, _ := strings.Cut(value, "=")
					environment[variable] = at
					if !credentials[at] || secretFiles[variable] == "" {
						t.Errorf("%s: %s=%s is none of %v", name, variable, at, credentials)
					}
				case "LoadCredential":
					credential, _, _ := strings.Cut(value, ":")
					credentials["%d/"+credential] = true
				}
			}
		}
		accepts(t, environment)
	}
}

// A hub that its database keeps from starting is started again; one that does not understand its settings is not.
func TestSystemd_Restart(t *testing.T) {
	t.Parallel()
	hub, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	unit := read(t, "../systemd/tributary.service")
	_, rest, _ := strings.Cut(unit, "\nRestartPreventExitStatus=")
	final, _, _ := strings.Cut(rest, "\n")
	for name, c := range map[string]struct {
		environment []string
		again       bool
	}{
		"nobody answers":     {[]string{"TRIBUTARY_DATABASE_URL=postgres://hub@127.0.0.1:1/hub", "TRIBUTARY_PUBLIC_URL=https://hub.example.com"}, true},
		"a misspelt setting": {[]string{"TRIBUTARY_LISEN=:8080"}, false},
	} {
		cmd := exec.Command(hub, "serve")
		cmd.Env, cmd.Dir = c.environment, t.TempDir()
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatalf("%s: it served", name)
		}
		if again := strconv.Itoa(cmd.ProcessState.ExitCode()) != final; again != c.again || !strings.Contains(unit, "\nRestart=always\n") {
			t.Errorf("%s: %v; that it is started again is %t, want %t\n%s", name, err, again, c.again, out)
		}
	}
}
