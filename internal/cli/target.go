package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/dev"
	"github.com/tributary-hub/tributary/internal/hub"
)

// maxAnswer bounds what is read of an answer; the hub's own are far smaller.
const maxAnswer = 1 << 20

// readDev reads the dev.json of the data folder that the environment names.
func readDev(c config.Config) (dev.File, error) {
	file, err := dev.ReadFile(c.DataDir)
	if hub.CodeOf(err) == hub.NotFound {
		return dev.File{}, fmt.Errorf("%w: start a hub here with `tributary dev`, or name the folder of one that runs in TRIBUTARY_DATA_DIR", err)
	}
	return file, err
}

func newClient() *http.Client {
	return &http.Client{
		Timeout:       time.Minute,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a webhook's sender follows none
	}
}

// An answer is what came back, read whole.
type answer struct {
	status int
	body   []byte
}

func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

func post(ctx context.Context, client *http.Client, url string, header http.Header, body []byte) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, usageError{errors.New("the hub's address is not a URL")} // the cause would show its token
	}
	request.Header = header
	response, err := client.Do(request)
	if err != nil {
		return answer{}, fmt.Errorf("no hub answers at %s: %w; is one running?", request.URL.Host, cause(err))
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	read, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("the hub at %s began to answer and broke off: %w", request.URL.Host, err)
	}
	return answer{status: response.StatusCode, body: read}, nil
}

// refusal is an answer that is no 2xx in one sentence, made of the problem where there is one.
func (a answer) refusal() error {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
		Cause  string `json:"cause"`
	}
	if json.Unmarshal(a.body, &p) != nil || p.Code == "" {
		return fmt.Errorf("the hub answered %d %s", a.status, http.StatusText(a.status))
	}
	text := p.Code
	if p.Cause != "" {
		text += ", " + p.Cause
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	return fmt.Errorf("the hub answered %d (%s): %s", a.status, text, p.Detail)
}
