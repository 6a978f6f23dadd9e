package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A collector takes spans by OTLP over HTTP, as protobuf. OpenTelemetry's own client of it reads the process's
// environment behind our back, tells its errors with the URL in them, follows redirects with the headers' credentials
// and brings gRPC along.
type collector struct {
	endpoint string
	headers  http.Header
	gzip     bool
	timeout  time.Duration
	client   *http.Client

	patient context.Context    //nolint:containedctx // the collector's own: while it lasts, what failed is tried again
	hurry   context.CancelFunc // ends it
	life    context.Context    //nolint:containedctx // likewise: while it lasts, requests are made
	cut     context.CancelFunc // ends it, and those under way
}

// The times between two tries of one batch, unless the collector names one.
const (
	firstWait = 500 * time.Millisecond
	maxWait   = 5 * time.Second
)

func newCollector(o TraceOptions) (*collector, error) {
	c := &collector{endpoint: o.Endpoint.String(), headers: o.Headers.Clone(), gzip: o.Gzip, timeout: o.Timeout}
	if c.timeout <= 0 {
		c.timeout = 10 * time.Second
	}
	if c.headers == nil {
		c.headers = http.Header{}
	}
	c.headers.Set("Content-Type", "application/x-protobuf")
	if c.gzip {
		c.headers.Set("Content-Encoding", "gzip")
	}
	secured := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.Certificates != nil {
		secured.RootCAs = x509.NewCertPool()
		if !secured.RootCAs.AppendCertsFromPEM(o.Certificates) {
			return nil, errors.New("the certificates of the collector's authorities are not PEM")
		}
	}
	c.client = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: secured, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the headers are for this collector
	}
	c.life, c.cut = context.WithCancel(context.Background())
	c.patient, c.hurry = context.WithCancel(c.life)
	return c, nil
}

// Start has nothing to do: connections are made when they are needed.
func (c *collector) Start(context.Context) error { return nil }

// Stop has nothing to do: cut ends what is under way.
func (c *collector) Stop(context.Context) error { return nil }

// UploadTraces sends a batch, again and again while that may help and there is time.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	body, err := c.encode(spans)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		after, err := c.post(ctx, body)
		if err == nil || after == never {
			return err
		}
		pause := time.NewTimer(max(wait, after))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		case <-c.patient.Done():
			pause.Stop()
			return err
		}
	}
}

// encode makes the body. On the wire TracesData is what OTLP's request is, which comes with gRPC.
func (c *collector) encode(spans []*tracepb.ResourceSpans) ([]byte, error) {
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil || !c.gzip {
		return body, err
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err = z.Write(body)
	err = errors.Join(err, z.Close()) // which writes the rest
	return out.Bytes(), err
}

// never is when another try will help: a refusal stays one.
const never time.Duration = -1

// post tries once. Its error names neither the headers nor the URL; after is when another try may help.
func (c *collector) post(ctx context.Context, body []byte) (after time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return never, errors.New("the collector's address makes no request")
	}
	r.Header = c.headers
	res, err := c.client.Do(r)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err
		}
		return 0, fmt.Errorf("the collector is not reached: %w", err)
	}
	defer func() { _ = res.Body.Close() }()                      // only read
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	switch {
	case res.StatusCode < 300:
		return 0, nil
	case res.StatusCode == http.StatusTooManyRequests, res.StatusCode == http.StatusBadGateway,
		res.StatusCode == http.StatusServiceUnavailable, res.StatusCode == http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		after = time.Duration(max(seconds, 0)) * time.Second
	default:
		after = never
	}
	return after, fmt.Errorf("the collector answers %d", res.StatusCode)
}
