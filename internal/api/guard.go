package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/tributary-hub/tributary/internal/auth"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// bodyTimeout bounds the reading of a body.
const bodyTimeout = 15 * time.Second

// guard decides, before anything of a request is looked at, who asks (401), whether there is such a tenant for them
// (404) and whether their scopes cover the operation (403); then it takes the body in.
func (a *API) guard(op *operation) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := unwrap(ctx)
		c := &call{op: op, w: w, r: r, status: op.status}
		err := a.admit(c)
		if err == nil {
			err = checkURL(r.URL)
		}
		if err == nil {
			err = c.takeBody()
		}
		if err != nil {
			problem.Write(w, r, err)
			return
		}
		next(huma.WithValue(ctx, callKey{}, c))
	}
}

func (a *API) admit(c *call) error {
	ctx := c.r.Context()
	var err error
	if c.principal, err = a.authenticate(c.r); err != nil {
		return err
	}
	facts := server.FactsOf(ctx)
	facts.Key = c.principal.Key
	telemetry.LinkCaller(ctx, c.r.Header)
	if c.op.inTenant() {
		tenant, err := a.o.Directory.TenantByRef(ctx, c.r.PathValue("tenant"))
		if err != nil && hub.CodeOf(err) != hub.NotFound {
			return err
		}
		if err != nil || !c.principal.Reaches(tenant.ID) { // said alike: whether there is such a tenant is nobody else's to know
			return hub.Errorf(hub.NotFound, "no such tenant")
		}
		c.tenant, c.config = tenant.ID, tenant
		facts.Tenant = tenant.ID
	}
	return c.need(c.op.scopes...)
}

func (a *API) authenticate(r *http.Request) (hub.Principal, error) {
	key, err := auth.Bearer(r.Header)
	if err != nil {
		return hub.Principal{}, err
	}
	if key == "" {
		return hub.Principal{}, hub.Errorf(hub.Unauthenticated, "there is no Authorization header")
	}
	return a.o.Keys.Authenticate(r.Context(), key)
}

// need refuses a caller that lacks one of the scopes.
func (c *call) need(scopes ...hub.Scope) error {
	var missing []string
	for _, s := range scopes {
		if !c.principal.May(s) {
			missing = append(missing, string(s))
		}
	}
	if len(missing) > 0 {
		return hub.Errorf(hub.ScopeMissing, "the key lacks %s", strings.Join(missing, " and "))
	}
	return nil
}

// takeBody reads the body and checks that it is JSON. It is read here so that its bytes are known to whoever
// compares requests, and because what huma says of unreadable JSON repeats it. Of an operation that takes none it is
// read too: nothing that was sent is passed over.
func (c *call) takeBody() error {
	if c.r.Body == http.NoBody {
		return nil
	}
	if err := server.RefuseCompressed(c.r); err != nil {
		return err
	}
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(bodyTimeout)) // where the server has none, it waits
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, c.op.body))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return hub.Errorf(hub.TooLarge, "the body of this operation has at most %d bytes", c.op.body)
	}
	if err != nil {
		return hub.Errorf(hub.Malformed, "the body could not be read to its end")
	}
	c.body = body
	c.r.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) == 0 {
		return nil
	}
	if err := c.checkContentType(); err != nil {
		return err
	}
	if err := checkJSON(body); err != nil {
		return err
	}
	return checkText(body, c.op.raw)
}

// checkBodiless refuses a body that the operation would not look at, as the fields that it does not know are refused
// elsewhere. An empty object says nothing, and many clients send one.
func (c *call) checkBodiless() error {
	if !c.op.bodiless || len(c.body) == 0 {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(c.body, &members); err != nil || members == nil {
		return hub.FieldErrorf("body", "%s", validation.MsgExpectedObject)
	}
	var unknown []hub.FieldError
	for _, name := range slices.Sorted(maps.Keys(members)) {
		unknown = append(unknown, hub.FieldError{Location: "body." + name, Message: validation.MsgUnexpectedProperty})
	}
	if len(unknown) == 0 {
		return nil
	}
	return about(hub.Invalid, "", unknown)
}

func (c *call) checkContentType() error {
	header := c.r.Header.Get("Content-Type")
	if header == "" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(header)
	if err == nil && (kind == "application/json" || kind == "application/merge-patch+json" && c.r.Method == http.MethodPatch) {
		return nil
	}
	return hub.Errorf(hub.UnsupportedMedia, "the body is application/json")
}

func checkJSON(body []byte) error {
	if json.Valid(body) {
		return nil
	}
	err := json.Unmarshal(body, new(any))
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return hub.Errorf(hub.Malformed, "the body is not JSON: byte %d does not fit", syntax.Offset)
	}
	return hub.Errorf(hub.Malformed, "the body is not JSON")
}
