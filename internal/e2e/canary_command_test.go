package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/canary"
)

// A commandResult is what came of a command.
type commandResult struct {
	name, stdout, stderr string
	err                  error
}

func (r commandResult) wantDone(t *testing.T) {
	t.Helper()
	if r.err != nil {
		t.Fatalf("%s: %v\n%s", r.name, r.err, r.stderr)
	}
}

// command runs the program with that environment alone. What it says on stderr is kept, and on stdout too.
func (b *birdcage) command(t *testing.T, name string, environ []string, args ...string) commandResult {
	t.Helper()
	r := b.run(t, name, environ, args...)
	b.heard("stdout of "+name, []byte(r.stdout))
	return r
}

// made runs a command whose stdout is a secret, as it is meant to be.
func (b *birdcage) made(t *testing.T, name string, environ []string, args ...string) string {
	t.Helper()
	r := b.run(t, name, environ, args...)
	r.wantDone(t)
	return strings.TrimSpace(r.stdout)
}

func (b *birdcage) run(t *testing.T, name string, environ []string, args ...string) commandResult {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.dir, &stdout, &stderr
	cmd.Env = slices.Concat([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "TRIBUTARY_LOG_LEVEL=debug"}, environ)
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s", name, err, stderr.String())
	}
	b.heard("stderr of "+name, stderr.Bytes())
	return commandResult{name, stdout.String(), stderr.String(), err}
}

// A commandTry is a command, with what it is run with. made: its stdout is a secret, and it is meant to be.
type commandTry struct {
	name string
	env  []string
	args string
	made bool
}

// commandsElsewhere are commands whose secrets are all their own, or that have none.
var commandsElsewhere = map[string]string{
	"dev":   "it makes secrets and shows them to whoever started it; its log is searched by the test of tracing",
	"bench": "all its secrets are its own, and it runs for minutes",
}

// runCommands runs every command that can touch a secret, beside the process that serves.
func (b *birdcage) runCommands(t *testing.T, v *visitor) {
	t.Helper()
	tries := slices.Concat(b.goodCommands(t, v), b.wrongCommands(t, v), b.wrongEnvironments(t))
	ran := map[string]bool{}
	for _, try := range tries {
		args := strings.Split(try.args, " ")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "␠", " ") // a blank within an argument
		}
		ran[args[0]] = true
		if try.made {
			made := b.run(t, try.name, try.env, args...)
			made.wantDone(t)
			switch args[0] {
			case "keyset":
				b.learnKeyset(t, strings.TrimSpace(made.stdout))
			case "key":
				b.secret(t, "what key create printed", strings.TrimSpace(made.stdout))
			}
			continue
		}
		b.command(t, try.name, try.env, args...)
	}
	help := b.command(t, "help", nil, "--help").stdout
	_, list, _ := strings.Cut(help, "Commands:")
	named := 0
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "   ") {
			continue
		}
		named++
		if !ran[fields[0]] && commandsElsewhere[fields[0]] == "" {
			t.Errorf("the canary does not run %s", fields[0])
		}
	}
	if named < 12 {
		t.Errorf("help names %d commands: %s", named, help)
	}
}

// goodCommands are run as they should be.
func (b *birdcage) goodCommands(t *testing.T, v *visitor) []commandTry {
	t.Helper()
	owner := append(slices.Clone(b.env), "TRIBUTARY_OWNER_DATABASE_URL="+b.owner)
	trust := append(slices.Clone(b.env), "SSL_CERT_FILE="+b.dir+"/tls.pem")
	address := "https://" + strings.TrimPrefix(b.url, "https://")
	return []commandTry{
		{name: "config", env: owner, args: "config"},
		{name: "config --json", env: owner, args: "config --json"},
		{name: "doctor", env: owner, args: "doctor"},
		{name: "doctor --json", env: b.env, args: "doctor --json"},
		{name: "doctor --ready", env: append(slices.Clone(b.env), "TRIBUTARY_OPS_LISTEN="+strings.TrimPrefix(b.ops, "http://")), args: "doctor --ready"},
		{name: "serve, on ports that are taken", env: b.env, args: "serve"},
		{name: "serve, with the owner's URL", env: owner, args: "serve"},
		{name: "migrate status", env: owner, args: "migrate status"},
		{name: "migrate up", env: owner, args: "migrate up --login hub"},
		{name: "keyset new", args: "keyset new", made: true},
		{name: "keyset rotate", env: owner, args: "keyset rotate", made: true},
		{name: "keyset promote", env: owner, args: "keyset promote"}, // there is nothing to promote
		{name: "keyset reseal", env: owner, args: "keyset reseal"},
		{name: "keyset prune", env: owner, args: "keyset prune", made: true}, // all that there is
		{name: "key create", env: owner, args: "key create --operator --name second", made: true},
		{name: "key list", env: owner, args: "key list --operator"},
		{name: "epoch new", env: owner, args: "epoch new"},
		{name: "send", env: trust, args: "send stripe --url " + address + "/in/" + v.token + " --secret " + v.stripe + " --count 3"},
		{name: "send, refused", env: trust, args: "send stripe --url " + address + "/in/" + b.secret(t, "a token of send's", canary.Text()) + " --secret " + v.stripe},
		{name: "token", env: append(trust, "TRIBUTARY_URL="+address), args: "token --sub ann --claim x=" + b.secret(t, "a claim of token's", canary.Text())},
		{name: "openapi", args: "openapi"},
		{name: "version", args: "version"},
	}
}

// wrongCommands are given secrets where something else belongs.
func (b *birdcage) wrongCommands(t *testing.T, v *visitor) []commandTry {
	t.Helper()
	owner := append(slices.Clone(b.env), "TRIBUTARY_OWNER_DATABASE_URL="+b.owner)
	junk := func(what string) string { return b.mislay(t, "an argument: "+what) }
	var tries []commandTry
	for _, args := range []string{
		"key revoke --operator " + v.revoked, "key revoke --operator " + junk("key revoke"), "key revoke --operator key_" + junk("key revoke"), "key revoke " + junk("no --operator"),
		"key create --operator --name x --scope " + junk("--scope"), "key create --operator --name x --expires " + junk("--expires"), "key list --operator " + junk("key list"),
		"migrate " + junk("migrate"), "keyset " + junk("keyset"), "keyset rotate " + junk("keyset rotate"), "keyset new --keyset=" + junk("a flag"),
		"serve --roles " + junk("--roles"), "serve " + b.owner, "serve --database-url=" + b.owner, "config " + junk("config"), "doctor --" + junk("doctor"), "epoch " + junk("epoch"),
		"send " + junk("a provider"), "send stripe " + junk("a type") + " --url http://127.0.0.1:1/in/" + junk("a token") + " --secret " + v.stripe,
		"send stripe x " + junk("a further argument"), "send stripe --url https://u:" + junk("a password") + "@127.0.0.1:1/in/x --secret " + v.stripe,
		"send stripe --url http://127.0.0.1:x/" + junk("no URL") + " --secret " + v.stripe, "send stripe --url ::" + junk("no URL") + " --secret " + v.stripe,
		"send standard-webhooks --url " + b.url + "/in/x --secret " + junk("a secret of another form"), "send stripe --count " + junk("--count"), "send " + v.stripe, "send stripe --secret", "send --api-key=" + junk("a flag") + " stripe",
		"token --claim " + junk("a claim"), "token --ttl " + junk("--ttl"), "token --sub " + junk("--sub"), "token " + junk("token"),
		"openapi --format " + junk("--format"), "openapi --version " + junk("--version"), "version " + junk("version"),
		"verify stripe --secret-file " + junk("verify"), "listen --channel " + junk("listen"), junk("a command"), "--" + junk("a flag"), "help " + junk("help"),
	} {
		tries = append(tries, commandTry{name: strings.Join(strings.Fields(args)[:1], " ") + " wrongly", env: owner, args: args})
	}
	return tries
}
