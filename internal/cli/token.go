package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/config"
)

type tokenCommand struct {
	Sub   string        `default:"demo" help:"Whom the token is about."`
	Claim []string      `placeholder:"NAME=VALUE" sep:"none" help:"A further claim; a value that is JSON is taken as such, other values are text. Repeatable."`
	TTL   time.Duration `name:"ttl" default:"1h" help:"How long it is good; a negative one, --ttl=-5m, has expired."`
}

// Help is shown below the flags.
func (tokenCommand) Help() string {
	return `Only tributary dev has such an issuer. It is the one of the hub whose dev.json is in TRIBUTARY_DATA_DIR, by default .tributary in this folder, or of the hub that TRIBUTARY_URL names.`
}

func (t tokenCommand) Run(ctx context.Context, env Env) error {
	claims, err := t.claims()
	if err != nil {
		return err
	}
	if t.TTL%time.Second != 0 {
		return usageError{fmt.Errorf("--ttl %s: whole seconds only", t.TTL)}
	}
	c, err := env.config()
	if err != nil {
		return err
	}
	issuer, err := t.issuer(c)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"sub": t.Sub, "claims": claims, "ttl": int64(t.TTL / time.Second)})
	if err != nil {
		return fmt.Errorf("ask for a token: %w", err)
	}
	client := newClient()
	defer client.CloseIdleConnections()
	got, err := post(ctx, client, issuer+"/token", http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return err
	}
	if !got.ok() {
		return got.refusal()
	}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(got.body, &token); err != nil || token.AccessToken == "" {
		return errors.New("what answers is no development issuer; only `tributary dev` has one")
	}
	_, err = fmt.Fprintln(env.Stdout, token.AccessToken)
	return err
}

func (t tokenCommand) issuer(c config.Config) (string, error) {
	if c.URL != nil {
		return c.URL.String() + "/dev/issuer", nil
	}
	file, err := readDev(c)
	return file.Issuer, err
}

// claims reads name=value: JSON where it is, so that lists and numbers can be said, else text.
func (t tokenCommand) claims() (map[string]json.RawMessage, error) {
	claims := map[string]json.RawMessage{}
	for _, claim := range t.Claim {
		name, value, ok := strings.Cut(claim, "=")
		if !ok || name == "" {
			return nil, usageError{fmt.Errorf("--claim %q: not of the form name=value", claim)}
		}
		if !json.Valid([]byte(value)) {
			quoted, err := json.Marshal(value)
			if err != nil {
				return nil, fmt.Errorf("--claim %s: %w", name, err)
			}
			value = string(quoted)
		}
		claims[name] = json.RawMessage(value)
	}
	return claims, nil
}
