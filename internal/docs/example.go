package docs

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

// makeExamples gives the examples that the code itself writes, each after the mark in whose place it stands.
func makeExamples() ([]string, error) {
	const epoch = hub.Epoch("3f9c2a10")
	connection, err := hub.ParseID[hub.ConnectionID]("con_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05")
	if err != nil {
		return nil, fmt.Errorf("example: %w", err)
	}
	event, err := hub.ParseID[hub.EventID]("evt_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c07")
	if err != nil {
		return nil, fmt.Errorf("example: %w", err)
	}
	message, err := hub.ParseID[hub.MessageID]("msg_01981c2e-7c60-7b0e-8a2f-5e1d7c9b4a36")
	if err != nil {
		return nil, fmt.Errorf("example: %w", err)
	}
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	cursor := func(p hub.Position) *hub.Cursor { return &hub.Cursor{Epoch: epoch, Position: p} }
	payment := frame.Message(epoch, hub.Logged{
		Message:  hub.Message{ID: message, Channel: "customer:cus_123", Type: "payment_success", Data: []byte(`{"amount":2000}`)},
		Position: 42, At: at, Event: event,
	})
	ready := frame.Ready(frame.ReadyData{
		Connection: connection, Identity: "hwfZCGyVUvsERkX-nwugGVlT", Channels: []string{"customer:cus_123"}, Position: 57, ExpiresAt: at.Add(time.Hour),
	}, cursor(40))
	refusal, err := json.MarshalIndent(problem.From(
		hub.FieldErrorf("body.match", "1:7: an unknown field: event has id, provider_id, type, provider, endpoint, received_at, verified, headers, body"), "req_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c09"), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("example: %w", err)
	}
	return []string{
		"{{stream}}", frames(ready, payment, frame.Live(*cursor(57)), frame.Ping(at.Add(15*time.Second), cursor(58))),
		"{{envelope}}", strings.TrimSuffix(string(payment.SSEEnvelope()), "\n\n"),
		"{{reset}}", frames(frame.Reset(frame.ResetRetention, "3f9c2a10-3", 20, cursor(20))),
		"{{ending}}", frames(frame.Expiring(at.Add(time.Hour)), frame.Bye(frame.ByeExpired, 1200*time.Millisecond)),
		"{{problem}}", string(refusal),
	}, nil
}

func frames(all ...*frame.Frame) string {
	var out strings.Builder
	for _, f := range all {
		out.Write(f.SSE())
	}
	return strings.TrimSuffix(out.String(), "\n\n")
}
