package server

import (
	"crypto/tls"
	"log/slog"
	"time"
)

// Break closes the listener behind the server's back.
func (s *Server) Break() error { return s.listener.Close() }

// LoadCertificate gives what serves at each moment of now.
func LoadCertificate(certFile, keyFile string, now func() time.Time) (current func() *tls.Certificate, err error) {
	c, err := loadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler), now)
	return c.current, err
}

// Linger is how long a drained server's open connections get.
const Linger = linger
