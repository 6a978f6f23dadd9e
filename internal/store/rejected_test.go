package store_test

import (
	"bytes"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// rejected makes a rejection as ingest writes it, with a body of so many bytes.
func rejected(tenant hub.TenantID, endpoint hub.EndpointID, cause hub.Cause, size int) store.Rejected {
	return store.Rejected{Tenant: tenant, Rejection: hub.Rejection{
		ID: hub.NewID[hub.RejectionID](), Endpoint: endpoint, Cause: cause, Detail: "the sentence", ReceivedAt: time.Now(), Body: bytes.Repeat([]byte("x"), size),
	}}
}
