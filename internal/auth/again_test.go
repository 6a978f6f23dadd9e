package auth_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/auth"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
)

// Whoever holds a stream open is judged by the rows as they are now: what the token's row says otherwise than before
// may end it, another row does not save it, and a token that fits all the same goes on by what the row says now.
func TestAgain(t *testing.T) {
	t.Parallel()
	before := hub.Issuer{
		ID: hub.NewID[hub.IssuerID](), Name: "row", Issuer: "https://id.example", Audiences: []string{"web"},
		RequiredClaims: map[string]any{"plan": "pro"},
	}
	other := before
	other.ID = hub.NewID[hub.IssuerID]()
	for name, test := range map[string]struct {
		change  func(*hub.Issuer) // nil: the row is gone
		refused bool
	}{
		"nothing changed":             {change: func(*hub.Issuer) {}},
		"its session changed":         {change: func(row *hub.Issuer) { row.SessionSeconds = new(60) }},
		"an audience more":            {change: func(row *hub.Issuer) { row.Audiences = []string{"mobile", "web"} }},
		"the row is gone":             {refused: true},
		"its address changed":         {change: func(row *hub.Issuer) { row.Issuer = "https://id.example/" }, refused: true},
		"its audience changed":        {change: func(row *hub.Issuer) { row.Audiences = []string{"mobile"} }, refused: true},
		"it has parties alone":        {change: func(row *hub.Issuer) { row.Audiences, row.AuthorizedParties = nil, []string{"app"} }, refused: true},
		"its required claim changed":  {change: func(row *hub.Issuer) { row.RequiredClaims = map[string]any{"plan": "team"} }, refused: true},
		"it requires another besides": {change: func(row *hub.Issuer) { row.RequiredClaims = map[string]any{"plan": "pro", "role": "admin"} }, refused: true},
		"it requires nothing":         {change: func(row *hub.Issuer) { row.RequiredClaims = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims := auth.Claims{
				Issuer:    directory.Issuer{Issuer: before},
				Subject:   hub.Subject{Issuer: before.ID, Sub: "alice"},
				ExpiresAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
				Values:    decoded(t, `{"iss":"https://id.example","aud":"web","sub":"alice","plan":"pro"}`),
			}
			rows := []*directory.Issuer{{Issuer: other}}
			want := claims
			if test.change != nil {
				now := before
				test.change(&now)
				rows = append(rows, &directory.Issuer{Issuer: now})
				want.Issuer = *rows[1]
			}
			got, err := claims.Again(rows)
			if test.refused {
				want = auth.Claims{}
			}
			if test.refused != (hub.CodeOf(err) == hub.Unauthenticated) || !test.refused && err != nil {
				t.Errorf("%v; want it refused: %t", err, test.refused)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
}
