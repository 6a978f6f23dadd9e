package dev

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// A Folder is a data folder without a hub.
type Folder struct{ *folder }

// OpenFolder makes and locks a data folder.
func OpenFolder(ctx context.Context, dir string) (Folder, error) {
	f, err := openFolder(ctx, dir, slog.New(slog.DiscardHandler))
	return Folder{f}, err
}

// Close frees the folder.
func (f Folder) Close() { f.close() }

// Keep gives what the file holds, else what fresh makes.
func (f Folder) Keep(name string, fresh func() (string, error)) (string, error) {
	return f.keep(name, fresh)
}

// Issuer is the development issuer of that URL, as it is served.
func Issuer(url, key string, now func() time.Time) (http.Handler, error) {
	i, err := newIssuer(url, key)
	if err != nil {
		return nil, err
	}
	i.now = now
	mux := http.NewServeMux()
	for pattern, handler := range i.routes() {
		mux.Handle(pattern, handler)
	}
	return mux, nil
}

// NewIssuerKey makes a key for Issuer.
func NewIssuerKey() (string, error) { return newIssuerKey() }

// Quote makes s one word of a shell.
func Quote(s string) string { return quote(s) }

// WriteNext writes what to try next.
func WriteNext(w io.Writer, command, dataDir, root string, file File) error {
	return newNext(command, dataDir, root, file, "127.0.0.1:9090", "a Postgres of its own").write(w)
}
