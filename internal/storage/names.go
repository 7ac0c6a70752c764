package storage

import (
	"fmt"
	"regexp"
)

// MaxNameBytes is the length of the longest name of a log.
const MaxNameBytes = 200

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9-]*(_[a-z0-9-]+)*$`)

// CheckName reports whether name can be the name of a log: parts of lower-case
// letters, digits and dashes, joined by underscores, the first beginning with
// a letter. So a name is one token of a subject and one element of a path. The
// error is an ErrName.
func CheckName(name string) error {
	if len(name) > MaxNameBytes {
		return fmt.Errorf("%w: %.40q... has %d bytes, at most %d are allowed", ErrName, name, len(name), MaxNameBytes)
	}
	if !nameRule.MatchString(name) {
		return fmt.Errorf("%w: %q (allowed are lower-case letters, digits and dashes in parts joined by underscores, such as topic_orders_0)", ErrName, name)
	}
	return nil
}

func (d Durability) String() string {
	switch d {
	case Fsync:
		return "fsync"
	case Interval:
		return "interval"
	case Memory:
		return "memory"
	}
	return fmt.Sprintf("durability %d", uint8(d))
}

// Valid reports whether the kind is one of those above.
func (k Kind) Valid() bool { return k == Data || k == State || k == Epoch }
