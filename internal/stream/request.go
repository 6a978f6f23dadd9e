package stream

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/hub"
)

// A request is what was asked for. Query parameters that are not known are ignored: proxies and polyfills add some.
type request struct {
	channels []string
	envelope bool
	cursor   string
	last     string
	since    string
}

// parse refuses a query that can be read only in part: what is dropped may be a channel, and without one the stream
// would have all that is granted.
func parse(r *http.Request) (request, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return request{}, hub.Errorf(hub.Malformed, "the query is not name=value pairs, percent-encoded and joined by &")
	}
	asked := request{
		envelope: query.Get("envelope") == "1",
		cursor:   r.Header.Get("Last-Event-ID"),
		last:     query.Get("last"),
		since:    query.Get("since"),
	}
	if asked.cursor == "" {
		asked.cursor = query.Get("last_event_id")
	}
	asked.channels = query["channel"]
	return asked, nil
}

// start is where the stream begins: the cursor, which is judged later, else last, else since, else now. What is not
// used is not checked.
func (q request) start(now time.Time) (feed.Start, error) {
	switch {
	case q.cursor != "":
		return feed.Start{Cursor: q.cursor}, nil
	case q.last != "":
		n, err := strconv.Atoi(q.last)
		if err != nil || n < 0 || n > feed.MaxLast {
			return feed.Start{}, fieldError("query.last", "a number of messages, at most %d", feed.MaxLast)
		}
		return feed.Start{Last: n}, nil
	case q.since == "earliest":
		return feed.Start{Earliest: true}, nil
	case q.since != "":
		at, ok := moment(q.since, now)
		if !ok {
			return feed.Start{}, fieldError("query.since", "earliest, a time as RFC 3339 has it, or one before now such as -10m or -7d")
		}
		if !at.After(time.Time{}) { // no message is older, and the zero time would stand for none
			return feed.Start{Earliest: true}, nil
		}
		return feed.Start{Since: at}, nil
	}
	return feed.Start{}, nil
}

// fieldError says in its sentence, too, which parameter it is about.
func fieldError(location, format string, args ...any) error {
	err := hub.FieldErrorf(location, format, args...)
	err.Message = location + ": " + err.Message
	return err
}

// moment reads RFC 3339, or a time before now: a negative number of days, or what Go calls a duration.
func moment(s string, now time.Time) (time.Time, bool) {
	if ago, relative := strings.CutPrefix(s, "-"); relative {
		if days, ok := strings.CutSuffix(ago, "d"); ok {
			n, err := strconv.ParseUint(days, 10, 16)
			return now.AddDate(0, 0, -int(n)), err == nil
		}
		d, err := time.ParseDuration(ago)
		return now.Add(-d), err == nil && d >= 0
	}
	at, err := time.Parse(time.RFC3339, strings.Replace(s, " ", "+", 1)) // a plus that nobody escaped arrives as a space
	return at, err == nil
}
