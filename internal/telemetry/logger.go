// Package telemetry makes what a process tells its operator through: the logger and the registry of metrics. What
// is logged and counted, and under which names, is decided where it happens.
package telemetry

import (
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
}

// NewLogger makes the process's logger. Whoever logs keeps secrets out of it; what slips through in a known form, or
// under a name that promises one, is replaced by REDACTED all the same.
func NewLogger(o LogOptions) *slog.Logger {
	handler := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: redactAttr}
	if o.Format == FormatJSON || o.Format != FormatText && !isTerminal(o.Output) {
		return slog.New(slog.NewJSONHandler(o.Output, handler))
	}
	return slog.New(slog.NewTextHandler(o.Output, handler))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
