package hub

import "time"

// An AuditEntry says who changed what. Every change to a tenant's configuration commits with exactly one.
type AuditEntry struct {
	ID     AuditID
	At     time.Time
	Actor  Principal
	Action string         // noun.verb, such as endpoint.create
	Object string         // the changed object's id
	Detail map[string]any // what changed; never a secret
}
