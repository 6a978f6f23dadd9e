package provider

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// samples holds a file a provider: {"indent": …, "samples": [{"type": …, "body": …}, …]}. Inside a body these stand
// for values that are fresh at each call:
//
//	{{id}}        the event's id, in the provider's form
//	{{random}}    14 letters and digits, the same everywhere in one body
//	{{rfc3339}}   the time
//	"{{unix}}"    the time in seconds, as a number: the quotes go with it
//	"{{number}}"  a 13-digit number, the same everywhere in one body
//
//go:embed sample/*.json
var samples embed.FS

type sampleFile struct {
	Indent  string `json:"indent"` // as the provider indents; "": compact
	Samples []struct {
		Type string          `json:"type"`
		Body json.RawMessage `json:"body"`
	} `json:"samples"`
}

// Samples lists the types of which there is a sample, the default first. It is empty for a name without samples.
func Samples(name string) []string {
	file, err := readSamples(name)
	if err != nil {
		return nil
	}
	types := make([]string, len(file.Samples))
	for i, s := range file.Samples {
		types[i] = s.Type
	}
	return types
}

// Sample makes an event of that type (the default one where typ is ""), as the provider would send it at that time.
// Each call gives another event: id is its own, and stands in the body or is to be passed to Sign.
func Sample(name, typ string, at time.Time) (body []byte, id string, err error) {
	p, ok := Get(name)
	if !ok {
		return nil, "", hub.Errorf(hub.NotFound, "no provider %q", name)
	}
	file, err := readSamples(name)
	if err != nil {
		return nil, "", hub.Errorf(hub.NotFound, "no samples of %s", name)
	}
	for _, s := range file.Samples {
		if typ != "" && s.Type != typ {
			continue
		}
		id = p.idForm.make()
		body, err = freshen(s.Body, file.Indent, id, at)
		return body, id, err
	}
	return nil, "", hub.Errorf(hub.NotFound, "no sample %q of %s; there are: %s", typ, name, strings.Join(Samples(name), ", "))
}

func readSamples(name string) (sampleFile, error) {
	var file sampleFile
	text, err := samples.ReadFile("sample/" + name + ".json")
	if err != nil {
		return file, fmt.Errorf("read samples: %w", err)
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return file, fmt.Errorf("parse samples of %s: %w", name, err)
	}
	return file, nil
}

func freshen(body []byte, indent, id string, at time.Time) ([]byte, error) {
	number, err := rand.Int(rand.Reader, big.NewInt(9e12))
	if err != nil {
		return nil, fmt.Errorf("make a fresh number: %w", err)
	}
	fill := strings.NewReplacer(
		"{{id}}", id,
		"{{random}}", textForm{alphabet: letters, length: 14}.make(),
		"{{rfc3339}}", at.UTC().Format(time.RFC3339),
		`"{{unix}}"`, strconv.FormatInt(at.Unix(), 10),
		`"{{number}}"`, strconv.FormatInt(1e12+number.Int64(), 10),
	)
	filled := []byte(fill.Replace(string(body)))
	var out bytes.Buffer
	if indent == "" {
		err = json.Compact(&out, filled)
	} else {
		err = json.Indent(&out, filled, "", indent)
	}
	if err != nil {
		return nil, fmt.Errorf("write sample: %w", err)
	}
	return out.Bytes(), nil
}
