package meter_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func TestAdmitWebhook(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	m := meter.New(meter.Options{Log: canary.Logger(t), Now: func() time.Time { return now }})
	tenant := hub.NewID[hub.TenantID]()
	limits := hub.Limits{WebhooksPerSecond: new(2), WebhooksBurst: new(3)}

	for i := range 3 {
		if err := m.AdmitWebhook(tenant, limits); err != nil {
			t.Fatalf("webhook %d of a burst of 3: %v", i+1, err)
		}
	}
	err := m.AdmitWebhook(tenant, limits)
	limit, ok := errors.AsType[*hub.Error](err)
	if !ok || limit.Code != hub.LimitExceeded || limit.Limit != "webhooks_per_second" || limit.RetryAfter != 500*time.Millisecond {
		t.Fatalf("above the burst: %+v", limit)
	}
	if err := m.AdmitWebhook(hub.NewID[hub.TenantID](), limits); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	if err := m.AdmitWebhook(tenant, hub.Limits{}); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	now = now.Add(500 * time.Millisecond)
	if err := m.AdmitWebhook(tenant, limits); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	if err := m.AdmitWebhook(tenant, hub.Limits{WebhooksPerSecond: new(100)}); err != nil {
		t.Errorf("after the limit was raised: %v", err)
	}
	if err := m.AdmitWebhook(tenant, hub.Limits{WebhooksPerSecond: new(1), WebhooksBurst: new(0)}); hub.CodeOf(err) != hub.LimitExceeded {
		t.Errorf("with a burst of nothing: %v", err)
	}
}

type hour struct{ Received, Rejected, Duplicates, Messages, Delivered, Peak int64 }

func TestRollup(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	m := meter.New(meter.Options{Pipeline: db.Pipeline, Log: canary.Logger(t), Interval: time.Hour})
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.Received(tenant, false)
	m.Received(tenant, true)
	m.Rejected(tenant)
	m.Appended(tenant, 3)
	first, second := m.Connected(tenant), m.Connected(tenant)
	first.Delivered(3)
	second.Delivered(4)
	first.Close()
	second.Close()
	m.Received(hub.NewID[hub.TenantID](), false) // a tenant that is gone takes nothing from the others

	for range 2 { // the second finds nothing new
		if err := m.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	var got hour
	err := db.Owner.QueryRow(t.Context(), `SELECT received, rejected, duplicates, messages, delivered, connections_peak FROM tributary.usage WHERE tenant_id = $1`, tenant).
		Scan(&got.Received, &got.Rejected, &got.Duplicates, &got.Messages, &got.Delivered, &got.Peak)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(hour{Received: 1, Rejected: 1, Duplicates: 1, Messages: 3, Delivered: 7, Peak: 2}, got); diff != "" {
		t.Errorf("the hour (-want +got):\n%s", diff)
	}
}

// A stream that stays open counts in every hour that it is open in.
func TestRollup_OpenStream(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	now := time.Date(2026, 11, 24, 12, 30, 0, 0, time.UTC)
	m := meter.New(meter.Options{Pipeline: db.Pipeline, Log: canary.Logger(t), Now: func() time.Time { return now }})
	defer m.Connected(tenant).Close()
	for range 3 {
		if err := m.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	peaks := storetest.Values[int](t, db, `SELECT connections_peak FROM tributary.usage WHERE tenant_id = $1 ORDER BY hour`, tenant)
	if diff := cmp.Diff([]int{1, 1, 1}, peaks); diff != "" {
		t.Error(diff)
	}
}

// What could not be written counts in the next write.
func TestRollup_DatabaseAway(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	m := meter.New(meter.Options{Pipeline: db.Pipeline, Log: canary.Logger(t), Interval: time.Hour})
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.Received(tenant, false)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Flush(cancelled); err == nil {
		t.Fatal("a write without a database said that it was done")
	}
	m.Received(tenant, false)
	if err := m.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Value[int](t, db, `SELECT received FROM tributary.usage WHERE tenant_id = $1`, tenant); n != 2 {
		t.Errorf("received %d, want both", n)
	}
}
