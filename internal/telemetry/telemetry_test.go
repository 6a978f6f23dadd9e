package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/telemetry"
)

// The canary stands for a secret: wherever it is put, the log must not have it.
const canary = "c4n4ryc4n4ryc4n4ry"

func TestNewLogger_Redacts(t *testing.T) {
	t.Parallel()
	jwt := "eyJhbGciOiJSUzI1NiJ9." + canary + "." + canary
	tests := []struct {
		name string
		attr slog.Attr
		keep string // what must still be there
	}{
		{"key of the API", slog.String("detail", "key trb_"+canary+" is bad"), "is bad"},
		{"bearer token", slog.String("detail", "sent bearer "+canary+" twice"), "twice"},
		{"token of an issuer", slog.Any("error", errors.New("verify "+jwt+": expired")), ": expired"},
		{"endpoint's URL", slog.String("detail", "POST https://hub.example/in/"+canary+"?x=1"), "/in/REDACTED?x=1"},
		{"signing secret", slog.String("detail", "whsec_"+canary), "whsec_REDACTED"},
		{"ticket in a query", slog.String("detail", "/stream/demo?channel=a&ticket="+canary+"&x=1"), "channel=a&ticket=REDACTED&x=1"},
		{"password of a database URL", slog.Any("error", errors.New("dial postgres://hub:"+canary+"@db:5432/x")), "@db:5432/x"},
		{"password with an @ in it", slog.String("detail", "postgres://hub:p@"+canary+"@db:5432/x"), "@db:5432/x"},
		{"password of a keyword string", slog.String("detail", "host=db password='"+canary+" "+canary+"' dbname=x"), "dbname=x"},
		{"name that promises a secret", slog.String("endpoint_token", canary), "REDACTED"},
		{"name of a part of the request", slog.String("path", "/in/"+canary), "REDACTED"},
		{"bytes under such a name", slog.Any("secret", []byte(canary)), "REDACTED"},
		{"bytes", slog.Any("event", []byte(canary)), "REDACTED"},
		{"header", slog.Any("got", http.Header{"X-Sig": {canary}}), "REDACTED"},
		{"URL", slog.Any("target", &url.URL{Scheme: "https", Host: "x", Path: canary}), "REDACTED"},
		{"struct", slog.Any("got", struct{ Auth, Name string }{"Basic " + canary, "n"}), "n"},
		{"in a group", slog.Group("a", slog.Group("b", slog.String("cookie", canary))), "REDACTED"},
	}
	for _, tt := range tests {
		for _, format := range []string{telemetry.FormatText, telemetry.FormatJSON} {
			t.Run(tt.name+" as "+format, func(t *testing.T) {
				t.Parallel()
				var out bytes.Buffer
				log := telemetry.NewLogger(telemetry.LogOptions{Output: &out, Format: format})
				log.Info("something happened", tt.attr)
				log.With(tt.attr).Info("something happened")
				log.WithGroup("g").Info("something happened", tt.attr)
				if strings.Contains(out.String(), canary) {
					t.Errorf("the canary is in %s", out.String())
				}
				if got := strings.Count(jsonUnescaped(out.String()), tt.keep); got < 3 {
					t.Errorf("%q is missing in %s", tt.keep, out.String())
				}
			})
		}
	}

	t.Run("in the message", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		telemetry.NewLogger(telemetry.LogOptions{Output: &out}).Info("bad trb_" + canary)
		if strings.Contains(out.String(), canary) {
			t.Error(out.String())
		}
	})
}

func TestNewLogger_Keeps(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := telemetry.NewLogger(telemetry.LogOptions{Output: &out, Format: telemetry.FormatJSON})
	log.Error("append failed", "event", "evt_0198c0de-0000-7000-8000-000000000000", "tokens", 7, "took", time.Second,
		"route", "POST /in/{token}", "error", errors.New("flush: lock timeout"), "counts", []int{1, 2})

	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.RFC3339Nano, got["time"].(string)); err != nil {
		t.Error(err)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "ERROR", "msg": "append failed", "event": "evt_0198c0de-0000-7000-8000-000000000000", "tokens": 7.0,
		"took": 1e9, "route": "POST /in/{token}", "error": "flush: lock timeout", "counts": []any{1.0, 2.0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNewLogger_Options(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		level  slog.Leveler
		format string
		want   string // the beginning of the first line
	}{
		{"auto without a terminal is json", nil, "", `{"time":`},
		{"auto by name", nil, telemetry.FormatAuto, `{"time":`},
		{"text", nil, telemetry.FormatText, `time=`},
		{"level above", slog.LevelWarn, telemetry.FormatText, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			log := telemetry.NewLogger(telemetry.LogOptions{Output: &out, Level: tt.level, Format: tt.format})
			log.Debug("unseen")
			log.Info("seen")
			if got := out.String(); !strings.HasPrefix(got, tt.want) || strings.Contains(got, "unseen") || tt.want == "" && got != "" {
				t.Errorf("wrote %q", got)
			}
		})
	}
}

func TestNewRegistry(t *testing.T) {
	t.Parallel()
	families, err := telemetry.NewRegistry("v1.2.3").Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
	}
	for _, name := range []string{"go_goroutines", "process_start_time_seconds"} {
		if !names[name] {
			t.Errorf("no metric %s", name)
		}
	}
}

func BenchmarkAccessRecord(b *testing.B) {
	log := telemetry.NewLogger(telemetry.LogOptions{Output: &discard{}, Format: telemetry.FormatJSON})
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(b.Context(), slog.LevelInfo, "request", slog.String("route", "POST /in/{token}"), slog.String("method", "POST"),
			slog.Int("status", 200), slog.Int64("bytes", 52), slog.Duration("duration", 1234567),
			slog.String("request_id", "req_0198c0de-0000-7000-8000-000000000000"), slog.String("client", "203.0.113.7"))
	}
}

type discard struct{}

func (*discard) Write(p []byte) (int, error) { return len(p), nil }

func jsonUnescaped(s string) string {
	return strings.NewReplacer(`\u0026`, "&").Replace(s)
}
