package provider_test

import (
	"encoding/json"
	"flag"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

// Vectors come from three places: a file named by -vectors or TRIBUTARY_VECTORS, or the folder shared/providers
// beside the checkout, or, always, our own in testdata. Foreign ones are read where they are and never copied in.
var vectorsFlag = flag.String("vectors", "", "a file of test vectors to run besides our own")

type vector struct {
	ID         string
	Preset     string
	Method     string
	Headers    map[string]string
	BodyBase64 []byte `json:"body_base64"`
	Secret     string
	Secrets    []string
	NowUnix    *int64 `json:"now_unix"`
	Tolerance  *int   `json:"tolerance_seconds"`
	Expect     string
	Reason     string
	Why        string
	Cause      hub.Cause         // ours only
	Config     map[string]string // ours only
}

func (v *vector) request(p *provider.Provider) provider.Request {
	r := provider.Request{Method: v.Method, Header: header(v.Headers), Body: v.BodyBase64, At: time.Unix(1_760_000_000, 0)}
	if v.NowUnix != nil {
		r.At = time.Unix(*v.NowUnix, 0)
	}
	secrets := v.Secrets
	if len(secrets) == 0 {
		secrets = []string{v.Secret}
	}
	for _, s := range secrets {
		r.Secrets = append(r.Secrets, provider.Secret{ID: hub.NewID[hub.SecretID](), Value: []byte(s)})
	}
	r.Config = v.Config
	if v.Tolerance != nil && time.Duration(*v.Tolerance)*time.Second != p.Tolerance {
		r.Config = mapWith(v.Config, "tolerance", strconv.Itoa(*v.Tolerance))
	}
	return r
}

func header(lines map[string]string) http.Header {
	h := http.Header{}
	for name, value := range lines {
		h.Set(name, value)
	}
	return h
}

func mapWith(m map[string]string, key, value string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, m)
	out[key] = value
	return out
}

// causesOf says which of our causes a reason of the shared vectors may be.
var causesOf = map[string][]hub.Cause{
	"wrong-secret":       {hub.SignatureMismatch},
	"tampered-body":      {hub.SignatureMismatch},
	"tampered-timestamp": {hub.SignatureMismatch},
	"tampered-id":        {hub.SignatureMismatch},
	"bad-signature":      {hub.SignatureMismatch, hub.MalformedSignature},
	"bad-encoding":       {hub.MalformedSignature},
	"truncated":          {hub.MalformedSignature},
	"malformed-header":   {hub.MalformedSignature, hub.TimestampMissing},
	"missing-header":     {hub.NoSignature, hub.TimestampMissing, hub.MalformedSignature},
	"wrong-version":      {hub.UnknownSchemeVersion},
	"expired":            {hub.TimestampTooOld},
	"future":             {hub.TimestampInFuture},
}

func TestVectors(t *testing.T) {
	t.Parallel()
	t.Run("own", func(t *testing.T) {
		t.Parallel()
		if ran := runVectors(t, "testdata/vectors.json"); len(ran) != len(provider.All()) {
			t.Errorf("our own vectors have %v, want some of every provider", ran)
		}
	})
	if file := vectorsFile(t); file != "" {
		t.Run("shared", func(t *testing.T) {
			t.Parallel()
			ran := runVectors(t, file)
			if len(ran) == 0 {
				t.Errorf("%s has no vector of any provider in the catalogue", filepath.Base(file))
			}
			t.Logf("ran %v", ran)
		})
	}
}

// runVectors counts by provider what it ran; vectors of providers that are not in the catalogue are not ours to run.
func runVectors(t *testing.T, file string) map[string]int {
	t.Helper()
	ran := map[string]int{}
	for _, v := range readJSON[[]vector](t, file) {
		p, ok := provider.Get(v.Preset)
		if !ok {
			continue
		}
		ran[v.Preset]++
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			v.check(t, p, v.request(p))
		})
	}
	return ran
}

func (v *vector) check(t *testing.T, p *provider.Provider, r provider.Request) {
	t.Helper()
	got := p.Verify(r)
	if got.Fault != nil {
		t.Fatalf("%s: %v", v.Why, got.Fault)
	}
	if got.OK != (v.Expect == "valid") {
		t.Fatalf("%s: OK is %t (%s %s), want %s", v.Why, got.OK, got.Cause, got.Detail, v.Expect)
	}
	switch {
	case got.OK:
		if got.Secret.IsZero() || got.Err() != nil {
			t.Errorf("%s: secret %q, error %v", v.Why, got.Secret, got.Err())
		}
	case v.Cause != "" && got.Cause != v.Cause:
		t.Errorf("%s: cause %s, want %s", v.Why, got.Cause, v.Cause)
	case v.Reason != "" && !slices.Contains(causesOf[v.Reason], got.Cause):
		t.Errorf("%s: cause %s does not fit %s", v.Why, got.Cause, v.Reason)
	case got.Dedup != hub.Dedup{}:
		t.Errorf("%s: a refused request took a dedup key", v.Why)
	}
}

// TestVectors_Generic runs every shared vector whose provider signs by HMAC in one header as generic-hmac, configured
// from that provider's row: the preset must express them all.
func TestVectors_Generic(t *testing.T) {
	t.Parallel()
	generic, _ := provider.Get("generic-hmac")
	file := vectorsFile(t)
	rows := filepath.Join(filepath.Dir(file), "providers.json")
	if _, err := os.Stat(rows); file == "" || err != nil {
		file, rows = "testdata/vectors.json", "testdata/providers.json"
	}
	configs := map[string]map[string]string{}
	for _, r := range readJSON[struct{ Presets []row }](t, rows).Presets {
		if config, ok := r.generic(); ok {
			if _, err := generic.Configure(config); err == nil {
				configs[r.Preset] = config
			}
		}
	}
	ran := map[string]int{}
	for _, v := range readJSON[[]vector](t, file) {
		config, ok := configs[v.Preset]
		if !ok {
			continue
		}
		ran[v.Preset]++
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			r := v.request(generic)
			if v.Tolerance != nil && config["timestamp_header"] != "" {
				config = mapWith(config, "tolerance", strconv.Itoa(*v.Tolerance))
			}
			r.Config = config
			v.check(t, generic, r)
		})
	}
	if len(ran) == 0 {
		t.Error("no vector could be run")
	}
	t.Logf("ran %v", ran)
}

// A row is one of providers.json.
type row struct {
	Preset string
	Kind   string
	Hash   string
	Key    string
	Signed string
	Sig    struct {
		Layout   string
		Header   headerNames
		Encoding string
		Prefix   string
	}
	Time *struct {
		From      string
		Format    string
		Tolerance *int
	}
	ID, Type []string

	KeySelect      string            `json:"key-select"`      //nolint:tagliatelle // the file's names
	RequireHeaders map[string]string `json:"require-headers"` //nolint:tagliatelle // the file's names
}

type headerNames []string

func (n *headerNames) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		*n = make([]string, 1)
		return json.Unmarshal(text, &(*n)[0])
	}
	return json.Unmarshal(text, (*[]string)(n))
}

// generic gives the row as a configuration of generic-hmac; ok is false for what that preset does not mean to express.
func (r *row) generic() (config map[string]string, ok bool) {
	if r.Kind != "hmac" || r.Sig.Layout != "single" || len(r.Sig.Header) != 1 || r.KeySelect != "" || r.RequireHeaders != nil {
		return nil, false
	}
	config = map[string]string{
		"header": r.Sig.Header[0], "encoding": r.Sig.Encoding, "prefix": r.Sig.Prefix,
		"hash": r.Hash, "key": r.Key, "signed": r.Signed,
	}
	if r.Time != nil && strings.Contains(r.Signed, "{ts}") {
		name, inHeader := strings.CutPrefix(r.Time.From, "header:")
		if !inHeader || r.Time.Tolerance == nil {
			return nil, false
		}
		config["timestamp_header"], config["timestamp_format"] = name, r.Time.Format
	} else if r.Time != nil {
		return nil, false
	}
	return config, true
}

// vectorsFile is the file of foreign vectors, "" where there is none. One that was named must be there.
func vectorsFile(t *testing.T) string {
	t.Helper()
	for _, named := range []string{*vectorsFlag, os.Getenv("TRIBUTARY_VECTORS")} {
		if named != "" {
			return named
		}
	}
	return sharedFile(t, "vectors.json")
}

// sharedFile finds a file of shared/providers beside the checkout, walking up; "" where there is none.
func sharedFile(t *testing.T, name string) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		file := filepath.Join(folder, "shared", "providers", name)
		if _, err := os.Stat(file); err == nil {
			return file
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return ""
		}
		folder = parent
	}
}

func readJSON[T any](t testing.TB, file string) T {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("parse %s: %v", filepath.Base(file), err)
	}
	return out
}
