package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tributary-hub/tributary/internal/telemetry"
)

// certificateLook is how often the files are looked at, by handshakes: a renewed certificate serves within it.
const certificateLook = time.Minute

// A certificate is a key pair in two files, read again when they change. While what is there cannot be read, such as
// between the writing of the one and the other, the pair read before goes on.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time
	failing           telemetry.Stretch // to be read

	mu     sync.Mutex // guards what follows
	pair   *tls.Certificate
	looked time.Time
	stamp  [2]time.Time // when the files were changed, as the pair was read
}

// loadCertificate reads the pair, or says why it cannot serve.
func loadCertificate(certFile, keyFile string, log *slog.Logger, now func() time.Time) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, now: now}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.readLocked(); err != nil {
		return nil, err
	}
	return c, nil
}

// ReadCertificate reads a key pair as a server would, and gives the certificate.
func ReadCertificate(certFile, keyFile string) (*x509.Certificate, error) {
	c, err := loadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		return nil, err
	}
	return c.pair.Leaf, nil
}

// config serves HTTP/2 and HTTP/1.1.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
	}
}

func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.looked) < certificateLook {
		return c.pair
	}
	stamp, err := c.changed()
	if err == nil && stamp != c.stamp {
		err = c.readLocked()
	}
	switch {
	case err != nil && c.failing.Begins():
		c.log.Warn("certificate not read again, the one before goes on", "error", err)
	case err == nil && c.failing.Ends():
		c.log.Info("certificate is read again")
	}
	c.looked = c.now()
	return c.pair
}

func (c *certificate) readLocked() error {
	stamp, err := c.changed()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	if now := c.now(); c.pair != nil && now.After(pair.Leaf.NotAfter) && now.Before(c.pair.Leaf.NotAfter) {
		return fmt.Errorf("the certificate expired at %s, and the one before is still good", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	c.pair, c.stamp, c.looked = &pair, stamp, c.now()
	return nil
}

func (c *certificate) changed() (stamp [2]time.Time, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp, fmt.Errorf("read the certificate: %w", err)
		}
		stamp[i] = info.ModTime()
	}
	return stamp, nil
}
