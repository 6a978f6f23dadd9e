package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

// How long answers are kept.
const (
	keepFor   = 24 * time.Hour
	secretFor = 10 * time.Minute // those that hold a secret
)

// errNotKept is a fault of ours: an operation that neither kept its answer with its change nor may be done again.
var errNotKept = errors.New("a change was committed without its answer")

// answeredError undoes a change whose answer was there: another request with the same key was quicker.
type answeredError struct{ kept store.Answer }

func (*answeredError) Error() string { return "the request was answered before" }

// once does what a POST asks, or, where the same caller has sent the same Idempotency-Key before, answers what it was
// answered then. Only what was done is kept: a request that failed has changed nothing and may be sent again. Whoever
// comes while the first is at work is told so; that the first is done, and its answer, show with one commit.
func (a *API) once(ctx context.Context, c *call, do func(context.Context) (answer, error)) (answer, error) {
	keys := c.r.Header["Idempotency-Key"]
	if c.r.Method != http.MethodPost || len(keys) == 0 {
		return do(ctx)
	}
	if len(keys) > 1 || !isIdempotencyKey(keys[0]) {
		return answer{}, hub.Errorf(hub.Malformed, "an Idempotency-Key has 1 to 255 printable ASCII characters")
	}
	c.question = c.ask(keys[0])
	kept, err := a.o.Store.Pipeline.Answer(ctx, *c.question)
	if err != nil {
		return answer{}, err
	}
	if kept != nil {
		return a.recall(c, *kept)
	}
	given, err := do(ctx)
	if answered, ok := errors.AsType[*answeredError](err); ok {
		return a.recall(c, answered.kept)
	}
	switch {
	case err != nil:
		return answer{}, err
	case c.kept != nil:
		return *c.kept, nil
	case !c.op.again:
		return answer{}, errNotKept
	}
	return a.keepAfter(ctx, c, given)
}

// claim makes the request's question the change's, if it has one.
func (c *call) claim(ctx context.Context, change *store.Change) error {
	if c.question == nil {
		return nil
	}
	kept, err := change.Claim(ctx, *c.question)
	if err == nil && kept != nil {
		err = &answeredError{*kept}
	}
	return err
}

// keepWith keeps the answer of that body in the transaction of the change that it tells of.
func (a *API) keepWith(ctx context.Context, c *call, change *store.Change, out any) (*answer, error) {
	if c.question == nil {
		return nil, nil
	}
	given, err := c.answer(out)
	if err != nil {
		return nil, err
	}
	kept, err := a.seal(c, given)
	if err != nil {
		return nil, err
	}
	return &given, change.KeepAnswer(ctx, *c.question, kept, keepFor)
}

// keepAfter keeps the answer of what can be done again. Where somebody was quicker, theirs is everybody's.
func (a *API) keepAfter(ctx context.Context, c *call, given answer) (answer, error) {
	kept, err := a.seal(c, given)
	if err != nil {
		return answer{}, err
	}
	earlier, err := a.o.Store.Pipeline.KeepAnswer(ctx, *c.question, kept, keepFor)
	if err != nil || earlier == nil {
		return given, err
	}
	return a.recall(c, *earlier)
}

// seal makes of an answer what is stored of it.
func (a *API) seal(c *call, given answer) (store.Answer, error) {
	kept := store.Answer{Status: given.Status, Header: given.Header, Body: given.Body}
	if c.op.secret {
		sealed, err := a.o.Keeper.Seal(secret.Answer, given.Body, c.answerParts()...)
		if err != nil {
			return store.Answer{}, err
		}
		kept.Body, kept.SecretUntil = sealed, new(a.o.Now().Add(secretFor))
	}
	return kept, nil
}

func (a *API) recall(c *call, kept store.Answer) (answer, error) {
	given := answer{Status: kept.Status, Header: kept.Header, Body: kept.Body}
	if kept.SecretUntil != nil {
		if kept.Body == nil || !a.o.Now().Before(*kept.SecretUntil) {
			return answer{}, hub.Errorf(hub.AnswerExpired, "the answer held a secret and was kept for %d minutes", secretFor/time.Minute)
		}
		opened, err := a.o.Keeper.Open(secret.Answer, kept.Body, c.answerParts()...)
		if err != nil {
			return answer{}, err
		}
		given.Body = opened
	}
	given.Header["Idempotency-Replayed"] = "true"
	return given, nil
}

func isIdempotencyKey(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 255
}

func (c *call) ask(key string) *store.Question {
	h := sha256.New()
	for _, part := range []string{c.r.Method, c.place(), key} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	q := &store.Question{Caller: c.principal.Key, Request: sha256.Sum256(c.body)}
	copy(q.Hash[:], h.Sum(nil))
	return q
}

// answerParts are what the row has of the question, so that its answer can be sealed anew when a key goes.
func (c *call) answerParts() [][]byte {
	return [][]byte{c.question.Caller[:], c.question.Hash[:]}
}

// place is the path with the tenant by its id, however it was named.
func (c *call) place() string {
	if !c.op.inTenant() {
		return c.r.URL.EscapedPath()
	}
	before, after, _ := strings.Cut(c.r.URL.EscapedPath(), "/tenants/")
	_, rest, _ := strings.Cut(after, "/")
	return before + "/tenants/" + c.tenant.String() + "/" + rest
}
