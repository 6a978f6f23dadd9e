package secret

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tink "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
)

// NewKeyset makes a keyset with one fresh AES256-GCM key: Tink's cleartext JSON in base64, on one line, so that it
// fits an environment variable.
func NewKeyset() (String, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return String{}, fmt.Errorf("make a key: %w", err)
	}
	return encodeKeyset(handle)
}

func encodeKeyset(handle *keyset.Handle) (String, error) {
	var json bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&json)); err != nil {
		return String{}, fmt.Errorf("write the keyset: %w", err)
	}
	return New(base64.StdEncoding.EncodeToString(json.Bytes())), nil
}

// decodeKeyset reads what encodeKeyset wrote, and the bare JSON as Tink's own tool writes it. Its errors are
// fixed texts: those of the parsers below quote their input.
func decodeKeyset(encoded String) (*keyset.Handle, error) {
	text := strings.TrimSpace(encoded.Reveal())
	if text == "" {
		return nil, errors.New("the keyset is empty")
	}
	json := []byte(text)
	if !strings.HasPrefix(text, "{") {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New("the keyset is neither base64 nor JSON")
		}
		json = decoded
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(json)))
	if err != nil {
		return nil, errors.New("the keyset is not a cleartext Tink keyset in JSON")
	}
	return handle, nil
}

// readKeyset reads a keyset that can be used.
func readKeyset(encoded String) (*keyset.Handle, error) {
	handle, err := decodeKeyset(encoded)
	if err != nil {
		return nil, err
	}
	return handle, checkKeyset(handle)
}

// checkKeyset refuses keys whose sealed values would not begin with their id: nobody could tell later which key a
// stored value needs.
func checkKeyset(handle *keyset.Handle) error {
	if _, err := handle.Primary(); err != nil {
		return errors.New("the keyset has no primary key")
	}
	for _, key := range handle.KeysetInfo().GetKeyInfo() {
		if key.GetOutputPrefixType() != tink.OutputPrefixType_TINK {
			return fmt.Errorf("key %d of the keyset does not have the output prefix TINK", key.GetKeyId())
		}
	}
	return nil
}
