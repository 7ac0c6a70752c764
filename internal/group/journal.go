package group

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/troupestream/troupe/internal/wire"
)

// What a journal entry or a snapshot begins with. It ends with a CRC-32C.
const (
	journalVersion  = 1
	snapshotVersion = 2 // since 2 with the incarnations of topics
	sealBytes       = 5 // a version and a CRC
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal makes a journal entry of the events of any number of commands, in their
// order. Events that Apply returned may simply be joined.
func Seal(events []byte) []byte {
	return sum(append([]byte{journalVersion}, events...))
}

func sum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// open checks a version, which may be an older one, and a sum, and returns what is
// between them.
func open(b []byte, newest byte) (body []byte, version byte, err error) {
	if len(b) < sealBytes {
		return nil, 0, fmt.Errorf("%w: it has only %d bytes", ErrCorrupt, len(b))
	}
	body, crc := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != crc {
		return nil, 0, fmt.Errorf("%w: its checksum is wrong", ErrCorrupt)
	}
	if body[0] == 0 || body[0] > newest {
		return nil, 0, fmt.Errorf("%w (version %d, this release reads up to %d)", ErrVersion, body[0], newest)
	}
	return body[1:], body[0], nil
}

// Replay applies a journal entry that Seal made. After an error, which is an
// ErrCorrupt or an ErrVersion, the group must not be used.
func (g *Group) Replay(entry []byte) error {
	events, _, err := open(entry, journalVersion)
	if err != nil {
		return err
	}
	return g.replay(events)
}

func (g *Group) replay(events []byte) error {
	r := reader{wire.NewReader(events, ErrCorrupt), g}
	for r.Len() > 0 {
		e := readEvent(&r)
		if r.Err() != nil {
			return r.Err()
		}
		e.apply(g)
	}
	return nil
}
