package directory

import (
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// NewTenant makes a Tenant of its own row alone.
func NewTenant(t hub.Tenant, retention time.Duration) *Tenant {
	return &Tenant{Tenant: t, retention: retention, replaced: make(chan struct{})}
}

// Put is told what a read found of the tenant, and gives what is known of it then.
func (d *Directory) Put(t *Tenant) *Tenant {
	kept, _ := d.put(t.ID, t, d.historyNow())
	return kept
}

// LookupMemory bounds the names that are remembered as asked for.
const LookupMemory = lookupMemory

// Lookups are the questions about what is not known.
type Lookups struct{ l *lookups }

// NewLookups makes Lookups that nobody has asked.
func NewLookups(now func() time.Time) Lookups { return Lookups{newLookups(now)} }

// Note remembers that name was asked for.
func (l Lookups) Note(name string) { l.l.note(name) }

// Remembered is how many names are.
func (l Lookups) Remembered() int { return len(l.l.asked) }
