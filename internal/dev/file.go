package dev

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tributary-hub/tributary/internal/hub"
)

// FileName is where a data folder says how its hub is reached.
const FileName = "dev.json"

// A File is dev.json: what a command, a script or a test needs to use the hub. It holds secrets.
type File struct {
	URL         string              `json:"url"`
	Tenant      string              `json:"tenant"` // its slug
	OperatorKey string              `json:"operator_key"`
	TenantKey   string              `json:"tenant_key"` // with every scope
	Issuer      string              `json:"issuer"`
	Audience    string              `json:"audience"`
	DatabaseURL string              `json:"database_url"` // the owner's, a libpq URI
	Endpoints   map[string]Endpoint `json:"endpoints"`    // by name, which is the provider's
}

// An Endpoint is one of the demo tenant's.
type Endpoint struct {
	ID     string `json:"id"`
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// ReadFile reads the dev.json of a data folder; hub.NotFound where there is none.
func ReadFile(dataDir string) (File, error) {
	path := filepath.Join(dataDir, FileName)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, hub.Errorf(hub.NotFound, "there is no %s", path)
	}
	if err != nil {
		return File{}, fmt.Errorf("read how the hub is reached: %w", err)
	}
	var file File
	if err := json.Unmarshal(content, &file); err != nil {
		return File{}, fmt.Errorf("%s is not what `tributary dev` writes", path) // the cause could quote a secret
	}
	return file, nil
}

func (f *folder) writeFile(file File) error {
	var content bytes.Buffer
	encoder := json.NewEncoder(&content)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false) // so that the database's URL can be read, and found by grep
	if err := encoder.Encode(file); err != nil {
		return fmt.Errorf("encode %s: %w", FileName, err)
	}
	return f.write(FileName, content.Bytes())
}
