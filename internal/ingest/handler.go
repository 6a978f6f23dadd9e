// Package ingest takes providers' webhooks in. It finds the endpoint, verifies the raw body, and answers only after
// the commit that holds the event. It knows neither SQL nor routes.
package ingest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/problem"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// HandlerOptions of a Handler; all are required.
type HandlerOptions struct {
	Directory *directory.Directory // tenants' configuration in memory; a miss reads Postgres
	Meter     *meter.Meter
	Intake    *Intake   // group commit: one transaction serves many callers
	Notes     *Notebook // what is written later and may be dropped: rejections, uses of secrets
	Metrics   prometheus.Registerer
	Now       func() time.Time

	ClockSkewed func() bool // whether this machine's clock and Postgres's are so far apart that times prove nothing
}

// Handler serves /in/{token}.
type Handler struct {
	directory *directory.Directory
	meter     *meter.Meter
	intake    *Intake
	notes     *Notebook
	way       *way
}

// A way is what a webhook passes before its commit, whichever endpoint it is for.
type way struct {
	wayMetrics
	bodies bodies // that are being read
	now    func() time.Time
	skewed func() bool
}

// NewHandler makes the handler of its parts.
func NewHandler(o HandlerOptions) *Handler {
	w := &way{now: o.Now, skewed: o.ClockSkewed}
	w.wayMetrics = newWayMetrics(o.Metrics, w.bodies.heldBytes)
	return &Handler{directory: o.Directory, meter: o.Meter, intake: o.Intake, notes: o.Notes, way: w}
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	harmless(w.Header())
	answer, err := h.accept(w, r)
	h.way.answered(answer, err)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	answer.write(w)
}

// accept is the way of one webhook, top to bottom. Before the commit nothing is stored but a rejection; after it
// nothing can fail the sender.
func (h *Handler) accept(w http.ResponseWriter, r *http.Request) (answer, error) {
	ctx := r.Context()
	ep, err := h.endpoint(ctx, r.PathValue("token"))
	if err != nil {
		return answer{}, err
	}
	facts := server.FactsOf(ctx)
	facts.Tenant, facts.Endpoint = ep.Tenant.ID, ep.ID
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return answer{}, hub.Errorf(hub.MethodNotAllowed, "webhooks are posted")
	}
	body, release, err := h.way.bodies.read(w, r, *ep.Tenant.Limits.BodyBytes) // these bytes are verified, stored and shown; nobody re-encodes them
	if err != nil {
		return answer{}, err
	}
	defer release()
	began, arrived := time.Now(), h.way.now()
	h.way.received.Inc()
	defer h.way.done(began)
	ep, verdict, err := h.verify(ctx, ep, r, body, arrived)
	h.way.verified(verdict, err, time.Since(began))
	if err != nil {
		return answer{}, err
	}
	facts.Cause = verdict.Cause
	h.notes.used(ep, verdict, arrived)
	switch {
	case verdict.Handshake != nil:
		return answerHandshake(verdict.Handshake), nil
	case !verdict.OK:
		h.meter.Rejected(ep.Tenant.ID)
		within := h.notes.reject(rejected{endpoint: ep, request: r, body: body, verdict: verdict, at: arrived})
		if ep.Mode != hub.ModeMonitor || !within { // past its share a stranger stores nothing, in monitor mode neither
			return answer{}, verdict.Err()
		}
	}
	if verdict.OK { // in monitor mode strangers' requests come this far: only verified events spend the tenant's rate
		if err := h.meter.AdmitWebhook(ep.Tenant.ID, ep.Tenant.Limits); err != nil {
			return answer{}, err
		}
	}
	receipt, err := h.intake.Commit(ctx, newEvent(ep, verdict, r.Header, body, arrived))
	if err != nil {
		return answer{}, fmt.Errorf("commit event: %w", err)
	}
	facts.Event = receipt.Event
	h.meter.Received(ep.Tenant.ID, receipt.Duplicate)
	return answerEvent(receipt), nil
}

// endpoint is the one that the token names, if it takes webhooks. Another node may have just enabled it, so that is
// asked before it is refused.
func (h *Handler) endpoint(ctx context.Context, token string) (*directory.Endpoint, error) {
	ep, err := h.directory.EndpointByToken(ctx, token)
	if err != nil {
		return nil, err
	}
	if refusal(ep) == nil {
		return ep, nil
	}
	if ep, err = h.directory.Recheck(ctx, ep); err != nil {
		return nil, err
	}
	return ep, refusal(ep)
}

func refusal(ep *directory.Endpoint) error {
	switch {
	case ep.Tenant.State == hub.Suspended:
		return hub.Errorf(hub.TenantSuspended, "the tenant is suspended")
	case ep.State == hub.Disabled:
		return hub.Errorf(hub.EndpointDisabled, "the endpoint is disabled")
	case ep.Provider == nil:
		return hub.Errorf(hub.Unavailable, "this node cannot use the endpoint's provider or its configuration")
	}
	return nil
}

// verify judges the request by the secrets that are known here, and where none fits, by those that Postgres has. A
// secret that does not open makes a mismatch our fault.
func (h *Handler) verify(ctx context.Context, ep *directory.Endpoint, r *http.Request, body []byte, at time.Time) (*directory.Endpoint, provider.Verdict, error) {
	ctx, span := telemetry.Begin(ctx, "verify webhook")
	defer span.End()
	ep, verdict, err := h.judge(ctx, ep, r, body, at)
	telemetry.Fail(span, err)
	return ep, verdict, err
}

func (h *Handler) judge(ctx context.Context, ep *directory.Endpoint, r *http.Request, body []byte, at time.Time) (*directory.Endpoint, provider.Verdict, error) {
	verdict := ep.Provider.Verify(requestOf(ep, r, body, at))
	if verdict.Fault != nil {
		return nil, provider.Verdict{}, verdict.Fault
	}
	if (verdict.Cause == hub.TimestampTooOld || verdict.Cause == hub.TimestampInFuture) && h.way.skewed() {
		return nil, provider.Verdict{}, hub.Errorf(hub.Unavailable, "the clock of this node cannot be trusted, and the signed time is not judged by it")
	}
	if verdict.Cause != hub.SignatureMismatch && verdict.Cause != hub.NoActiveSecret {
		return ep, verdict, nil
	}
	newest, err := h.directory.Recheck(ctx, ep)
	if err != nil {
		return nil, provider.Verdict{}, err
	}
	if err := refusal(newest); err != nil {
		return nil, provider.Verdict{}, err
	}
	if newest != ep {
		verdict = newest.Provider.Verify(requestOf(newest, r, body, at))
	}
	if verdict.Fault != nil {
		return nil, provider.Verdict{}, verdict.Fault
	}
	if !verdict.OK && newest.Sealed {
		return nil, provider.Verdict{}, hub.Errorf(hub.Unavailable, "a signing secret of the endpoint cannot be opened")
	}
	return newest, verdict, nil
}

func requestOf(ep *directory.Endpoint, r *http.Request, body []byte, at time.Time) provider.Request {
	return provider.Request{
		Method: r.Method, Header: r.Header, Body: body, Secrets: ep.Secrets, At: at,
	}
}
