package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

type sendCommand struct {
	Provider string `arg:"" optional:"" help:"Who is to have sent it, such as stripe. --list shows all."`
	Type     string `arg:"" optional:"" help:"The event's type, such as payment_intent.succeeded; the provider's first sample by default."`
	List     bool   `help:"List providers and the types of their samples, and send nothing."`
	JSON     bool   `name:"json" help:"List as JSON."`
	URL      string `name:"url" help:"Endpoint to post to; by default the provider's in dev.json."`
	Secret   string `help:"Secret to sign with; by default the one in dev.json."`
	Body     string `placeholder:"FILE" help:"Send these bytes instead of a sample; - reads stdin."`
	Count    int    `default:"1" help:"Send so many events, one after the other, each another one."`
}

// Help is shown below the flags.
func (sendCommand) Help() string {
	return `Prints each answer of the hub. The exit code is 1 when one is no 2xx.

Without --url and --secret it sends to the hub whose dev.json is in TRIBUTARY_DATA_DIR, by default .tributary in this folder; TRIBUTARY_URL is another address of that hub.`
}

func (s sendCommand) Run(ctx context.Context, env Env) error {
	if s.List && s.Provider == "" {
		return s.list(env.Stdout, provider.All())
	}
	p, err := s.provider()
	if err != nil {
		return err
	}
	if s.List {
		return s.list(env.Stdout, []*provider.Provider{p})
	}
	if s.Count < 1 {
		return usageError{fmt.Errorf("--count %d: at least 1", s.Count)}
	}
	c, err := env.config()
	if err != nil {
		return err
	}
	to, err := s.target(c)
	if err != nil {
		return err
	}
	body, err := s.read(env.Stdin)
	if err != nil {
		return err
	}
	client := newClient()
	defer client.CloseIdleConnections()
	for n := range s.Count {
		if err := s.send(ctx, env, client, p, to, body); err != nil {
			if s.Count > 1 {
				return fmt.Errorf("%d of %d sent, then: %w", n, s.Count, err)
			}
			return err
		}
	}
	return nil
}

// provider finds the one that is meant.
func (s sendCommand) provider() (*provider.Provider, error) {
	if s.Provider == "" {
		return nil, usageError{errors.New("which provider? `tributary send --list` shows all")}
	}
	if p, ok := provider.Get(s.Provider); ok {
		return p, nil
	}
	names := map[string]bool{}
	for _, p := range provider.All() {
		names[p.Name] = true
	}
	return nil, usageError{fmt.Errorf("there is no provider %q, did you mean %q? `tributary send --list` shows all", s.Provider, config.Nearest(s.Provider, names))}
}

// A target is where the webhook goes, and what signs it.
type target struct{ url, secret string }

// target is what the flags say, and the endpoint in dev.json for the rest.
func (s sendCommand) target(c config.Config) (target, error) {
	to := target{url: s.URL, secret: s.Secret}
	if to.url != "" && to.secret != "" {
		return to, nil
	}
	file, err := readDev(c)
	if err != nil {
		return target{}, fmt.Errorf("%w, or say --url and --secret", err)
	}
	endpoint, ok := file.Endpoints[s.Provider]
	if !ok {
		return target{}, usageError{fmt.Errorf("the demo tenant has no endpoint for %s: make one, and say its --url and --secret", s.Provider)}
	}
	to.secret = cmp.Or(to.secret, endpoint.Secret)
	if to.url == "" {
		to.url = endpoint.URL
		if c.URL != nil { // the same hub, by another address
			to.url = c.URL.String() + strings.TrimPrefix(endpoint.URL, file.URL)
		}
	}
	if to.secret == "" {
		return target{}, usageError{fmt.Errorf("the demo tenant's endpoint %s has no active secret: add one, or say --secret", s.Provider)}
	}
	return to, nil
}

// read gives the bytes that --body names, nil where it is not said.
func (s sendCommand) read(stdin io.Reader) ([]byte, error) {
	var content []byte
	var err error
	switch s.Body {
	case "":
		return nil, nil
	case "-":
		content, err = io.ReadAll(stdin)
	default:
		content, err = os.ReadFile(s.Body)
	}
	if err != nil {
		return nil, fmt.Errorf("--body: %w", err)
	}
	if content == nil {
		content = []byte{}
	}
	return content, nil
}

// send makes one event, signs and posts it.
func (s sendCommand) send(ctx context.Context, env Env, client *http.Client, p *provider.Provider, to target, body []byte) error {
	now := time.Now()
	options := provider.SignOptions{Type: s.Type, Config: p.Example}
	if body == nil {
		sample, id, err := provider.Sample(p.Name, s.Type, now)
		if hub.CodeOf(err) == hub.NotFound {
			return usageError{err} // it lists those that there are
		}
		if err != nil {
			return err
		}
		body, options.ID = sample, id
		options.Type = cmp.Or(s.Type, provider.Samples(p.Name)[0])
	}
	header, err := p.Sign(to.secret, body, now, options)
	if err != nil {
		return err
	}
	got, err := post(ctx, client, to.url, header, body)
	if err != nil {
		return err
	}
	if len(got.body) > 0 {
		_, _ = fmt.Fprintln(env.Stdout, strings.TrimSuffix(string(got.body), "\n")) // a closed pipe stops the process
	}
	if !got.ok() {
		return got.refusal()
	}
	return nil
}

// A listed is a line of --list.
type listed struct {
	Provider string   `json:"provider"`
	Title    string   `json:"title"`
	Types    []string `json:"types"`
}

func (s sendCommand) list(w io.Writer, providers []*provider.Provider) error {
	all := []listed{}
	for _, p := range providers {
		if types := provider.Samples(p.Name); len(types) > 0 {
			all = append(all, listed{p.Name, p.Title, types})
		}
	}
	if s.JSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(all)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range all {
		for _, t := range l.Types {
			_, _ = fmt.Fprintf(table, "%s\t%s\n", l.Provider, t) // Flush tells
		}
	}
	return table.Flush()
}

// cause is a failed request's reason without its URL, whose path is a secret.
func cause(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
