package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"
)

// Break closes the listener behind the server's back.
func (s *Server) Break() error { return s.listener.Close() }

// LoadCertificate gives what serves at each moment of now.
func LoadCertificate(certFile, keyFile string, log *slog.Logger, now func() time.Time) (current func() *tls.Certificate, err error) {
	c, err := loadCertificate(certFile, keyFile, log, now)
	return c.current, err
}

// Linger is how long a drained server's open connections get.
const Linger = linger

// NewDrain is a drain that lingers so long.
func NewDrain(linger time.Duration) *drain {
	d := newDrain()
	d.until = time.Now().Add(linger)
	return d
}

// Count tells it of a connection.
func (d *drain) Count(state http.ConnState) { d.count(nil, state) }

// Wait waits for the last connection.
func (d *drain) Wait(ctx context.Context) { d.wait(ctx) }
