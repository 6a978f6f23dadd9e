package api

import (
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// addStrangers adds to the document what ingest and stream serve: plain handlers that huma does not know.
func addStrangers(doc *huma.OpenAPI) {
	webhook := &huma.Operation{
		OperationID: "receiveWebhook", Method: http.MethodPost, Path: "/in/{token}", Tags: []string{"Webhooks"},
		Summary: "Take a webhook",
		Description: "Answers 200 once the event is committed, or with the body that the provider expects. The raw bytes are verified and kept. " +
			"A fault of the hub's own is always 503 with `Retry-After`; providers send again.",
		Security:   []map[string][]string{},
		Parameters: []*huma.Param{pathParam("token", "The secret part of the endpoint's URL.", "Zz0kq3vK2b8Yw1mC7h4y5AqLd9Xs6TgR")},
		RequestBody: &huma.RequestBody{
			Description: "As the provider sends it, uncompressed.", Required: true,
			Content: map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
		},
		Responses: refusals(map[string]*huma.Response{"200": {
			Description: "Committed, or accepted before.",
			Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
				Type: huma.TypeObject, Required: []string{"event"},
				Properties: map[string]*huma.Schema{
					"event":     {Type: huma.TypeString, Description: "The event's id; of a duplicate, the first one's.", Examples: []any{"evt_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"}},
					"duplicate": {Type: huma.TypeBoolean, Description: "That event had been accepted before."},
				},
			}}},
		}}, 403, 404, 405, 413, 415, 429, 503),
	}
	webhook.Responses["401"] = problemRef(unverified)
	doc.AddOperation(webhook)
	doc.AddOperation(&huma.Operation{
		OperationID: "openStream", Method: http.MethodGet, Path: "/stream/{tenant}", Tags: []string{"Streams"},
		Summary: "Open a stream of messages",
		Description: "Server-Sent Events: `hub.ready`, then messages in the order of positions, each once, or `hub.reset`. " +
			"Without `channel`: all that the credential's grants cover. Where it starts: `Last-Event-ID`, else `last_event_id`, else `last`, else `since`, else now.",
		Security: []map[string][]string{{"token": {}}, {keyScheme: {}}},
		Parameters: []*huma.Param{
			pathParam("tenant", "The tenant's id or slug.", "demo"),
			{
				Name: "channel", In: "query", Description: "A channel, or a pattern that the grants cover. May repeat.", Explode: new(true),
				Schema: &huma.Schema{Type: huma.TypeArray, Items: text(1, 200)}, Example: []any{"customer:cus_123"},
			},
			{Name: "Last-Event-ID", In: "header", Description: "The id of the last frame that was seen.", Schema: text(0, 128), Example: "1f3a5b7c-42"},
			{Name: "last_event_id", In: "query", Description: "The same, for whoever cannot set headers.", Schema: text(0, 128), Example: "1f3a5b7c-42"},
			{Name: "last", In: "query", Description: "Begin with the last so many messages of the channels; 0: none, so with what comes next.", Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: new(0.0), Maximum: new(100.0)}},
			{Name: "since", In: "query", Description: "`earliest`, a time (RFC 3339), or how long ago (`-10m`).", Schema: text(1, 64), Example: "-10m"},
			{
				Name: "envelope", In: "query", Description: "`1`: every message comes without an event name, as `{id, position, at, channel, type, data}`.",
				Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"0", "1"}},
			},
		},
		Responses: refusals(map[string]*huma.Response{"200": {
			Description: "The stream. A native `EventSource` is told to come back later by a 200 with `retry:` and `hub.bye`.",
			Content: map[string]*huma.MediaType{"text/event-stream": {
				Schema:  &huma.Schema{Type: huma.TypeString},
				Example: "event: payment_success\nid: 1f3a5b7c-42\ndata: {\"amount\":1200}\n\n",
			}},
		}}, 400, 401, 403, 404, 405, 422, 429, 503),
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "openSelftest", Method: http.MethodGet, Path: "/stream/{tenant}/selftest", Tags: []string{"Streams"},
		Summary: "Open a self-test of the way that streams take",
		Description: "Server-Sent Events for 30 seconds: `hub.selftest` every half second, with `number`, and `sent` and `interval` in milliseconds, then `hub.bye`. " +
			"The page `/selftest` reads it, and says whether something in between buffers.",
		Security:   []map[string][]string{{"token": {}}, {keyScheme: {}}},
		Parameters: []*huma.Param{pathParam("tenant", "The tenant's id or slug.", "demo")},
		Responses: refusals(map[string]*huma.Response{"200": {
			Description: "The frames. A native `EventSource` is told to come back later by a 200 with `retry:` and `hub.bye`.",
			Content: map[string]*huma.MediaType{"text/event-stream": {
				Schema:  &huma.Schema{Type: huma.TypeString},
				Example: "event: hub.selftest\ndata: {\"number\":1,\"sent\":1769860800000,\"interval\":500}\n\n",
			}},
		}}, 400, 401, 403, 404, 405, 429, 503),
	})
}

func pathParam(name, description, example string) *huma.Param {
	return &huma.Param{Name: name, In: "path", Required: true, Description: description, Schema: text(1, 200), Example: example}
}

func refusals(responses map[string]*huma.Response, statuses ...int) map[string]*huma.Response {
	for _, status := range statuses {
		responses[strconv.Itoa(status)] = problemRef(responseName(status))
	}
	return responses
}

func problemRef(component string) *huma.Response {
	return &huma.Response{Ref: "#/components/responses/" + component}
}
