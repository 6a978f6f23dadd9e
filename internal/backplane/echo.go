package backplane

import (
	"fmt"

	"github.com/google/uuid"
)

// echo is what a listener sends to itself to learn whether it hears.
type echo struct{ nonce uuid.UUID }

func (echo) signal() {}

const echoKind = "!echo "

func (e echo) Encode() string { return echoKind + e.nonce.String() }

func decodeEcho(s string) (Signal, error) {
	nonce, err := uuid.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("decode echo: %w", err)
	}
	return echo{nonce}, nil
}
