package server

import (
	"context"
	"log/slog"
	"net/netip"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tributary-hub/tributary/internal/hub"
)

// Facts are what a request turned out to be about: ids and counts alone. Whoever serves it fills in what it knows,
// for the access record and the request's span.
type Facts struct {
	Tenant     hub.TenantID
	Endpoint   hub.EndpointID
	Event      hub.EventID
	Key        hub.KeyID // whose request it was
	Connection hub.ConnectionID
	Frames     int    // of a stream, written until it ended
	Ended      string // why a stream did
	Cause      hub.Cause
}

type accessKey struct{}

// FactsOf are those of the request that ctx belongs to, for its own goroutine to fill in; outside of a request nobody
// will read them.
func FactsOf(ctx context.Context) *Facts {
	if a, ok := ctx.Value(accessKey{}).(*access); ok {
		return &a.facts
	}
	return &Facts{}
}

// ClientAddr is the address of the client that sent the request which ctx belongs to, behind the trusted proxies;
// the zero Addr outside of a request.
func ClientAddr(ctx context.Context) netip.Addr {
	if a, ok := ctx.Value(accessKey{}).(*access); ok {
		return a.client
	}
	return netip.Addr{}
}

// attrs are the facts that are known.
func (f *Facts) attrs() []slog.Attr {
	var all []slog.Attr
	add := func(key string, known bool, text func() string) {
		if known {
			all = append(all, slog.String(key, text()))
		}
	}
	add("tenant", !f.Tenant.IsZero(), f.Tenant.String)
	add("endpoint", !f.Endpoint.IsZero(), f.Endpoint.String)
	add("event", !f.Event.IsZero(), f.Event.String)
	add("key", !f.Key.IsZero(), f.Key.String)
	add("cause", f.Cause != "", func() string { return string(f.Cause) })
	if !f.Connection.IsZero() {
		all = append(all, slog.String("connection", f.Connection.String()), slog.Int("frames", f.Frames), slog.String("ended", f.Ended))
	}
	return all
}

// attributes are the same for a span.
func attributes(facts []slog.Attr) []attribute.KeyValue {
	all := make([]attribute.KeyValue, len(facts))
	for i, a := range facts {
		if a.Value.Kind() == slog.KindInt64 {
			all[i] = attribute.Int64("tributary."+a.Key, a.Value.Int64())
		} else {
			all[i] = attribute.String("tributary."+a.Key, a.Value.String())
		}
	}
	return all
}
