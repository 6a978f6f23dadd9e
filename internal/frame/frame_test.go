package frame_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tmaxmax/go-sse"

	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
)

const epoch = hub.Epoch("0badcafe")

var (
	at     = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	cursor = hub.Cursor{Epoch: epoch, Position: 7}
)

func TestFrames(t *testing.T) {
	t.Parallel()
	connection := hub.NewID[hub.ConnectionID]()
	tests := []struct {
		name  string
		frame *frame.Frame
		want  string // what goes over the wire
	}{
		{
			"message",
			frame.Message(epoch, logged(`{"amount":1200}`)),
			"event: payment_success\nid: 0badcafe-7\ndata: {\"amount\":1200}\n\n",
		},
		{
			"message without data",
			frame.Message(epoch, logged("")),
			"event: payment_success\nid: 0badcafe-7\ndata: null\n\n",
		},
		{
			"message with line ends between tokens",
			frame.Message(epoch, logged("{\"a\":\r\n1,\n\"b\":\r2}")),
			"event: payment_success\nid: 0badcafe-7\ndata: {\"a\":\ndata: 1,\ndata: \"b\":\ndata: 2}\n\n",
		},
		{
			"ready",
			frame.Ready(frame.ReadyData{Connection: connection, Identity: "abc", Channels: []string{"user:1"}, Position: 9, ExpiresAt: at}, &cursor),
			"event: hub.ready\nid: 0badcafe-7\ndata: {\"connection\":\"" + connection.String() +
				"\",\"identity\":\"abc\",\"channels\":[\"user:1\"],\"position\":9,\"expires_at\":\"2026-01-02T03:04:05Z\"}\n\n",
		},
		{
			"ready with nothing known",
			frame.Ready(frame.ReadyData{Connection: connection}, nil),
			"event: hub.ready\ndata: {\"connection\":\"" + connection.String() + "\",\"identity\":\"\",\"channels\":[],\"position\":0}\n\n",
		},
		{"live", frame.Live(cursor), "event: hub.live\nid: 0badcafe-7\ndata: {\"position\":7}\n\n"},
		{"ping", frame.Ping(at, &cursor), "event: hub.ping\nid: 0badcafe-7\ndata: {\"time\":\"2026-01-02T03:04:05.678Z\"}\n\n"},
		{"ping before there is a place", frame.Ping(at, nil), "event: hub.ping\ndata: {\"time\":\"2026-01-02T03:04:05.678Z\"}\n\n"},
		{
			"reset",
			frame.Reset(frame.ResetRetention, "0badcafe-3", 7, &cursor),
			"event: hub.reset\nid: 0badcafe-7\ndata: {\"reason\":\"retention\",\"requested\":\"0badcafe-3\",\"position\":7}\n\n",
		},
		{
			"reset that repeats what a client made up",
			frame.Reset(frame.ResetMalformed, "x\ndata: y\r\nid: 9\x00", 7, nil),
			"event: hub.reset\ndata: {\"reason\":\"malformed\",\"requested\":\"x\\ndata: y\\r\\nid: 9\\u0000\",\"position\":7}\n\n",
		},
		{"expiring", frame.Expiring(at), "event: hub.expiring\ndata: {\"expires_at\":\"2026-01-02T03:04:05Z\"}\n\n"},
		{
			"one of a self-test",
			frame.Selftest(3, at, 500*time.Millisecond),
			"event: hub.selftest\ndata: {\"number\":3,\"sent\":1767323045678,\"interval\":500}\n\n",
		},
		{"bye", frame.Bye(frame.ByeDrain, 1500*time.Millisecond), "event: hub.bye\nretry: 1500\ndata: {\"reason\":\"drain\"}\n\n"},
		{"bye with a time that is no time", frame.Bye(frame.ByeLimit, -time.Second), "event: hub.bye\nretry: 0\ndata: {\"reason\":\"limit\"}\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, string(tt.frame.SSE())); diff != "" {
				t.Error(diff)
			}
			event := parse(t, tt.frame.SSE())
			if !json.Valid([]byte(event.Data)) {
				t.Errorf("data is not JSON: %q", event.Data)
			}
			if size := tt.frame.Size(); size < len(tt.frame.SSE())-32 || size > len(tt.frame.SSE())+64 {
				t.Errorf("size %d for %d bytes", size, len(tt.frame.SSE()))
			}
		})
	}
}

func TestSSEEnvelope(t *testing.T) {
	t.Parallel()
	full := logged("{\"a\":\n1}")
	full.Event = hub.NewID[hub.EventID]()
	full.Key = "clé \u2028 \"x\""
	tests := []struct {
		name    string
		version hub.Version
		message hub.Logged
		want    map[string]any
	}{
		{"bare", hub.Version{}, logged(`null`), map[string]any{"data": nil}},
		{"with all", hub.Version{Number: new(int64(1) << 40)}, full, map[string]any{
			"data": map[string]any{"a": 1.0}, "event": full.Event.String(), "key": full.Key, "version": float64(1 << 40),
		}},
		{"with a version that is text", hub.Version{Text: new("v\n2")}, full, map[string]any{
			"data": map[string]any{"a": 1.0}, "event": full.Event.String(), "key": full.Key, "version": "v\n2",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.message.Version = tt.version
			event := parse(t, frame.Message(epoch, tt.message).SSEEnvelope())
			if event.Type != "" || event.LastEventID != "0badcafe-7" {
				t.Errorf("event %q, id %q", event.Type, event.LastEventID)
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(event.Data), &got); err != nil {
				t.Fatalf("data %q: %v", event.Data, err)
			}
			tt.want["id"] = tt.message.ID.String()
			tt.want["position"] = 7.0
			tt.want["at"] = "2026-01-02T03:04:05.678Z"
			tt.want["channel"] = "customer:cus_1"
			tt.want["type"] = "payment_success"
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}

	t.Run("the hub's own frames are the same", func(t *testing.T) {
		t.Parallel()
		f := frame.Live(cursor)
		if diff := cmp.Diff(string(f.SSE()), string(f.SSEEnvelope())); diff != "" {
			t.Error(diff)
		}
	})
}

// What a type or an epoch holds must never end its line, nor make a message pass as a frame of the hub.
func TestMessage_Refused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a b", "a\nid: 9", "a\rb", "a\x00b", "é", "hub.reset", "open", "error", strings.Repeat("x", 129)} {
		m := logged(`1`)
		m.Type = name
		if got := string(frame.Message(epoch, m).SSE()); got != "id: 0badcafe-7\ndata: 1\n\n" {
			t.Errorf("type %q gives %q", name, got)
		}
		event := parse(t, frame.Message(epoch, m).SSEEnvelope())
		var item struct{ Type string }
		if err := json.Unmarshal([]byte(event.Data), &item); err != nil || item.Type != name {
			t.Errorf("type %q in the envelope: %q, %v", name, item.Type, err)
		}
	}
	for _, name := range []string{"generation.done", "progress", "~"} {
		m := logged(`1`)
		m.Type = name
		if got := parse(t, frame.Message(epoch, m).SSE()).Type; got != name {
			t.Errorf("type %q gives %q", name, got)
		}
	}
	for _, bad := range []hub.Epoch{"", "0badcaf\n", "0badcafe\nevent: x", "0BADCAFE", "0badcafe\x00"} {
		f := frame.Message(bad, logged(`1`))
		if got := string(f.SSE()); got != "event: payment_success\ndata: 1\n\n" {
			t.Errorf("epoch %q gives %q", bad, got)
		}
		live := frame.Live(hub.Cursor{Epoch: bad, Position: 1})
		if strings.Contains(string(live.SSE()), "id:") {
			t.Errorf("epoch %q gives %q", bad, live.SSE())
		}
	}
}

func TestReset_RequestedIsCut(t *testing.T) {
	t.Parallel()
	for _, requested := range []string{strings.Repeat("é", 500), strings.Repeat("\xff", 500), strings.Repeat("x", 500)} {
		event := parse(t, frame.Reset(frame.ResetMalformed, requested, 0, nil).SSE())
		var data struct{ Requested string }
		if err := json.Unmarshal([]byte(event.Data), &data); err != nil || len(data.Requested) > 128 {
			t.Errorf("%d bytes of %q, %v", len(data.Requested), data.Requested, err)
		}
	}
}

func TestFrame_Shared(t *testing.T) {
	t.Parallel()
	f := frame.Message(epoch, logged(`{"a":1}`))
	var wg sync.WaitGroup
	plain, envelope := make([][]byte, 16), make([][]byte, 16)
	for i := range plain {
		wg.Go(func() { plain[i], envelope[i] = f.SSE(), f.SSEEnvelope() })
	}
	wg.Wait()
	for i := range plain {
		if &plain[i][0] != &plain[0][0] || &envelope[i][0] != &envelope[0][0] {
			t.Fatal("encoded more than once")
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, data := range []string{
		`null`, `"x"`, ` {"a": 1} `, "{\n\"a\":\r\n1\r}", "\n\n1\n\n", "\r1\r", "[\"\u2028\u2029\ufeff\", \"\U0001f9ea\"]",
		`"data: x\n\nevent: hub.bye\n\n"`, "{\"a\":1}\n", `"\u0000"`, `:`, `"` + strings.Repeat("x", 1<<20-2) + `"`,
		"[" + strings.Repeat("\r", 1<<16) + "]",
	} {
		f.Add([]byte(data), "payment", "user:1", "k")
	}
	f.Fuzz(func(t *testing.T, data []byte, typ, channel, key string) {
		if !json.Valid(data) {
			t.Skip("the doors take JSON only")
		}
		m := logged(string(data))
		m.Type, m.Channel, m.Key = typ, channel, key
		fr := frame.Message(epoch, m)

		event := parse(t, fr.SSE())
		if wire := len(fr.SSE()); fr.Size() < wire-32 {
			t.Errorf("size %d for %d bytes", fr.Size(), wire)
		}
		if diff := cmp.Diff(compact(t, data), compact(t, []byte(event.Data))); diff != "" {
			t.Error(diff)
		}
		if !bytes.ContainsRune(data, '\r') && event.Data != string(data) {
			t.Errorf("%q came out as %q", data, event.Data)
		}
		if hub.ValidateType(typ) == nil && event.Type != typ {
			t.Errorf("type %q came out as %q", typ, event.Type)
		}

		var item struct{ Data json.RawMessage }
		if err := json.Unmarshal([]byte(parse(t, fr.SSEEnvelope()).Data), &item); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(compact(t, data), compact(t, item.Data)); diff != "" {
			t.Error(diff)
		}
	})
}

func BenchmarkMessage(b *testing.B) {
	for _, size := range []int{200, 16 << 10, 1 << 20} {
		m := logged(`"` + strings.Repeat("x", size) + `"`)
		b.Run("plain/"+strconv.Itoa(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				frame.Message(epoch, m).SSE()
			}
		})
		b.Run("envelope/"+strconv.Itoa(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				frame.Message(epoch, m).SSEEnvelope()
			}
		})
	}
}

func logged(data string) hub.Logged {
	return hub.Logged{
		Message:  hub.Message{ID: hub.NewID[hub.MessageID](), Channel: "customer:cus_1", Type: "payment_success", Data: []byte(data)},
		Position: 7,
		At:       at,
	}
}

// parse reads one frame, and nothing else, with a parser that is not ours.
func parse(t *testing.T, wire []byte) sse.Event {
	t.Helper()
	var events []sse.Event
	for event, err := range sse.Read(bytes.NewReader(wire), &sse.ReadConfig{MaxEventSize: 16 << 20}) {
		if err != nil {
			t.Fatalf("parse: %v", err)
		}
		events = append(events, event)
	}
	if len(events) != 1 {
		t.Fatalf("%d events in one frame: %.200q", len(events), wire)
	}
	return events[0]
}

func compact(t *testing.T, data []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, data); err != nil {
		t.Fatalf("%.200q is not JSON: %v", data, err)
	}
	return out.String()
}
