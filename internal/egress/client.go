package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ErrRemote is the one error for whatever a remote server did or failed to do. It says neither what nor where nor
// how fast, so that nobody can use the hub to look around a network: the log has that, at debug level.
var ErrRemote = errors.New("the remote server cannot be used")

// Options of a Client.
type Options struct {
	// Allow lists host:port, address:port or CIDR:port (IPv6 in brackets) that the guard lets pass, for internal
	// calls alone; default none.
	Allow []string
	// Timeout bounds one request, from its name's resolution to the last byte of the answer; default 10 s.
	Timeout time.Duration
	// MaxBody bounds an answer's body, in bytes; one byte more is an error. Default 256 KiB.
	MaxBody int64
	// Dev lets plain http and any port pass; by default https on 443 and 8443 alone.
	Dev bool
	// RootCAs verify servers' certificates; default the system's.
	RootCAs *x509.CertPool
	// Logger gets, at debug level, why a request failed; default none.
	Logger *slog.Logger
}

// Client asks others' servers. It follows no redirect and uses no proxy: either would have the request made by,
// or sent to, somebody whom the guard has not seen.
type Client struct {
	guarded  *http.Client
	internal *http.Client // a transport of its own, or a guarded call could find an exempt connection open
	maxBody  int64
	timeout  time.Duration
	dev      bool
	logger   *slog.Logger
}

// NewClient makes a Client; its error says which entry of Allow is not understood.
func NewClient(o Options) (*Client, error) {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.MaxBody == 0 {
		o.MaxBody = 256 << 10
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g, err := newGuard(o.Allow, o.Dev)
	if err != nil {
		return nil, err
	}
	return &Client{
		guarded:  newHTTPClient(g, false, o),
		internal: newHTTPClient(g, true, o),
		maxBody:  o.MaxBody,
		timeout:  o.Timeout,
		dev:      o.Dev,
		logger:   o.Logger,
	}, nil
}

func newHTTPClient(g *guard, exempt bool, o Options) *http.Client {
	return &http.Client{
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            g.dial(exempt),
			TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true, // requests to one server are minutes apart
			DisableCompression:     true, // what is counted is what is read
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// Get gives the body of a 200. Internal says that an operator made or marked the row that names this URL: then the
// exemptions apply. Every failure is ErrRemote.
func (c *Client) Get(ctx context.Context, rawURL string, internal bool) ([]byte, error) {
	u, err := c.parseURL(rawURL)
	if err != nil {
		c.logger.DebugContext(ctx, "egress request refused", "error", err)
		return nil, ErrRemote
	}
	body, err := c.get(ctx, u, internal)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // its own text repeats the URL, query and all
		}
		c.logger.DebugContext(ctx, "egress request failed", "host", u.Host, "internal", internal, "error", err)
		return nil, ErrRemote
	}
	return body, nil
}

func (c *Client) get(ctx context.Context, u *url.URL, internal bool) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "Tributary")
	client := c.guarded
	if internal {
		client = c.internal
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", response.StatusCode)
	}
	if response.ContentLength > c.maxBody {
		return nil, fmt.Errorf("a body of %d bytes is announced, at most %d are read", response.ContentLength, c.maxBody)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, c.maxBody+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > c.maxBody {
		return nil, fmt.Errorf("the body has more than %d bytes", c.maxBody)
	}
	return body, nil
}

// parseURL wants an absolute https URL without user and fragment; under Dev http as well. Its errors quote nothing.
func (c *Client) parseURL(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Scheme != "https" && !(c.dev && u.Scheme == "http"):
		return nil, errors.New("not an https URL")
	case u.Hostname() == "":
		return nil, errors.New("a URL without a host")
	case u.User != nil, strings.Contains(rawURL, "#"):
		return nil, errors.New("a URL with a user or a fragment")
	}
	return u, nil
}
