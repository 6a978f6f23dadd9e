package secret

// A Purpose says what a sealed value is for. It is part of what is authenticated: a value sealed for one purpose
// does not open for another. Purposes are stored with data for ever: a name, once used, stays.
type Purpose string

// The purposes, and the parts that go with each.
const (
	EndpointSecret Purpose = "endpoint-secret" // a signing secret; tenant, endpoint, secret id
	EndpointToken  Purpose = "endpoint-token"  // the token in an endpoint's URL; tenant, endpoint
	EventHeaders   Purpose = "event-headers"   // headers that carry a provider's credential; tenant, event
	EventBody      Purpose = "event-body"      // a body that carries a provider's credential; tenant, event
	Cursor         Purpose = "cursor"          // the cursor of a list; tenant, operation
	Answer         Purpose = "answer"          // a stored answer with a secret in it; caller, hash of method, path and Idempotency-Key
	Signal         Purpose = "signal"          // what one process tells the others; tenant
	Ticket         Purpose = "ticket"          // a browser's ticket; tenant
	Cookie         Purpose = "cookie"          // a browser's cookie; tenant
	Check          Purpose = "check"           // the value by which a keyset is recognised as the database's own; no parts
)
