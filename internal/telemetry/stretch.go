package telemetry

import "sync/atomic"

// A Stretch remembers that something fails, for whoever tells of it once and not each time: when it begins to fail,
// and when it is over.
type Stretch struct{ failing atomic.Bool }

// Begins notes a failure, and says whether it is the first of its stretch.
func (s *Stretch) Begins() bool { return !s.failing.Load() && s.failing.CompareAndSwap(false, true) }

// Ends notes a success, and says whether a stretch of failures ends with it.
func (s *Stretch) Ends() bool { return s.failing.Load() && s.failing.CompareAndSwap(true, false) }
