package problem

import (
	"context"
	"sync"
)

// A Record goes with one request: its id on the way in, and on the way out the error that its answer came from, for
// the log. The server makes one for each request.
type Record struct {
	RequestID string

	mu  sync.Mutex // guards err
	err error
}

type recordKey struct{}

// WithRecord is a context in which Note and RequestID find r.
func WithRecord(ctx context.Context, r *Record) context.Context {
	return context.WithValue(ctx, recordKey{}, r)
}

// Err is the first error that was noted.
func (r *Record) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Note leaves err for the access record of the request that ctx belongs to. It is for whoever answers without
// Write, such as a stream that ends with a frame; the first error of a request stands.
func Note(ctx context.Context, err error) {
	r, ok := ctx.Value(recordKey{}).(*Record)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// RequestID is the id of the request that ctx belongs to; "" outside of one.
func RequestID(ctx context.Context) string {
	if r, ok := ctx.Value(recordKey{}).(*Record); ok {
		return r.RequestID
	}
	return ""
}
