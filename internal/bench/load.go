package bench

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is what one measurement gave.
type load struct {
	done    int
	took    time.Duration
	latency latencies
}

func (l load) perSecond() float64 { return float64(l.done) / l.took.Seconds() }

func (l load) quantile(q float64) time.Duration { return l.latency.quantile(q) }

// latencies are sorted once they are asked for.
type latencies []time.Duration

func (l latencies) quantile(q float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	if !slices.IsSorted(l) {
		slices.Sort(l)
	}
	return l[min(int(q*float64(len(l))), len(l)-1)]
}

// post sends distinct signed webhooks over that many connections, one after the other on each. It writes requests by
// hand: net/http's client would take more of the machine than the hub does.
func post(ctx context.Context, target, secret string, clients int, during time.Duration) (load, error) {
	u, err := url.Parse(target)
	if err != nil {
		return load{}, fmt.Errorf("parse the endpoint's URL: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, during)
	defer cancel()
	var (
		next   atomic.Int64
		mu     sync.Mutex // guards total and failed
		total  load
		failed error
		wait   sync.WaitGroup
	)
	began := time.Now()
	for range clients {
		wait.Go(func() {
			taken, err := postOver(ctx, u, secret, &next)
			mu.Lock()
			defer mu.Unlock()
			total.latency = append(total.latency, taken...)
			if err != nil && failed == nil {
				failed = err
			}
		})
	}
	wait.Wait()
	total.done, total.took = len(total.latency), time.Since(began)
	return total, failed
}

func postOver(ctx context.Context, u *url.URL, secret string, next *atomic.Int64) (latencies, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	var taken latencies
	in := bufio.NewReader(conn)
	for ctx.Err() == nil {
		request := signedRequest(u, secret, next.Add(1))
		began := time.Now()
		if _, err := conn.Write(request); err != nil {
			return taken, fmt.Errorf("send: %w", err)
		}
		if err := readAnswer(in); err != nil {
			return taken, err
		}
		taken = append(taken, time.Since(began))
	}
	return taken, nil
}

// signedRequest is a Stripe event of about 2 KB, signed as Stripe signs: t and HMAC-SHA256 of "t.body".
func signedRequest(u *url.URL, secret string, n int64) []byte {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	id := "evt_bench_" + strconv.FormatInt(time.Now().UnixNano(), 36) + "_" + strconv.FormatInt(n, 36)
	body := `{"id":"` + id + `","object":"event","type":"payment_intent.succeeded","created":` + now +
		`,"data":{"object":{"id":"pi_bench","amount":2000,"currency":"usd","customer":"cus_bench","description":"` + filler() + `"}}}`
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(now + "." + body))
	return []byte("POST " + u.Path + " HTTP/1.1\r\nHost: " + u.Host + "\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) +
		"\r\nStripe-Signature: t=" + now + ",v1=" + hex.EncodeToString(mac.Sum(nil)) + "\r\n\r\n" + body)
}

// filler makes an event as long as Stripe's are.
func filler() string { return strings.Repeat("The quick brown fox jumps over the lazy dog. ", 40) }

// readAnswer reads one answer with a Content-Length; anything but 200 is an error.
func readAnswer(in *bufio.Reader) error {
	status, err := in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	length := 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		if line = strings.TrimSpace(line); line == "" {
			break
		}
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(in, body); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if !strings.Contains(status, " 200 ") {
		return fmt.Errorf("a webhook was answered %s: %s", strings.TrimSpace(status), body)
	}
	return nil
}
