// Package backplane carries signals between processes: their codec, the sender, and a listener that reconnects.
// A signal is a hint to look: any login of the database may send one, so none carries what must be believed.
package backplane

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/tributary-hub/tributary/internal/hub"
)

// Channel is the NOTIFY channel of all signals; it is the database's own, so two hubs in one cluster do not meet.
const Channel = "tributary"

// A Signal is one of the types of this package.
type Signal interface{ signal() }

// Wake says which tenants' logs have grown to which position. Its payload is written by the append statement:
// pairs <uuid>:<position> joined by commas, or * where they would not fit into 8000 bytes.
type Wake struct {
	All   bool
	Heads []Head
}

// A Head is the position of a tenant's last message.
type Head struct {
	Tenant   hub.TenantID
	Position hub.Position
}

// Changed says that a tenant's configuration has that version now; 0 that the tenant is gone.
type Changed struct {
	Tenant  hub.TenantID
	Version int64
}

func (Wake) signal()    {}
func (Changed) signal() {}

const changedKind = "!changed "

// Encode makes the payload: !changed <uuid> <version>.
func (c Changed) Encode() string {
	return changedKind + c.Tenant.UUID().String() + " " + strconv.FormatInt(c.Version, 10)
}

// Decode reads a payload. What it does not understand is an error to be counted and dropped: a newer node's
// signal, or somebody else's.
func Decode(payload string) (Signal, error) {
	if rest, ok := strings.CutPrefix(payload, changedKind); ok {
		return decodeChanged(rest)
	}
	if payload == epochKind {
		return EpochChanged{}, nil
	}
	if rest, ok := strings.CutPrefix(payload, echoKind); ok {
		return decodeEcho(rest)
	}
	return decodeWake(payload)
}

func decodeChanged(s string) (Signal, error) {
	id, number, _ := strings.Cut(s, " ")
	tenant, err := uuid.Parse(id)
	if err != nil {
		return nil, fmt.Errorf("decode changed: %w", err)
	}
	version, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("decode changed: %w", err)
	}
	return Changed{Tenant: hub.TenantID(tenant), Version: version}, nil
}

func decodeWake(s string) (Signal, error) {
	if s == "*" {
		return Wake{All: true}, nil
	}
	heads := make([]Head, 0, strings.Count(s, ",")+1)
	for pair := range strings.SplitSeq(s, ",") {
		id, number, _ := strings.Cut(pair, ":")
		tenant, err := uuid.Parse(id)
		if err != nil {
			return nil, fmt.Errorf("decode wake: %w", err)
		}
		position, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("decode wake: %w", err)
		}
		heads = append(heads, Head{Tenant: hub.TenantID(tenant), Position: hub.Position(position)})
	}
	return Wake{Heads: heads}, nil
}
