package store_test

import (
	"testing"

	"github.com/tributary-hub/tributary/internal/storetest"
)

func TestX(t *testing.T) {
	db := storetest.New(t)
	e, err := db.Pipeline.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(e)
}
