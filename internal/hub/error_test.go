package hub_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
)

func TestCodeOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want hub.Code
	}{
		{"nil", nil, ""},
		{"plain", io.EOF, hub.Internal},
		{"ours", hub.Errorf(hub.NotFound, "endpoint %s", "x"), hub.NotFound},
		{"with context", fmt.Errorf("load: %w", hub.Errorf(hub.Conflict, "taken")), hub.Conflict},
		{"ours around ours", hub.Errorf(hub.Unavailable, "load: %w", hub.Errorf(hub.NotFound, "gone")), hub.Unavailable},
		{"joined", errors.Join(io.EOF, hub.Errorf(hub.TooLarge, "x")), hub.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := hub.CodeOf(c.err); got != c.want {
				t.Errorf("CodeOf(%v) = %q, want %q", c.err, got, c.want)
			}
		})
	}
}

func TestErrorf_Wraps(t *testing.T) {
	t.Parallel()
	err := hub.Errorf(hub.Unavailable, "commit: %w", io.ErrUnexpectedEOF)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if want := "unavailable: commit: unexpected EOF"; err.Error() != want {
		t.Errorf("%q, want %q", err.Error(), want)
	}
}

func TestFieldErrorf(t *testing.T) {
	t.Parallel()
	err := hub.FieldErrorf("body.match", "1:%d: bad", 4)
	want := []hub.FieldError{{Location: "body.match", Message: "1:4: bad"}}
	if diff := cmp.Diff(want, err.Fields); diff != "" || err.Code != hub.Invalid {
		t.Errorf("code %s\n%s", err.Code, diff)
	}
}
