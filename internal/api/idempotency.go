package api

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

// How long things of idempotent requests are kept.
const (
	claimFor  = time.Minute      // a request in flight; over: its process is taken for dead
	workFor   = 30 * time.Second // the request itself, so that it never outlives its claim
	keepFor   = 24 * time.Hour   // answers
	secretFor = 10 * time.Minute // answers that hold a secret
)

// once does what a POST asks, or, where the same caller has sent the same Idempotency-Key before, answers what it was
// answered then. Only what was done is kept: a request that failed has changed nothing and may be sent again.
func (a *API) once(ctx context.Context, c *call, do func(context.Context) (answer, error)) (answer, error) {
	keys := c.r.Header["Idempotency-Key"]
	if c.r.Method != http.MethodPost || len(keys) == 0 {
		return do(ctx)
	}
	if len(keys) > 1 || !isIdempotencyKey(keys[0]) {
		return answer{}, hub.Errorf(hub.Malformed, "an Idempotency-Key has 1 to 255 printable ASCII characters")
	}
	q := c.question(keys[0])
	kept, err := a.o.Store.Pipeline.Claim(ctx, q, claimFor, keepFor)
	if err != nil {
		return answer{}, err
	}
	if kept != nil {
		return a.recall(c, keys[0], *kept)
	}
	after := context.WithoutCancel(ctx) // whether or not the caller is still there
	ctx, cancel := context.WithTimeout(ctx, workFor)
	defer cancel()
	given, err := do(ctx)
	if err != nil {
		if failed := a.o.Store.Pipeline.ReleaseClaim(after, q); failed != nil {
			a.o.Log.WarnContext(after, "idempotency key not released", "error", failed)
		}
		return answer{}, err
	}
	if err := a.keep(after, c, keys[0], q, given); err != nil { // it is done: to say otherwise would be worse than to forget the key
		a.o.Log.WarnContext(after, "answer not kept for its idempotency key", "error", err)
	}
	return given, nil
}

func (a *API) keep(ctx context.Context, c *call, key string, q store.Question, given answer) error {
	kept := store.Answer{Status: given.Status, Header: given.Header, Body: given.Body}
	if c.op.secret {
		sealed, err := a.o.Keeper.Seal(secret.Answer, given.Body, c.answerParts(key)...)
		if err != nil {
			return err
		}
		kept.Body, kept.SecretUntil = sealed, new(a.o.Now().Add(secretFor))
	}
	return a.o.Store.Pipeline.SaveAnswer(ctx, q, kept)
}

func (a *API) recall(c *call, key string, kept store.Answer) (answer, error) {
	given := answer{Status: kept.Status, Header: kept.Header, Body: kept.Body}
	if kept.SecretUntil != nil {
		if kept.Body == nil || !a.o.Now().Before(*kept.SecretUntil) {
			return answer{}, hub.Errorf(hub.AnswerExpired, "the answer held a secret and was kept for %d minutes", secretFor/time.Minute)
		}
		opened, err := a.o.Keeper.Open(secret.Answer, kept.Body, c.answerParts(key)...)
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

func (c *call) question(key string) store.Question {
	h := sha256.New()
	for _, part := range []string{c.r.Method, c.place(), key} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	q := store.Question{Caller: c.principal.Key, Request: sha256.Sum256(c.body)}
	copy(q.Hash[:], h.Sum(nil))
	return q
}

func (c *call) answerParts(key string) [][]byte {
	return [][]byte{c.principal.Key[:], []byte(c.r.Method), []byte(c.place()), []byte(key)}
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
