// Package telemetry makes what a process tells its operator through: the logger, the registry of metrics and the
// tracer. What is logged, counted and traced, and under which names, is decided where it happens.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"os"
)

// The formats of the log.
const (
	FormatAuto = "auto" // text on a terminal, else json
	FormatText = "text"
	FormatJSON = "json"
)

// LogOptions say where the log goes and how it looks.
type LogOptions struct {
	Output io.Writer    // required; stderr, since stdout is data
	Level  slog.Leveler // nil: info
	Format string       // "": auto

	RequestID func(context.Context) string // of the request that a line belongs to, "" for none; default: lines have no request
}

// NewLogger makes the process's logger. Whoever logs keeps secrets out of it; what slips through in a known form, or
// under a name that promises one, is replaced by REDACTED all the same.
func NewLogger(o LogOptions) *slog.Logger {
	options := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: redactAttr}
	var handler slog.Handler = slog.NewTextHandler(o.Output, options)
	if o.Format == FormatJSON || o.Format != FormatText && !isTerminal(o.Output) {
		handler = slog.NewJSONHandler(o.Output, options)
	}
	if o.RequestID == nil {
		o.RequestID = func(context.Context) string { return "" }
	}
	return slog.New(belonging{handler, o.RequestID})
}

// belonging adds to a line the request and the trace that it belongs to, by its context, unless the line names them.
type belonging struct {
	slog.Handler

	requestID func(context.Context) string
}

// Handle passes the record on with what it belongs to.
func (h belonging) Handle(ctx context.Context, r slog.Record) error {
	for _, id := range []slog.Attr{slog.String("request_id", h.requestID(ctx)), slog.String("trace_id", TraceID(ctx))} {
		if id.Value.String() != "" && !names(r, id.Key) {
			r.AddAttrs(id)
		}
	}
	return h.Handler.Handle(ctx, r)
}

func names(r slog.Record, key string) bool {
	found := false
	r.Attrs(func(a slog.Attr) bool {
		found = a.Key == key
		return !found
	})
	return found
}

// WithAttrs keeps what a line belongs to.
func (h belonging) WithAttrs(attrs []slog.Attr) slog.Handler {
	return belonging{h.Handler.WithAttrs(attrs), h.requestID}
}

// WithGroup keeps what a line belongs to.
func (h belonging) WithGroup(name string) slog.Handler {
	return belonging{h.Handler.WithGroup(name), h.requestID}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
