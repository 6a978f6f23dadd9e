package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/secret"
)

const canary = "whsec_canary"

// holder has the secret where fmt may call its methods, and where it may not.
type holder struct {
	Exported   secret.String
	unexported secret.String
	List       []secret.String
	Map        map[string]secret.String
	Pointer    *secret.String
	Any        any
}

func newHolder() holder {
	s := secret.New(canary)
	return holder{Exported: s, unexported: s, List: []secret.String{s}, Map: map[string]secret.String{"k": s}, Pointer: &s, Any: s}
}

func TestString_NeverPrinted(t *testing.T) {
	t.Parallel()
	s := secret.New(canary)
	nested := newHolder()
	if !nested.unexported.Equal(s) {
		t.Fatal("the holder does not hold it")
	}

	written := map[string]func() string{
		"json":  func() string { b, err := json.Marshal(nested); return fmt.Sprint(string(b), err) },
		"xml":   func() string { b, err := xml.Marshal(struct{ S secret.String }{s}); return fmt.Sprint(string(b), err) },
		"text":  func() string { b, err := s.MarshalText(); return fmt.Sprint(string(b), err) },
		"error": func() string { return fmt.Errorf("with %v", s).Error() },
		"slog json": func() string {
			return logged(func(w *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(w, nil) })
		},
		"slog text": func() string {
			return logged(func(w *bytes.Buffer) slog.Handler { return slog.NewTextHandler(w, nil) })
		},
		"String":      s.String,
		"GoString":    s.GoString,
		"panic value": func() (out string) { defer func() { out = fmt.Sprint(recover()) }(); panic(nested) },
	}
	for verb := range strings.FieldsSeq("%v %+v %#v %s %q %x %X %d %t %p %T %+q %10s %-20v %e %c %U") {
		written["alone "+verb] = func() string { return fmt.Sprintf(verb, s) }
		written["in a struct "+verb] = func() string { return fmt.Sprintf(verb, nested) }
		written["behind a pointer "+verb] = func() string { return fmt.Sprintf(verb, &nested) }
	}
	hex := fmt.Sprintf("%x", canary)
	for name, write := range written {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := write()
			if strings.Contains(out, canary) || strings.Contains(strings.ToLower(out), hex) {
				t.Errorf("printed: %s", out)
			}
		})
	}
}

func logged(handler func(*bytes.Buffer) slog.Handler) string {
	var out bytes.Buffer
	slog.New(handler(&out)).Error("secret", "value", secret.New(canary), "holder", newHolder(), "pointer", new(newHolder()))
	return out.String()
}

func TestString_Redacted(t *testing.T) {
	t.Parallel()
	s := secret.New(canary)
	got, err := json.Marshal(map[string]any{"value": s, "zero": secret.String{}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"value":"REDACTED","zero":"REDACTED"}`, string(got)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("REDACTED REDACTED REDACTED", fmt.Sprintf("%v %#v %q", s, s, s)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("REDACTED", s.LogValue().String()); diff != "" {
		t.Error(diff)
	}
}

func TestString_Value(t *testing.T) {
	t.Parallel()
	var zero secret.String
	if !zero.IsZero() || zero.Reveal() != "" || !secret.New("").IsZero() || !zero.Equal(secret.New("")) {
		t.Error("the zero String does not hold the empty value")
	}
	s := secret.New(canary)
	if s.IsZero() || s.Reveal() != canary {
		t.Errorf("revealed %q", s.Reveal())
	}
	if !s.Equal(secret.New(canary)) || s.Equal(secret.New(canary+"x")) || s.Equal(zero) {
		t.Error("Equal does not compare values")
	}
	var read secret.String
	if err := read.UnmarshalText([]byte(canary)); err != nil || read.Reveal() != canary {
		t.Errorf("unmarshalled %q, %v", read.Reveal(), err)
	}
	var decoded struct{ Value secret.String }
	if err := json.Unmarshal([]byte(`{"Value":"`+canary+`"}`), &decoded); err != nil || decoded.Value.Reveal() != canary {
		t.Errorf("decoded %q, %v", decoded.Value.Reveal(), err)
	}
}
