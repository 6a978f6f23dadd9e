package app

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/server"
)

// The bounds of what doctor warns of.
const (
	oldestPostgres = 150000
	fewOpenFiles   = 10_000
	certificateEnd = 14 * 24 * time.Hour
)

func checkPublicURL(_ context.Context, s *subject) (string, error) {
	if s.config.PublicURL == nil {
		return "", errors.New("none is set, and the hub cannot know where it is reached")
	}
	return s.config.PublicURL.String(), nil
}

func checkKeyset(_ context.Context, s *subject) (detail string, err error) {
	if s.config.Keyset.IsZero() {
		return "", errors.New("none is set, and nothing can be sealed")
	}
	s.keeper, err = secret.Open(s.config.Keyset)
	return "", err
}

// checkOwner keeps the owner's password away from what the internet talks to.
func checkOwner(_ context.Context, s *subject) (string, error) {
	if !s.config.OwnerDatabaseURL.IsZero() {
		return "", errors.New("TRIBUTARY_OWNER_DATABASE_URL is set, and a process that serves must not have it")
	}
	return "", nil
}

func checkCertificate(_ context.Context, s *subject) (detail string, err error) {
	if s.config.TLSCertFile == "" {
		return "none: a proxy in front ends TLS", nil
	}
	s.certificate, err = server.ReadCertificate(s.config.TLSCertFile, s.config.TLSKeyFile)
	if err != nil {
		return "", err
	}
	until := s.certificate.NotAfter
	if time.Now().After(until) {
		return "", fmt.Errorf("it has expired at %s", until.UTC().Format(time.RFC3339))
	}
	return "good until " + until.UTC().Format(time.RFC3339), nil
}

func checkCertificateEnd(_ context.Context, s *subject) (string, error) {
	if s.certificate != nil && time.Until(s.certificate.NotAfter) < certificateEnd {
		return "", fmt.Errorf("it expires at %s", s.certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	return "", nil
}

func checkCertificateNames(_ context.Context, s *subject) (string, error) {
	if s.certificate == nil {
		return "", nil
	}
	return "", s.certificate.VerifyHostname(s.config.PublicURL.Hostname())
}

func checkOpenFiles(context.Context, *subject) (string, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "", fmt.Errorf("ask for the limit: %w", err)
	}
	if limit.Cur < fewOpenFiles {
		return "", fmt.Errorf("a process may open %d files, and so serve fewer streams", limit.Cur)
	}
	return fmt.Sprintf("at most %d", limit.Cur), nil
}
