package bench

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// The load of the latency: 50 webhooks a second, for ten seconds.
const (
	latencyRate  = 50
	latencyCount = 500
)

// latency measures from the first byte of a POST to the frame in a subscriber's stream.
func (r *run) latency(ctx context.Context, h *hub) error {
	r.o.Log.InfoContext(ctx, "measuring", "what", "POST to frame", "rate", latencyRate)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	frames, err := watch(ctx, h)
	if err != nil {
		return err
	}
	u, err := url.Parse(h.endpoint.URL)
	if err != nil {
		return fmt.Errorf("parse the endpoint's URL: %w", err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()

	var mu sync.Mutex // guards sent
	sent := map[string]time.Time{}
	failed := make(chan error, 1)
	go func() {
		in := bufio.NewReader(conn)
		tick := time.NewTicker(time.Second / latencyRate)
		defer tick.Stop()
		for n := range latencyCount {
			<-tick.C
			request := signedRequest(u, h.endpoint.Secret, int64(n))
			mu.Lock()
			sent[eventID(string(request))] = time.Now()
			mu.Unlock()
			if _, err := conn.Write(request); err != nil {
				failed <- fmt.Errorf("send: %w", err)
				return
			}
			if err := readAnswer(in); err != nil {
				failed <- err
				return
			}
		}
	}()
	r.rate = latencyRate
	for len(r.lag) < latencyCount {
		select {
		case f := <-frames:
			mu.Lock()
			if at, ok := sent[eventID(f.data)]; ok {
				r.lag = append(r.lag, f.at.Sub(at))
			}
			mu.Unlock()
		case err := <-failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%d of %d frames came: %w", len(r.lag), latencyCount, ctx.Err())
		}
	}
	return nil
}

// A frame is the data of one message and when it came.
type frame struct {
	data string
	at   time.Time
}

// watch subscribes to the endpoint's channel and returns once the stream is open.
func watch(ctx context.Context, h *hub) (<-chan frame, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.dev.URL+"/stream/"+h.dev.Tenant+"?channel=demo:stripe", nil)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+h.dev.TenantKey)
	res, err := new(http.Client).Do(req) //nolint:bodyclose // by whoever reads the frames
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("subscribe: answered %s", res.Status)
	}
	in := bufio.NewReaderSize(res.Body, 64<<10)
	if _, err := in.ReadString('\n'); err != nil {
		res.Body.Close()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	frames := make(chan frame, latencyCount)
	go func() {
		defer res.Body.Close()
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return // ctx is done, or the hub is
			}
			if data, ok := strings.CutPrefix(line, "data:"); ok && strings.Contains(data, "evt_bench_") {
				frames <- frame{data: data, at: time.Now()}
			}
		}
	}()
	return frames, nil
}

// eventID finds the id of a benchmark's event in a text.
func eventID(text string) string {
	_, rest, ok := strings.Cut(text, "evt_bench_")
	if !ok {
		return ""
	}
	id, _, _ := strings.Cut(rest, `"`)
	return id
}
