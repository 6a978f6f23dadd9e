package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
	"github.com/tributary-hub/tributary/internal/store"
)

// An operation says what one operation is, for whoever serves it and for whoever reads the reference.
type operation struct {
	id      string // operationId
	method  string
	path    string
	tag     string
	summary string
	about   string      // what the summary leaves open
	scopes  []hub.Scope // all of them are needed; none: any key
	status  int         // of success; default 200
	or      int         // another status of success; 0: none
	secret  bool        // the answer holds a secret: it is kept sealed, and for minutes only
	again   bool        // done twice it is done once: its answer is kept when it is done, and not together with it
	body    int64       // most bytes of the request's body; default maxBody
	raw     bool        // the body may hold a webhook's, NUL characters and all; nothing of it is stored
	ownForm bool        // handle checks the body's form
	refuses []hub.Code  // beside those that follow from the rest

	bodiless bool // it takes no body; register sees that by its input
}

// maxBody is the most bytes of a body where an operation says nothing else.
const maxBody = 256 << 10

// inTenant says whether the operation is one of a tenant's.
func (op *operation) inTenant() bool { return strings.Contains(op.path, "{tenant}") }

// A call is one request on its way through its operation.
type call struct {
	op        *operation
	w         http.ResponseWriter
	r         *http.Request
	principal hub.Principal
	tenant    hub.TenantID // zero where the path names none
	config    *directory.Tenant
	body      []byte          // as it came
	status    int             // of success, set by an operation that has two
	question  *store.Question // nil without an Idempotency-Key
	kept      *answer         // what was kept for it with the change
}

type callKey struct{}

// An answer is what a successful call is answered.
type answer struct {
	Status int
	Header map[string]string
	Body   []byte
}

// nothing is the body of an answer that has none.
type nothing struct{}

// encoder is a body that is not JSON.
type encoder interface {
	encode(header http.Header) []byte
}

// register adds an operation. Every one goes through here: the guard says who may and takes the body in, huma checks
// the request's form, handle does it, and whatever goes wrong becomes a problem.
func register[I, O any](a *API, op operation, handle func(context.Context, *call, *I) (O, error)) {
	if op.status == 0 {
		op.status = http.StatusOK
	}
	if op.body == 0 {
		op.body = maxBody
	}
	_, takesBody := reflect.TypeFor[I]().FieldByName("Body")
	op.bodiless = !takesBody
	described := describe[O](a.huma.OpenAPI().Components.Schemas, &op)
	described.Middlewares = huma.Middlewares{a.guard(&op)}
	huma.Register(a.huma, described, func(ctx context.Context, in *I) (*output, error) {
		c := ctx.Value(callKey{}).(*call)
		answer, err := a.once(ctx, c, func(ctx context.Context) (answer, error) {
			if err := c.checkBodiless(); err != nil { // after huma's look at the query, as elsewhere
				return answer{}, err
			}
			out, err := handle(ctx, c, in)
			if err != nil {
				return answer{}, err
			}
			return c.answer(out)
		})
		return &output{Body: func(huma.Context) {
			if err != nil {
				problem.Write(c.w, c.r, placed(err))
				return
			}
			answer.write(c.w)
		}}, nil
	})
}

// output hands the writing of an answer to this package, errors included.
type output struct {
	Body func(huma.Context)
}

// answer makes the answer of a body, with its tag where it has one.
func (c *call) answer(out any) (answer, error) {
	a := answer{Status: c.status, Header: map[string]string{}}
	if tagged, ok := out.(tagged); ok {
		tag, err := c.tag(tagged)
		if err != nil {
			return answer{}, err
		}
		a.Header["ETag"] = tag
	}
	switch out := out.(type) {
	case nothing:
	case encoder:
		header := http.Header{}
		a.Body = out.encode(header)
		for name := range header {
			a.Header[name] = header.Get(name)
		}
	default:
		body, err := marshal(out)
		if err != nil {
			return answer{}, err
		}
		a.Header["Content-Type"] = "application/json"
		a.Body = body
	}
	return a, nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

func (a answer) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	for name, value := range a.Header {
		h.Set(name, value)
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // nobody is left to be told
}

// unwrap gives the request as net/http has it.
func unwrap(ctx huma.Context) (*http.Request, http.ResponseWriter) { return humago.Unwrap(ctx) }
