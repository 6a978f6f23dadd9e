package expr_test

import (
	"encoding/json"
	"testing"

	"github.com/tributary-hub/tributary/internal/expr"
)

func BenchmarkMatch(b *testing.B) {
	match, err := newEvents(b).Condition("body.match", "event.type == 'payment_intent.succeeded'")
	if err != nil {
		b.Fatal(err)
	}
	in := expr.NewEvent(stripe(b), "stripe")
	b.ReportAllocs()
	for b.Loop() {
		if holds, err := match.Holds(b.Context(), in); err != nil || !holds {
			b.Fatal(holds, err)
		}
	}
}

func BenchmarkData(b *testing.B) {
	for _, c := range []struct{ name, source string }{
		{"amount", "{'amount': event.body.data.object.amount}"},
		{"body", "event.body"},
	} {
		b.Run(c.name, func(b *testing.B) {
			data, err := newEvents(b).Value("body.data", c.source)
			if err != nil {
				b.Fatal(err)
			}
			in := expr.NewEvent(stripe(b), "stripe")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := data.JSON(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	body := stripe(b).Body
	b.Run("hub", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := expr.DecodeJSON(body); !ok {
				b.Fatal("not JSON")
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			var value any
			if err := json.Unmarshal(body, &value); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	env := newEvents(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := env.Value("body.data", "{'amount': event.body.data.object.amount}"); err != nil {
			b.Fatal(err)
		}
	}
}
