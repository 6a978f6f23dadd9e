package problem

import (
	"net/http"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// An Entry is what one code means. The page /docs/problems is made of these.
type Entry struct {
	Code    hub.Code
	Status  int
	Title   string
	Meaning string // one sentence
	Remedy  string // what to do about it

	retryAfter time.Duration // where the error names no time; zero: no Retry-After
}

// Codes lists every code that an answer can carry, by status.
func Codes() []Entry { return slices.Clone(codes) }

func lookup(code hub.Code) Entry {
	is := func(e Entry) bool { return e.Code == code }
	if i := slices.IndexFunc(codes, is); i >= 0 {
		return codes[i]
	}
	return lookup(hub.Internal)
}

var codes = []Entry{
	{
		Code: hub.Malformed, Status: http.StatusBadRequest, Title: "Malformed request",
		Meaning: "The request is not what the protocol says: its JSON, a header, an id or a cursor cannot be read.",
		Remedy:  "Correct the form that `detail` names; sending the same again fails again.",
	},
	{
		Code: hub.UnknownParameter, Status: http.StatusBadRequest, Title: "Unknown parameter",
		Meaning: "The query has a parameter that this operation does not know.",
		Remedy:  "Look for a misspelt name; the reference at `/docs/api` lists those of each operation.",
	},
	{
		Code: hub.Unauthenticated, Status: http.StatusUnauthorized, Title: "Not authenticated",
		Meaning: "There is no credential, or one that is unknown, expired or revoked.",
		Remedy:  "Send `Authorization: Bearer` with a current key or token. An issuer's `check` operation says which rule a token fails.",
	},
	{
		Code: hub.SignatureInvalid, Status: http.StatusUnauthorized, Title: "Signature invalid",
		Meaning: "The webhook did not verify against any active secret of its endpoint; `cause` says why.",
		Remedy:  "Compare the endpoint's secret with the provider's. The endpoint's rejections keep the request, and one can be retried after the secret is mended.",
	},
	{
		Code: hub.ScopeMissing, Status: http.StatusForbidden, Title: "Scope missing",
		Meaning: "The key is good, but its scopes do not cover this operation.",
		Remedy:  "Use a key that has the scope in `detail`, or create one.",
	},
	{
		Code: hub.EndpointDisabled, Status: http.StatusForbidden, Title: "Endpoint disabled",
		Meaning: "The endpoint exists and takes no webhooks, because somebody disabled it.",
		Remedy:  "Enable the endpoint, or stop the webhook at the provider.",
	},
	{
		Code: hub.TenantSuspended, Status: http.StatusForbidden, Title: "Tenant suspended",
		Meaning: "The tenant is suspended: nothing of it is served, and nothing of it is lost.",
		Remedy:  "Ask the operator of this hub.",
	},
	{
		Code: hub.NoGrants, Status: http.StatusForbidden, Title: "No channel granted",
		Meaning: "The credential is good and no grant of its issuer gives it a channel.",
		Remedy:  "Look at the issuer's grants, and whether the token has the claims that they use.",
	},
	{
		Code: hub.ChannelNotGranted, Status: http.StatusForbidden, Title: "Channel not granted",
		Meaning: "A channel of the request lies outside what the credential may see.",
		Remedy:  "Ask for fewer channels, or add a grant to the issuer that covers the one in `detail`.",
	},
	{
		Code: hub.OriginNotAllowed, Status: http.StatusForbidden, Title: "Origin not allowed",
		Meaning: "A browser sent this for a page of an origin that may not ask for it.",
		Remedy:  "Serve the page from an allowed origin, or add its origin to the tenant's `allowed_origins`.",
	},
	{
		Code: hub.NotFound, Status: http.StatusNotFound, Title: "Not found",
		Meaning: "There is no such thing here, or it belongs to another tenant.",
		Remedy:  "Check the path and the id; for a webhook, the endpoint's URL as the endpoint shows it.",
	},
	{
		Code: hub.MethodNotAllowed, Status: http.StatusMethodNotAllowed, Title: "Method not allowed",
		Meaning: "The path exists, but not with this method.",
		Remedy:  "Use one of the methods in the `Allow` header.",
	},
	{
		Code: hub.Conflict, Status: http.StatusConflict, Title: "Conflict",
		Meaning: "The change does not go with what is there: a name is taken, or the object is in use.",
		Remedy:  "Read the object that `detail` names, then choose another name or undo the use.",
	},
	{
		Code: hub.IdempotencyInFlight, Status: http.StatusConflict, Title: "First request still running",
		Meaning: "A request with the same `Idempotency-Key` is being worked on.",
		Remedy:  "Wait a moment and send the same request again.",
	},
	{
		Code: hub.AnswerExpired, Status: http.StatusConflict, Title: "Answer expired",
		Meaning: "The request with this `Idempotency-Key` was done, and its answer is no longer kept because it held a secret.",
		Remedy:  "Look whether what it made is still wanted; then do it anew under another key.",
	},
	{
		Code: hub.PreconditionFailed, Status: http.StatusPreconditionFailed, Title: "Changed in the meantime",
		Meaning: "`If-Match` names a version that is not the present one.",
		Remedy:  "Read the object again, apply the change to it, and send its new `ETag`.",
	},
	{
		Code: hub.TooLarge, Status: http.StatusRequestEntityTooLarge, Title: "Body too large",
		Meaning: "The body is above the limit; it was not taken, nor cut.",
		Remedy:  "Send less, or ask the operator to raise `body_bytes`.",
	},
	{
		Code: hub.CompressedBody, Status: http.StatusUnsupportedMediaType, Title: "Compressed body",
		Meaning: "The body is compressed, and the hub takes bodies as they are: a webhook's signature is made over what is inside.",
		Remedy:  "Turn compression off at the provider or in the client, or in the proxy that adds it.",
	},
	{
		Code: hub.UnsupportedMedia, Status: http.StatusUnsupportedMediaType, Title: "Unsupported media type",
		Meaning: "The operation does not take this `Content-Type`.",
		Remedy:  "Send `application/json`, or what the reference names for the operation.",
	},
	{
		Code: hub.Misdirected, Status: http.StatusMisdirectedRequest, Title: "Misdirected request",
		Meaning: "The `Host` is not one that this listener serves, which is how a foreign page would reach it.",
		Remedy:  "Use localhost, 127.0.0.1 or the public URL; under `dev`, name further hosts with `--host`.",
	},
	{
		Code: hub.Invalid, Status: http.StatusUnprocessableEntity, Title: "Invalid",
		Meaning: "The request was understood and asks for something that cannot be; `errors` says where.",
		Remedy:  "Correct each place in `errors[].location`.",
	},
	{
		Code: hub.IdempotencyReused, Status: http.StatusUnprocessableEntity, Title: "Idempotency key reused",
		Meaning: "The same `Idempotency-Key` came with another body.",
		Remedy:  "Use a new key for each new request.",
	},
	{
		Code: hub.GrantsOverlap, Status: http.StatusUnprocessableEntity, Title: "Grants overlap",
		Meaning: "A grant of this issuer and one of another issuer of the tenant could give the same channel to different people.",
		Remedy:  "Begin the grants differently, or say `shares_channels` if that is what you want.",
	},
	{
		Code: hub.IssuerUnreachable, Status: http.StatusUnprocessableEntity, Title: "Issuer unreachable",
		Meaning: "The issuer's discovery document or keys could not be fetched, or are not usable.",
		Remedy:  "Open the issuer's `/.well-known/openid-configuration` from the hub's network.",
	},
	{
		Code: hub.LimitExceeded, Status: http.StatusTooManyRequests, Title: "Limit exceeded",
		Meaning:    "A limit of the tenant is reached; `limit` names it.",
		Remedy:     "Come back after `Retry-After`, or ask the operator to raise the limit.",
		retryAfter: time.Second,
	},
	{
		Code: hub.Internal, Status: http.StatusInternalServerError, Title: "Internal error",
		Meaning: "Something is wrong on our side, and not of the passing kind.",
		Remedy:  "Give the operator the `request_id`: the log has the rest.",
	},
	{
		Code: hub.Unavailable, Status: http.StatusServiceUnavailable, Title: "Unavailable",
		Meaning:    "The hub cannot do this just now: it is overloaded, stopping, or its database is away.",
		Remedy:     "Send the same again after `Retry-After`.",
		retryAfter: 2 * time.Second,
	},
	{
		Code: hub.KeyUnavailable, Status: http.StatusServiceUnavailable, Title: "Key unavailable",
		Meaning:    "A public key of the provider or issuer is needed and cannot be fetched, so that nothing can be said about the signature.",
		Remedy:     "Send the same again after `Retry-After`; providers do so by themselves.",
		retryAfter: 10 * time.Second,
	},
}
