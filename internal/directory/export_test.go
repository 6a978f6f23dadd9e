package directory

import (
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// NewTenant makes a Tenant of its own row alone.
func NewTenant(t hub.Tenant, retention time.Duration) *Tenant {
	return &Tenant{Tenant: t, retention: retention, replaced: make(chan struct{})}
}
