package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// compose reads compose.yaml as Compose does, its schema first; change may break it before that.
func compose(t *testing.T, environment map[string]string, change func(string) string) (*types.Project, error) {
	t.Helper()
	folder, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return composeIn(t, folder, environment, change)
}

// composeIn does so as if it stood in that folder.
func composeIn(t *testing.T, folder string, environment map[string]string, change func(string) string) (*types.Project, error) {
	t.Helper()
	return loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  folder,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(folder, "compose.yaml"), Content: []byte(change(read(t, "../compose.yaml")))}},
		Environment: environment,
	}, loader.WithProfiles([]string{"*"}))
}

func asItIs(s string) string { return s }

// The hub takes what each service gives it.
func TestCompose_Environment(t *testing.T) {
	t.Parallel()
	p, err := compose(t, map[string]string{"TRIBUTARY_PUBLIC_URL": "https://hub.example.com"}, asItIs)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hub", "migrate", "keyset"} {
		environment := map[string]string{}
		for key, value := range p.Services[name].Environment {
			environment[key] = *value
		}
		accepts(t, environment)
	}
}

// What hub.env says reaches all that run the hub's program, and what compose.yaml itself sets stays; a misspelt setting
// is refused. There may be no such file.
func TestCompose_Settings(t *testing.T) {
	t.Parallel()
	for content, ok := range map[string]bool{"TRIBUTARY_RETENTION=48h\nTRIBUTARY_TRUSTED_PROXIES=172.16.0.0/12\nTRIBUTARY_PUBLIC_URL=http://other.example.com\n": true, "TRIBUTARY_RETENTON=48h\n": false} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "hub.env"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := composeIn(t, folder, map[string]string{"TRIBUTARY_PUBLIC_URL": "https://hub.example.com"}, asItIs)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"hub", "migrate", "keyset"} {
			environment := map[string]string{}
			for key, value := range p.Services[name].Environment {
				environment[key] = *value
			}
			if err := judge(t, environment); (err == nil) != ok {
				t.Errorf("%s with %q: %v", name, content, err)
			}
			if ok && (environment["TRIBUTARY_RETENTION"] != "48h" || environment["TRIBUTARY_TRUSTED_PROXIES"] != "172.16.0.0/12") {
				t.Errorf("%s has %v", name, environment)
			}
		}
		if got := p.Services["hub"].Environment["TRIBUTARY_PUBLIC_URL"]; *got != "https://hub.example.com" {
			t.Errorf("the hub's address is %s", *got)
		}
		if len(p.Services["postgres"].EnvFiles) != 0 {
			t.Error("Postgres reads the hub's settings")
		}
	}
}

// What is misspelt or forgotten is refused, and so is a hub that has no address.
func TestCompose_IsStrict(t *testing.T) {
	t.Parallel()
	named := map[string]string{"TRIBUTARY_PUBLIC_URL": "https://hub.example.com"}
	for name, change := range map[string]func(string) string{
		"a misspelt key": func(s string) string { return strings.Replace(s, "read_only:", "readonly:", 1) },
		"an unknown secret": func(s string) string {
			return strings.Replace(s, "[database_url, keyset]", "[database_url, keyring]", 1)
		},
		"an unknown service": func(s string) string {
			return strings.Replace(s, "      migrate:\n        condition", "      migrations:\n        condition", 1)
		},
		"an unknown network":  func(s string) string { return strings.Replace(s, "[database, outside]", "[databases, outside]", 1) },
		"a value of no sense": func(s string) string { return strings.Replace(s, "interval: 5s", "interval: five", 1) },
	} {
		if change(read(t, "../compose.yaml")) == read(t, "../compose.yaml") {
			t.Errorf("%s: nothing was changed", name)
		}
		if _, err := compose(t, named, change); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := compose(t, map[string]string{}, asItIs); err == nil || !strings.Contains(err.Error(), "TRIBUTARY_PUBLIC_URL") {
		t.Errorf("without an address: %v", err)
	}
}

// No password stands in the repository, and what makes them is told to git.
func TestCompose_Secrets(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"secrets", ".env", "hub.env"} {
		if !strings.Contains(read(t, root+"/.gitignore"), "/deploy/"+path) {
			t.Errorf("git does not ignore deploy/%s", path)
		}
	}
	source := read(t, "../compose.yaml") + read(t, "../postgres/roles.sh")
	for _, wrong := range []string{"POSTGRES_PASSWORD:", "POSTGRES_HOST_AUTH_METHOD", "PASSWORD '"} {
		if strings.Contains(source, wrong) {
			t.Errorf("a password in plain sight: %s", wrong)
		}
	}
	for _, script := range []string{"../secrets.sh", "../postgres/roles.sh"} {
		if info, err := os.Stat(script); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s cannot be run: %v", script, err)
		}
	}
}
