package feed_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/tmaxmax/go-sse"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// patience bounds every wait of a test for something that must come.
const patience = 20 * time.Second

// A rig is a feed on a database of its own, and one tenant's log.
type rig struct {
	*feed.Feed
	db       *storetest.DB
	registry *prometheus.Registry
	options  feed.Options
	said     *journal
	log      *messageLog
}

// start makes a rig. Without a listener nothing wakes the feed but its polls and what the test says.
func start(t testing.TB, listening bool, adjust func(*feed.Options)) *rig {
	t.Helper()
	r := &rig{db: storetest.New(t), registry: prometheus.NewRegistry(), said: &journal{}}
	r.options = feed.Options{
		Log: slog.New(slog.NewJSONHandler(r.said, nil)), Metrics: r.registry, Store: r.db.Pipeline,
		Epoch: func(ctx context.Context) (hub.Epoch, error) {
			epoch, err := r.db.Pipeline.Epoch(ctx)
			return hub.Epoch(epoch), err
		},
	}
	if adjust != nil {
		adjust(&r.options)
	}
	r.Feed = feed.New(r.options)
	first := r.Feed // a test may put another in its place
	r.db.Pipeline.OnEpoch(func(epoch string) { first.EpochIs(hub.Epoch(epoch)) })
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop(t, r.Stop)
	if listening {
		l, err := backplane.NewListener(backplane.Options{
			URL: r.db.URL, Log: canary.Logger(t), Metrics: r.registry, OnWake: r.Wake, OnConnect: r.Reconnected,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop(t, l.Stop)
		if err := l.CheckHears(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.log = newLog(t, r.db)
	return r
}

// A journal keeps what was logged.
type journal struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(line))
	return len(line), nil
}

// with gives the lines that contain a text.
func (j *journal) with(text string) (found []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

func stop(t testing.TB, fn func(context.Context) error) {
	t.Helper()
	t.Cleanup(func() {
		if err := fn(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func (r *rig) epoch(t testing.TB) hub.Epoch {
	t.Helper()
	epoch, err := r.db.Pipeline.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return hub.Epoch(epoch)
}

func (r *rig) cursor(t testing.TB, p hub.Position) string {
	t.Helper()
	return hub.Cursor{Epoch: r.epoch(t), Position: p}.String()
}

// metric is the value of a counter, a gauge, or a histogram's count: of the one with that label, or where it is "" of all
// together.
func (r *rig) metric(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labelled := slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == label })
			if family.GetName() == "tributary_feed_"+name && (label == "" || labelled) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// counted waits until a metric has at least that value, or has gone down to 0.
func (r *rig) counted(t testing.TB, name, label string, want float64) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	timeout := time.After(patience)
	for {
		if n := r.metric(t, name, label); n == want || want > 0 && n > want {
			return
		}
		select {
		case <-look.C:
		case <-timeout:
			t.Fatalf("%s is %v, want %v", name, r.metric(t, name, label), want)
		}
	}
}

// messageLog is one tenant's log and what a test put into it.
type messageLog struct {
	db     *storetest.DB
	tenant hub.TenantID

	mu       sync.Mutex // guards channels
	channels []string   // by position - 1
}

func newLog(t testing.TB, db *storetest.DB) *messageLog {
	t.Helper()
	l := &messageLog{db: db, tenant: hub.NewID[hub.TenantID]()}
	db.Exec(t, `INSERT INTO tributary.tenants (id, slug, name) VALUES ($1, $2, 'feed')`, l.tenant, "t"+uuid.NewString())
	return l
}

// append adds a message to each channel, in order, in one unit.
func (l *messageLog) append(t testing.TB, channels ...string) {
	t.Helper()
	l.appendSized(t, 1, channels...)
}

func (l *messageLog) appendSized(t testing.TB, size int, channels ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	messages := make([]hub.Message, len(channels))
	for i, c := range channels {
		data := fmt.Sprintf(`{"nth":%d,"pad":%q}`, len(l.channels)+i+1, strings.Repeat("x", size))
		messages[i] = hub.Message{ID: hub.NewID[hub.MessageID](), Channel: c, Type: "test", Data: []byte(data)}
	}
	placed, err := l.db.Pipeline.Append(t.Context(), []hub.Unit{{Tenant: l.tenant, Messages: messages}})
	if err != nil {
		t.Fatal(err)
	}
	if want := hub.Position(len(l.channels) + 1); placed[0].First != want {
		t.Fatalf("placed at %d, want %d", placed[0].First, want)
	}
	l.channels = append(l.channels, channels...)
}

// appendWithHole adds messages as append does, but for the one at a position: a fault that the hub must never make.
func (l *messageLog) appendWithHole(t testing.TB, hole hub.Position, channels ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.channels) > 0 {
		t.Fatal("only into an empty log")
	}
	l.channels = channels
	l.db.Exec(t, `
		WITH made AS (
			INSERT INTO tributary.messages (tenant_id, position, at, id, channel, type, data)
			SELECT $1, position, now(), gen_random_uuid(), channel, 'test', 'null'
			  FROM unnest($2::text[]) WITH ORDINALITY AS m(channel, position) WHERE position <> $3
		), day AS (
			INSERT INTO tributary.log_days (tenant_id, first_position, day, at) VALUES ($1, 1, now()::date, now())
		)
		INSERT INTO tributary.log_heads (tenant_id, position, at, day_start) VALUES ($1, cardinality($2::text[]), now(), 1)`, l.tenant, channels, hole)
}

// appendEarlier adds a message whose time is before that of the log's head: a fault that the hub must never make.
func (l *messageLog) appendEarlier(t testing.TB, channel string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.channels = append(l.channels, channel)
	l.db.Exec(t, `
		WITH head AS (
			UPDATE tributary.log_heads SET position = position + 1 WHERE tenant_id = $1 RETURNING position, at
		)
		INSERT INTO tributary.messages (tenant_id, position, at, id, channel, type, data)
		SELECT $1, position, at - interval '1 microsecond', gen_random_uuid(), $2, 'test', 'null' FROM head`, l.tenant, channel)
}

// fillBusy writes a log of two busy channels, over so many days, whose first messages are of the channels quiet:1,
// quiet:2 and so on, one of each. Nothing else was appended to it, and nothing may be.
func (r *rig) fillBusy(t testing.TB, days int, quiet, rows hub.Position, size int) {
	t.Helper()
	if _, err := r.db.Pipeline.MakePartitions(t.Context(), time.Now().AddDate(0, 0, -days), time.Now()); err != nil {
		t.Fatal(err)
	}
	r.db.Exec(t, `
		INSERT INTO tributary.messages (tenant_id, position, at, id, channel, type, data)
		SELECT $1, p, now() - (1 - p::float8 / $2) * ($3::int - 1) * interval '1 day', gen_random_uuid(),
		       CASE WHEN p <= $5 THEN 'quiet:' || p ELSE 'busy:' || p % 2 END, 'test', convert_to('"' || repeat('x', $4) || '"', 'UTF8')
		  FROM generate_series(1, $2::bigint) AS p`, r.log.tenant, rows, days, size, quiet)
	r.db.Exec(t, `
		INSERT INTO tributary.log_days (tenant_id, first_position, day, at)
		SELECT tenant_id, min(position), (at AT TIME ZONE 'UTC')::date, min(at) FROM tributary.messages WHERE tenant_id = $1 GROUP BY 1, 3`, r.log.tenant)
	r.db.Exec(t, `
		INSERT INTO tributary.log_heads (tenant_id, position, at, day_start)
		SELECT tenant_id, max(position), max(at), max(position) FROM tributary.messages WHERE tenant_id = $1 GROUP BY 1`, r.log.tenant)
	r.db.Exec(t, `VACUUM ANALYZE tributary.messages`)
}

// fill puts into the log what appendWithHole left out.
func (l *messageLog) fill(t testing.TB, hole hub.Position) {
	t.Helper()
	l.db.Exec(t, `
		INSERT INTO tributary.messages (tenant_id, position, at, id, channel, type, data)
		SELECT $1, $2, at, gen_random_uuid(), $3, 'test', 'null' FROM tributary.log_heads WHERE tenant_id = $1`, l.tenant, hole, l.channels[hole-1])
}

// cut takes the log back to an earlier head, as a restore does.
func (l *messageLog) cut(t testing.TB, head hub.Position) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.channels = l.channels[:head]
	l.db.Exec(t, `
		WITH gone AS (DELETE FROM tributary.messages WHERE tenant_id = $1 AND position > $2)
		UPDATE tributary.log_heads SET position = $2 WHERE tenant_id = $1`, l.tenant, head)
}

func (l *messageLog) head() hub.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return hub.Position(len(l.channels))
}

// of lists the positions of the filter's messages behind after, up to through.
func (l *messageLog) of(filter []hub.ChannelPattern, after, through hub.Position) []hub.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	var positions []hub.Position
	for p := after + 1; p <= through; p++ {
		if slices.ContainsFunc(filter, func(c hub.ChannelPattern) bool { return c.Matches(l.channels[p-1]) }) {
			positions = append(positions, p)
		}
	}
	return positions
}

// A subscriber reads one subscription, and checks as it reads that no id claims what was not sent.
type subscriber struct {
	*feed.Subscription
	log    *messageLog
	filter []hub.ChannelPattern

	from   hub.Position // the stream goes on after it
	known  bool         // whether from is: not before a reset
	got    []hub.Position
	frames []*frame.Frame
	events []sse.Event
}

func (r *rig) subscribe(t testing.TB, start feed.Start, channels ...hub.ChannelPattern) *subscriber {
	t.Helper()
	return r.subscribeTo(t, feed.Request{Tenant: r.log.tenant, Channels: channels, Start: start})
}

func (r *rig) subscribeTo(t testing.TB, request feed.Request) *subscriber {
	t.Helper()
	sub, err := r.Subscribe(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	s := &subscriber{Subscription: sub, log: r.log, filter: request.Channels}
	if from := sub.Opening().From; from != nil {
		s.from, s.known = from.Position, true
	}
	return s
}

// until pulls until the frames that came satisfy done.
func (s *subscriber) until(t testing.TB, what string, done func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for !done() {
		select {
		case <-s.Ready():
			s.pull(t)
		case <-timeout:
			t.Fatalf("waiting for %s: got %v, frames %v", what, s.got, s.names())
		}
	}
}

// pull calls Next once and checks what it got.
func (s *subscriber) pull(t testing.TB) {
	t.Helper()
	batch, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range batch.Frames {
		s.take(t, f)
	}
	if cursor, ok := s.Cursor(); ok {
		s.check(t, "Cursor", cursor)
	}
}

func (s *subscriber) take(t testing.TB, f *frame.Frame) {
	t.Helper()
	event := parse(t, f)
	cursor, err := hub.ParseCursor(event.LastEventID)
	if err != nil {
		t.Fatalf("%s with the id %q: %v", event.Type, event.LastEventID, err)
	}
	switch event.Type {
	case "hub.reset":
		s.from, s.known, s.got = cursor.Position, true, nil
	case "hub.live":
	default:
		if n := len(s.got); n > 0 && cursor.Position <= s.got[n-1] {
			t.Errorf("%d after %d", cursor.Position, s.got[n-1])
		}
		s.got = append(s.got, cursor.Position)
	}
	s.frames = append(s.frames, f)
	s.events = append(s.events, event)
	s.check(t, event.Type, cursor)
}

// check sees that everything up to the cursor has come, no more and no less.
func (s *subscriber) check(t testing.TB, what string, cursor hub.Cursor) {
	t.Helper()
	if !s.known {
		t.Fatalf("%s claims %s before there is a place", what, cursor)
	}
	if want := s.log.of(s.filter, s.from, cursor.Position); !slices.Equal(want, s.got) && len(want)+len(s.got) > 0 {
		t.Fatalf("%s claims %s: got %v, want %v", what, cursor, s.got, want)
	}
}

func (s *subscriber) live(t testing.TB) {
	t.Helper()
	s.until(t, "hub.live", func() bool { return len(s.events) > 0 && slices.Contains(s.names(), "hub.live") })
}

func (s *subscriber) gets(t testing.TB, last hub.Position) {
	t.Helper()
	s.until(t, fmt.Sprintf("message %d", last), func() bool { return slices.Contains(s.got, last) })
}

// ended waits for the subscription's end and gives its error. Nothing may come before.
func (s *subscriber) ended(t testing.TB) error {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case <-s.Ready():
		case <-timeout:
			t.Fatal("the subscription does not end")
		}
		batch, err := s.Next(t.Context())
		if err != nil {
			return err
		}
		if len(batch.Frames) > 0 {
			t.Errorf("%d frames before the end", len(batch.Frames))
		}
	}
}

func (s *subscriber) names() []string {
	var names []string
	for _, e := range s.events {
		names = append(names, e.Type)
	}
	return names
}

// last is the data of the last frame of a type.
func (s *subscriber) last(t testing.TB, name string) map[string]any {
	t.Helper()
	for _, e := range slices.Backward(s.events) {
		if e.Type == name {
			var data map[string]any
			if err := json.Unmarshal([]byte(e.Data), &data); err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
	t.Fatalf("no %s among %v", name, s.names())
	return nil
}

func parse(t testing.TB, f *frame.Frame) sse.Event {
	t.Helper()
	var parsed sse.Event
	for event, err := range sse.Read(strings.NewReader(string(f.SSE())), &sse.ReadConfig{MaxEventSize: 4 << 20}) {
		if err != nil {
			t.Fatal(err)
		}
		parsed = event
	}
	return parsed
}
