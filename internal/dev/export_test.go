package dev

import (
	"context"
	"net/http"
	"time"
)

// A Folder is a data folder without a hub.
type Folder struct{ *folder }

// OpenFolder makes and locks a data folder.
func OpenFolder(ctx context.Context, dir string) (Folder, error) {
	f, err := openFolder(ctx, dir)
	return Folder{f}, err
}

// Close frees the folder.
func (f Folder) Close() { f.close() }

// Keep gives what the file holds, else what make makes.
func (f Folder) Keep(name string, make func() (string, error)) (string, error) {
	return f.keep(name, make)
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
