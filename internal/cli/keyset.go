package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/keyset"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

type keysetCommand struct {
	New     keysetNewCommand     `cmd:"" help:"Print a fresh keyset."`
	Rotate  keysetRotateCommand  `cmd:"" help:"Print the keyset with a new key, which opens and does not seal yet."`
	Promote keysetPromoteCommand `cmd:"" help:"Print the keyset with its newest key as the one that seals, once every node has that key."`
	Reseal  keysetResealCommand  `cmd:"" help:"Seal what is stored anew, with the key that seals now."`
	Prune   keysetPruneCommand   `cmd:"" help:"Print the keyset without the keys that seal nothing any more, once nothing that is stored needs them."`
}

type (
	keysetNewCommand     struct{}
	keysetRotateCommand  struct{}
	keysetPromoteCommand struct{}
	keysetResealCommand  struct{}
	keysetPruneCommand   struct{}
)

// ofKeyset is what the commands that change a keyset read.
const ofKeyset = `The keyset is the one of TRIBUTARY_KEYSET or TRIBUTARY_KEYSET_FILE, as the nodes have it.`

// ofDatabase is what those that ask the database read besides.
const ofDatabase = ofKeyset + ` The database is that of TRIBUTARY_OWNER_DATABASE_URL, with its owner's login.`

// Help is shown below the flags.
func (keysetRotateCommand) Help() string { return ofKeyset }

// Help is shown below the flags.
func (keysetPromoteCommand) Help() string { return ofDatabase }

// Help is shown below the flags.
func (keysetResealCommand) Help() string {
	return ofDatabase + ` It may be ended and run again at any time, while the hub runs.`
}

// Help is shown below the flags.
func (keysetPruneCommand) Help() string { return ofDatabase }

func (keysetNewCommand) Run(env Env) error {
	made, err := secret.NewKeyset()
	if err != nil {
		return err
	}
	return printKeyset(env, made, "Set it as TRIBUTARY_KEYSET, or in a file as TRIBUTARY_KEYSET_FILE, for every node, and keep a copy apart from the database: without it no secret in there opens again.")
}

func (keysetRotateCommand) Run(env Env) error {
	encoded, err := keysetOf(env)
	if err != nil {
		return err
	}
	rotated, err := secret.Rotate(encoded)
	if err != nil {
		return err
	}
	return printKeyset(env, rotated, "Give it to every node and restart them one by one. Then run `tributary keyset promote` with it.")
}

func (keysetPromoteCommand) Run(ctx context.Context, env Env) error {
	owner, encoded, err := keysetAndOwner(env)
	if err != nil {
		return err
	}
	promoted, err := keyset.Promote(ctx, owner, encoded)
	if err != nil {
		return err
	}
	return printKeyset(env, promoted, "Give it to every node and restart them one by one. Then run `tributary keyset reseal` with it.")
}

func (keysetPruneCommand) Run(ctx context.Context, env Env) error {
	owner, encoded, err := keysetAndOwner(env)
	if err != nil {
		return err
	}
	pruned, err := keyset.Prune(ctx, owner, encoded)
	if err != nil {
		return err
	}
	return printKeyset(env, pruned, "Give it to every node and restart them one by one. Keep the old keyset as long as you keep backups of the database that were made before now.")
}

func (keysetResealCommand) Run(ctx context.Context, env Env) error {
	owner, encoded, err := keysetAndOwner(env)
	if err != nil {
		return err
	}
	anew, failed := 0, 0
	var said time.Time
	err = keyset.Reseal(ctx, owner, encoded, func(r store.Resealed) {
		if !r.Done && time.Since(said) < time.Second {
			return
		}
		said = time.Now()
		_, _ = fmt.Fprintf(env.Stderr, "%s: %d looked at, %d sealed anew\n", r.Column, r.Seen, r.Anew)
		if r.Done {
			anew, failed = anew+r.Anew, failed+r.Failed
		}
	})
	if err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d values do not open with any key of this keyset and stay as they are, %d were sealed anew: run it again with the keyset that has their keys", failed, anew)
	}
	_, _ = fmt.Fprintf(env.Stderr, "All that is stored is sealed by the key that seals now; %d values were sealed anew. Once every node has this keyset, run `tributary keyset prune` with it.\n", anew)
	return nil
}

// printKeyset prints it, alone, and says what to do with it.
func printKeyset(env Env, encoded secret.String, next string) error {
	if _, err := fmt.Fprintln(env.Stdout, encoded.Reveal()); err != nil {
		return fmt.Errorf("print the keyset: %w", err)
	}
	_, _ = fmt.Fprintln(env.Stderr, next)
	return nil
}

func keysetOf(env Env) (secret.String, error) {
	c, err := env.service()
	if err == nil && c.Keyset.IsZero() {
		err = config.Problems{noKeyset}
	}
	return c.Keyset, err
}

const (
	noKeyset   = "TRIBUTARY_KEYSET: not set, nor TRIBUTARY_KEYSET_FILE; `tributary keyset new` prints a keyset"
	noDatabase = "TRIBUTARY_OWNER_DATABASE_URL: not set; it is the URL of the database that the keyset seals for, with its owner's login"
)

func keysetAndOwner(env Env) (owner string, encoded secret.String, err error) {
	c, err := env.service()
	if err != nil {
		return "", secret.String{}, err
	}
	url, _ := c.Owner()
	var problems config.Problems
	if c.Keyset.IsZero() {
		problems = append(problems, noKeyset)
	}
	if url.IsZero() {
		problems = append(problems, noDatabase)
	}
	if len(problems) > 0 {
		return "", secret.String{}, problems
	}
	return url.Reveal(), c.Keyset, nil
}
