package backplane

// EpochChanged says that the epoch may be another one: an operator has said so, while connections stayed.
type EpochChanged struct{}

func (EpochChanged) signal() {}

const epochKind = "!epoch"

// Encode makes the payload: !epoch.
func (EpochChanged) Encode() string { return epochKind }
