package signature

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A TimeFormat is how a timestamp is written.
type TimeFormat string

// The formats of timestamps.
const (
	Unix      TimeFormat = "unix"    // seconds, digits only
	UnixMilli TimeFormat = "unix_ms" // milliseconds, digits only
	RFC3339   TimeFormat = "rfc3339" // with or without a fraction of the second
	IMF       TimeFormat = "imf"     // the date of HTTP: Mon, 02 Jan 2006 15:04:05 GMT
)

// A TimeRule says where the signed timestamp stands and how far from the arrival it may be.
type TimeRule struct {
	Headers      []string      // the first that is present is read; none: the part TimeKey of a KV header
	Format       TimeFormat    // default Unix
	Tolerance    time.Duration // how old it may be, inclusive; zero: read and not checked
	RejectFuture bool          // the tolerance holds for times ahead of the arrival too
}

// maxDigits keeps a timestamp in milliseconds inside the years that time.Time can write.
const maxDigits = 15

func (f TimeFormat) valid() bool {
	return f == Unix || f == UnixMilli || f == RFC3339 || f == IMF
}

// parse reads the text; the text itself is what enters the signed bytes, never the parsed time written again.
func (f TimeFormat) parse(s string) (time.Time, bool) {
	switch f {
	case RFC3339:
		t, err := time.Parse(time.RFC3339Nano, s)
		return t, err == nil
	case IMF:
		t, err := http.ParseTime(s)
		return t, err == nil
	default:
		if s == "" || len(s) > maxDigits {
			return time.Time{}, false
		}
		for i := range len(s) {
			if s[i] < '0' || s[i] > '9' {
				return time.Time{}, false
			}
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return time.Time{}, false
		}
		if f == UnixMilli {
			return time.UnixMilli(n).UTC(), true
		}
		return time.Unix(n, 0).UTC(), true
	}
}

func (f TimeFormat) format(t time.Time) string {
	switch f {
	case RFC3339:
		return t.UTC().Format(time.RFC3339)
	case IMF:
		return t.UTC().Format(http.TimeFormat)
	case UnixMilli:
		return strconv.FormatInt(t.UnixMilli(), 10)
	default:
		return strconv.FormatInt(t.Unix(), 10)
	}
}

// resolution is the smallest step that the format can write: the arrival is cut to it, so that "300 s old" means
// the same as in the providers' own libraries.
func (f TimeFormat) resolution() time.Duration {
	switch f {
	case Unix, IMF:
		return time.Second
	default:
		return time.Millisecond
	}
}

// check compares the signed time with the arrival. An age of exactly the tolerance is accepted.
func (r *TimeRule) check(signed, arrived time.Time) *Failure {
	if r.Tolerance <= 0 {
		return nil
	}
	age := arrived.Truncate(r.Format.resolution()).Sub(signed)
	seconds := int64(r.Tolerance / time.Second)
	switch {
	case age > r.Tolerance:
		return &Failure{hub.TimestampTooOld, fmt.Sprintf(
			"The signed time is %d s before the arrival; %d s are accepted.", int64(age/time.Second), seconds)}
	case r.RejectFuture && age < -r.Tolerance:
		return &Failure{hub.TimestampInFuture, fmt.Sprintf(
			"The signed time is %d s after the arrival; %d s are accepted.", int64(-age/time.Second), seconds)}
	}
	return nil
}
