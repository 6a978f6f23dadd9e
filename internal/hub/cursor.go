package hub

import (
	"strconv"
	"strings"
)

// An Epoch tells one history of positions from another: 8 lower-case hex characters, compared as text. It changes
// when a restore or a failover may have used positions twice.
type Epoch string

// A Position is a message's number in its tenant's log: 1, 2, 3, … in commit order, without gaps. Zero is the
// place before the first.
type Position int64

// A Cursor is a client's place in a tenant's log: everything up to Position has been seen or looked past. Its
// text, <epoch>-<position>, is the id of SSE frames and holds no character that needs a CORS preflight.
type Cursor struct {
	Epoch    Epoch
	Position Position
}

// String is the text form.
func (c Cursor) String() string {
	return string(c.Epoch) + "-" + strconv.FormatInt(int64(c.Position), 10)
}

// ParseCursor reads the text form and only that: no sign, no leading zero.
func ParseCursor(s string) (Cursor, error) {
	epoch, digits, ok := strings.Cut(s, "-")
	if !ok || !isEpoch(epoch) {
		return Cursor{}, Errorf(Malformed, "a cursor has the form <epoch>-<position>")
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != digits {
		return Cursor{}, Errorf(Malformed, "a cursor's position is a whole number")
	}
	return Cursor{Epoch: Epoch(epoch), Position: Position(n)}, nil
}

func isEpoch(s string) bool {
	if len(s) != 8 {
		return false
	}
	for i := range len(s) {
		if !('0' <= s[i] && s[i] <= '9' || 'a' <= s[i] && s[i] <= 'f') {
			return false
		}
	}
	return true
}
