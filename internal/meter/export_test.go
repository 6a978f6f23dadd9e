package meter

import "context"

// Flush writes the rollup now.
func (m *Meter) Flush(ctx context.Context) error { return m.flush(ctx) }
