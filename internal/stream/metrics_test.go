package stream_test

import (
	"testing"

	"github.com/tributary-hub/tributary/internal/storetest"
)

// What was replayed is delivered and has no age: that is of live messages, of the first of each write.
func TestMetrics_Delivered(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.log.append(t, "a", "a", "a")
	c := r.connect(t, channels("a")+"&since=earliest")
	c.until(t, "hub.live")
	r.becomes(t, "stream_messages_total", "", 3)
	if n := storetest.Metric(t, r.registry, "tributary_stream_delivery_age_seconds"); n != 0 {
		t.Errorf("%v ages of what was replayed", n)
	}
	r.log.append(t, "a", "b")
	c.until(t, "test")
	r.becomes(t, "stream_messages_total", "", 4)
	if n := storetest.Metric(t, r.registry, "tributary_stream_delivery_age_seconds"); n != 1 {
		t.Errorf("%v ages of one live write", n)
	}
}
