// Package cli is the command line: one file a command. It reads flags and the environment, calls what does the work,
// and says what came of it: data on stdout, talk on stderr, an exit code. It decides nothing else.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Env is all that a command has of the process that it runs in.
type Env struct {
	Args    []string // required: the program as the user called it, then the arguments
	Environ []string // name=value, as os.Environ gives it
	Stdin   io.Reader
	Stdout  io.Writer // required: data
	Stderr  io.Writer // required: talk, and the log
	Version string    // of the build; default what the build itself knows
}

// commands lists every command.
type commands struct {
	Dev     devCommand     `cmd:"" help:"Run the whole hub on this machine, with a Postgres, an OIDC issuer and a demo tenant of its own."`
	Send    sendCommand    `cmd:"" help:"Send a sample webhook, signed as its provider signs it."`
	Token   tokenCommand   `cmd:"" help:"Print an OIDC token of the development issuer."`
	OpenAPI openAPICommand `cmd:"" name:"openapi" help:"Print the OpenAPI document of the admin API."`
	Serve   serveCommand   `cmd:"" help:"Run a process of the hub in production."`
	Migrate migrateCommand `cmd:"" help:"Bring a database's schema to this build, or say where it is."`
	Keyset  keysetCommand  `cmd:"" help:"Make the keyset that seals secrets in the database, and change it while the hub runs."`
	Key     keyCommand     `cmd:"" help:"Make, list and revoke operators' keys."`
	Epoch   epochCommand   `cmd:"" help:"Say after a restore that positions may repeat."`
	Doctor  doctorCommand  `cmd:"" help:"Check this machine and its database, and say what to do."`
	Config  configCommand  `cmd:"" help:"Print the configuration in effect, without secrets."`
	Bench   benchCommand   `cmd:"" help:"Measure a hub of its own, beside what this machine's Postgres can do."`
	Version versionCommand `cmd:"" help:"Print which build this is."`
}

// Run runs the command of env.Args and returns the process's exit code: 0 done, 1 failed, 2 not understood. The end
// of ctx ends the command.
func Run(ctx context.Context, env Env) int {
	args := asked(env.Args[1:])
	if len(args) == 0 {
		return begin(ctx, env)
	}
	var all commands
	parser, err := newParser(ctx, &all, env)
	if err != nil {
		return report(env, err) // a mistake in the tags: every test sees it
	}
	if err := known(parser, args[0]); err != nil {
		return report(env, err)
	}
	parsed, err := parser.Parse(args)
	if errors.Is(err, errHelped) {
		return exitOK
	}
	if err != nil {
		return report(env, asUsage(err))
	}
	return report(env, parsed.Run(env))
}

// asked takes what people type at any program for what it is called here.
func asked(args []string) []string {
	switch {
	case len(args) > 0 && args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case len(args) > 0 && args[0] == "--version":
		return append([]string{"version"}, args[1:]...)
	}
	return args
}

// begin says what there is to whoever said nothing. It is talk, and not what a command was asked for.
func begin(ctx context.Context, env Env) int {
	Run(ctx, Env{Args: []string{env.Args[0], "--help"}, Stdout: env.Stderr, Stderr: env.Stderr})
	_, _ = fmt.Fprintf(env.Stderr, "\nBegin with `%s dev`: it starts a hub on this machine, and prints what to try.\n", env.Args[0])
	return exitUsage
}

// later are the commands of other versions, and what does their work in this one.
var later = map[string]string{
	"listen":    "`curl -N` reads a stream; `tributary dev` prints the line",
	"publisher": "its messages come of webhooks, by routes",
	"verify":    "the API verifies a captured request: see /docs/api#verifyWebhook of a hub",
}

// known says whether there is such a command, and if not, what there is. A flag is left to the parser.
func known(parser *kong.Kong, name string) error {
	var names []string
	for _, command := range parser.Model.Children {
		names = append(names, command.Name)
	}
	if strings.HasPrefix(name, "-") || slices.Contains(names, name) {
		return nil
	}
	if instead, ok := later[name]; ok {
		return usageError{fmt.Errorf("this version has no command %s: %s", name, instead)}
	}
	return usageError{fmt.Errorf("there is no command %q, but %s\n`tributary --help` says more", name, strings.Join(names, ", "))}
}

// errHelped ends the parsing once kong has printed what --help asks for: left alone it would exit.
var errHelped = errors.New("help was given")

func newParser(ctx context.Context, all *commands, env Env) (*kong.Kong, error) {
	return kong.New(all,
		kong.Name("tributary"),
		kong.Description("A multi-tenant hub: webhooks in, verified, routed, out to browsers as Server-Sent Events."),
		kong.Writers(env.Stdout, env.Stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Help(func(o kong.HelpOptions, k *kong.Context) error {
			return errors.Join(kong.DefaultHelpPrinter(o, k), errHelped)
		}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
}

// report says what came of a command and gives its exit code.
func report(env Env, err error) int {
	if err == nil {
		return exitOK
	}
	text := hub.Plain(err)
	_, misused := errors.AsType[usageError](err)
	if misused {
		text = withoutLong(text, env.Args[1:])
	}
	_, _ = fmt.Fprintf(env.Stderr, "%s: %s\n", program(env), text)
	if misused || hub.CodeOf(err) == hub.Invalid {
		return exitUsage
	}
	if _, ok := errors.AsType[config.Problems](err); ok {
		return exitUsage
	}
	return exitFailed
}

// flagForm is how flags are called.
var flagForm = regexp.MustCompile(`^--[a-z][a-z-]*$`)

// withoutLong shortens what a text repeats of the command line and is too long to be a slip of the pen: a secret that
// stands where an id or a name should.
func withoutLong(text string, args []string) string {
	const most, begin = 20, 4
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		for _, part := range []string{arg, name, value, strings.TrimLeft(name, "-")} {
			if len(part) <= most || flagForm.MatchString(part) || flagForm.MatchString("--"+part) {
				continue
			}
			for _, spelt := range []string{strings.Trim(strconv.Quote(part), `"`), part} {
				text = strings.ReplaceAll(text, spelt, part[:begin]+"…")
			}
		}
	}
	return text
}

// A usageError is a command line that was not understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// asUsage adds where help is to what kong says.
func asUsage(err error) error {
	help := "tributary --help"
	if parse, ok := errors.AsType[*kong.ParseError](err); ok && parse.Context != nil {
		if selected := parse.Context.Selected(); selected != nil {
			help = selected.FullPath() + " --help"
		}
	}
	if flag, _, bare := strings.Cut(err.Error(), ": expected "); bare && strings.HasSuffix(err.Error(), "(<EOL>)") {
		err = fmt.Errorf("%s needs a value", flag)
	}
	if before, _, quoted := strings.Cut(err.Error(), ": time: "); quoted { // which repeats a part of what was said
		err = errors.New(before)
	}
	return usageError{fmt.Errorf("%w\n`%s` says more", err, help)}
}

// program is what the user called.
func program(env Env) string { return filepath.Base(env.Args[0]) }

// logger is the process's logger, as the environment wants it.
func logger(env Env, c config.Config) *slog.Logger {
	return telemetry.NewLogger(telemetry.LogOptions{Output: env.Stderr, Level: c.LogLevel, Format: c.LogFormat, RequestID: problem.RequestID})
}

// config is what the environment says to dev and to what speaks to a hub.
func (e Env) config() (config.Config, error) { return config.Load(e.Environ) }

// service is what the environment says to what runs in production, and beside it.
func (e Env) service() (config.Config, error) { return config.LoadService(e.Environ) }
