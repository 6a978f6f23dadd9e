package migrations_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"testing"

	"github.com/tributary-hub/tributary/migrations"
)

// released are the migrations that databases have run. What one of them says is history.
var released = map[string]string{
	"001_schema.sql": "d9992362c161c311552adea6c4907f681ee90301c98aa222813b9c15cda94771",
	"002_keyset.sql": "70c64e449e2ef9bbda38c05cf227e7dcb226b0b201e8348691b6ad4ec8e1a185",
}

func TestReleased(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil || len(names) < len(released) {
		t.Errorf("%d migrations are there and %d released: a released one stays, %v", len(names), len(released), err)
	}
	for _, name := range names {
		content, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		switch want, is := hex.EncodeToString(sum[:]), released[name]; {
		case is == "":
			t.Errorf("%s is new: once nothing in it will change, add it to the released ones: %q: %q", name, name, want)
		case is != want:
			t.Errorf("%s is released and has changed: databases that ran it would not run it again. Put it back, and add a new migration that does what is wanted", name)
		}
	}
}
