package check_test

import (
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

// The hub takes what the unit and its file of settings give it, and each secret that a variable names is a credential.
func TestSystemd_Environment(t *testing.T) {
	t.Parallel()
	for _, unit := range units {
		environment := map[string]string{}
		credentials := map[string]bool{}
		file := ""
		for line := range strings.Lines(read(t, "../systemd/"+unit)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch key {
			case "Environment":
				name, of, _ := strings.Cut(value, "=")
				environment[name] = of
			case "EnvironmentFile":
				file = value
			case "LoadCredential":
				name, _, _ := strings.Cut(value, ":")
				credentials["%d/"+name] = true
			case "User", "Group":
				t.Errorf("%s: runs as %s, who is there when it is not", unit, value)
			}
		}
		for name, value := range environment {
			if !credentials[value] || secretFiles[name] == "" {
				t.Errorf("%s: %s=%s is none of %v", unit, name, value, credentials)
			}
		}
		if file != "" {
			if file != "/etc/tributary/tributary.env" {
				t.Errorf("%s: settings are in %s", unit, file)
			}
			for line := range strings.Lines(read(t, "../systemd/tributary.env")) {
				if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
					environment[name] = value
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

// The two units are confined alike: systemd has no way to say it once.
func TestSystemd_Alike(t *testing.T) {
	t.Parallel()
	lines := func(unit string) string {
		_, confined, _ := strings.Cut(read(t, "../systemd/"+unit), "DynamicUser=")
		confined, _, _ = strings.Cut(confined, "\n[Install]")
		var kept []string
		for line := range strings.Lines(confined) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && line != "ProcSubset=pid" {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "\n")
	}
	if one, other := lines(units[0]), lines(units[1]); one != other {
		t.Errorf("they differ:\n%s\n\n%s", one, other)
	}
}
