package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

type keyCommand struct {
	Create keyCreate `cmd:"" help:"Make an operator's key and print it, once."`
	List   keyList   `cmd:"" help:"List operators' keys, without their values."`
	Revoke keyRevoke `cmd:"" help:"End an operator's key for good."`
}

// whose says of which kind of key a command speaks. Tenants' keys are the API's, which keeps their audit.
type whose struct {
	Operator bool `help:"Of operators; tenants' keys are made by the API: POST /v1/tenants/{tenant}/keys."`
}

// Validate is called by the parser.
func (w whose) Validate() error {
	if !w.Operator {
		return errors.New("say --operator: tenants' keys are made, listed and revoked by the API, at /v1/tenants/{tenant}/keys")
	}
	return nil
}

type keyCreate struct {
	whose
	Name    string    `required:"" help:"What the audit and lists call it."`
	Scope   []string  `placeholder:"S" sep:"none" help:"What it may do, such as tenants:read; all by default. Repeatable."`
	Expires *lifetime `placeholder:"720h" help:"How long it is good, in hours or in days (30d); for ever by default."`
	JSON    bool      `name:"json" help:"Print as JSON."`
}

// Help is shown below the flags.
func (keyCreate) Help() string {
	return `Straight in the database, as the owner of the schema: TRIBUTARY_OWNER_DATABASE_URL. Only its hash is stored.`
}

func (k keyCreate) Run(ctx context.Context, env Env) error {
	key := hub.Key{ID: hub.NewID[hub.KeyID](), Name: strings.TrimSpace(k.Name), Scopes: hub.OperatorScopes(), CreatedAt: time.Now()}
	if len(k.Scope) > 0 {
		key.Scopes = nil
	}
	for _, scope := range k.Scope {
		if !slices.Contains(hub.OperatorScopes(), hub.Scope(scope)) {
			return usageError{fmt.Errorf("--scope %s: there is no such scope, but %s", scope, joined(hub.OperatorScopes()))}
		}
		key.Scopes = append(key.Scopes, hub.Scope(scope))
	}
	switch {
	case key.Name == "":
		return usageError{errors.New("--name: a name that says nothing")}
	case hub.ValidateTitle("", key.Name) != nil:
		return usageError{errors.New("--name: at most 200 characters of one line")}
	case k.Expires != nil:
		key.ExpiresAt = new(key.CreatedAt.Add(time.Duration(*k.Expires)).UTC())
	}
	_, owner, err := env.owner()
	if err != nil {
		return err
	}
	value := hub.NewKey()
	if err := store.CreateOperatorKey(ctx, owner.Reveal(), store.HashedKey{Key: key, Hash: hub.HashToken(value)}); err != nil {
		return err
	}
	if k.JSON {
		shown := fromKey(key)
		shown.Key = value
		return json.NewEncoder(env.Stdout).Encode(shown)
	}
	if _, err := fmt.Fprintln(env.Stdout, value); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stderr, "This is the key %s, %s. It is not shown again.\n", key.ID, key.Name)
	return err
}

// A lifetime is how long something is good: more than no time.
type lifetime time.Duration

// UnmarshalText reads a duration as Go writes it, or whole days such as 30d.
func (l *lifetime) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if days, inDays := strings.CutSuffix(string(text), "d"); inDays {
		var n uint16
		_, err = fmt.Sscanf(days, "%d", &n)
		d = time.Duration(n) * 24 * time.Hour
	}
	switch {
	case err != nil:
		return fmt.Errorf("%q is no time such as 720h or 30d", text)
	case d <= 0:
		return fmt.Errorf("%s: it would be over already", text)
	}
	*l = lifetime(d)
	return nil
}

type keyList struct {
	whose
	JSON bool `name:"json" help:"Print as JSON."`
}

// A keyRow is an operator's key as it is printed.
type keyRow struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Scopes     []string   `json:"scopes"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
	RevokedAt  *time.Time `json:"revoked_at,omitempty"`
	Key        string     `json:"key,omitempty"` // where it was just made
}

func fromKey(k hub.Key) keyRow {
	row := keyRow{ID: k.ID.String(), Name: k.Name, CreatedAt: k.CreatedAt.UTC().Truncate(time.Second), ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt, RevokedAt: k.RevokedAt}
	for _, scope := range k.Scopes {
		row.Scopes = append(row.Scopes, string(scope))
	}
	return row
}

func (k keyList) Run(ctx context.Context, env Env) error {
	_, owner, err := env.owner()
	if err != nil {
		return err
	}
	keys, err := store.OperatorKeys(ctx, owner.Reveal())
	if err != nil {
		return err
	}
	rows := make([]keyRow, 0, len(keys))
	for _, key := range keys {
		rows = append(rows, fromKey(key))
	}
	if k.JSON {
		return json.NewEncoder(env.Stdout).Encode(rows)
	}
	return printKeys(env.Stdout, rows)
}

func printKeys(out io.Writer, rows []keyRow) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tNAME\tCREATED\tLAST USED\tENDS\tSCOPES") // an error comes back from Flush
	for _, row := range rows {
		ends := at(row.ExpiresAt, "never")
		if row.RevokedAt != nil {
			ends = "revoked " + at(row.RevokedAt, "")
		}
		scopes := strings.Join(row.Scopes, " ")
		if len(row.Scopes) == len(hub.OperatorScopes()) {
			scopes = "all"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", row.ID, row.Name, at(&row.CreatedAt, ""), at(row.LastUsedAt, "never"), ends, scopes)
	}
	return table.Flush()
}

func at(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return t.UTC().Format(time.RFC3339)
}

type keyRevoke struct {
	whose
	ID string `arg:"" help:"The key's id, key_…, as key list shows it."`
}

func (k keyRevoke) Run(ctx context.Context, env Env) error {
	id, err := hub.ParseID[hub.KeyID](k.ID)
	if err != nil {
		return usageError{fmt.Errorf("%q is not a key's id, such as key list --operator shows them", k.ID)}
	}
	_, owner, err := env.owner()
	if err != nil {
		return err
	}
	if err := store.RevokeOperatorKey(ctx, owner.Reveal(), id); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stderr, "%s is revoked; within 10 seconds no process takes it.\n", id)
	return err
}

func joined(scopes []hub.Scope) string {
	var names []string
	for _, scope := range scopes {
		names = append(names, string(scope))
	}
	return strings.Join(names, ", ")
}
