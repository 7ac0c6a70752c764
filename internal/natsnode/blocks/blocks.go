// Package blocks checks the files in which nats-server v2.15.2 keeps the
// messages of a stream, without changing them.
//
// The server checks them, too, when it starts after a crash. But where a record
// does not match its hash it cuts the file, takes the block to end there, and
// goes on with the next: a single wrong bit ends with everything behind it being
// gone, and nobody told. That is right for the last record, which the crash may
// have cut short and nobody was answered about. Anywhere else it is not, and this
// package tells the two apart.
//
// It knows streams as internal/storage makes them: file storage that is neither
// compressed nor encrypted, subjects of the stream's name and one letter, and
// nothing ever removed but from the front. So the sequences that are there have
// no gap.
package blocks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// BytesMax is the size of the largest file that can be a block: the server
// begins a new one at 8 MiB, and one message may have a little more than that.
const BytesMax = 64 << 20

// Damage says where a stream is damaged.
type Damage struct {
	File string // path of the block
	At   int64  // from this byte on the file is not sound
	Why  string // a sentence
}

// Stream is what the blocks of a stream hold.
type Stream struct {
	Dir         string   // where the blocks are
	Indexes     []uint32 // of the blocks, ascending
	First, Last uint64   // sequences of the messages, up to the damage if there is any; First is 0 when there are none
	Removed     uint64   // highest sequence that a tombstone names
	Behind      uint64   // a sound message behind the damage; 0 if none was found
	Damage      *Damage
	Torn        *Damage // what is at the end of the last block and no whole record
}

// End is the sequence at which the server will go on counting.
func (s *Stream) End() uint64 { return max(s.Last, s.Removed) }

// File is the path of a block.
func (s *Stream) File(index uint32) string { return File(s.Dir, index) }

// File is the path of a block in a directory of blocks.
func File(dir string, index uint32) string {
	return filepath.Join(dir, strconv.FormatUint(uint64(index), 10)+".blk")
}

// Dir is where the blocks of a stream are, given the directory of the stream. To
// drop everything the server makes a new directory with one block and then puts
// it in the place of the old one; if it has come so far that the block is there,
// it goes on with that after a crash.
func Dir(stream string) (string, error) {
	fresh := filepath.Join(stream, "__new_msgs__")
	indexes, err := List(fresh)
	if err != nil {
		return "", err
	}
	if len(indexes) > 0 {
		return fresh, nil
	}
	return filepath.Join(stream, "msgs"), nil
}

// List returns the indexes of the blocks in a directory of blocks, ascending. A
// directory that does not exist has none.
func List(dir string) ([]uint32, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var indexes []uint32
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".blk")
		if n, err := strconv.ParseUint(name, 10, 32); ok && err == nil {
			indexes = append(indexes, uint32(n))
		}
	}
	slices.Sort(indexes)
	return indexes, nil
}

// Check reads all blocks of a stream in the directory dir of that stream. The
// error is about the directory; a block that cannot be read is damage.
func Check(dir, stream string) (*Stream, error) {
	in, err := Dir(dir)
	if err != nil {
		return nil, err
	}
	s := &Stream{Dir: in}
	if s.Indexes, err = List(in); err != nil {
		return nil, err
	}
	var buf []byte
	for i, index := range s.Indexes {
		if buf, err = readBlock(s.File(index), buf); err != nil {
			s.damaged(index, 0, "the file cannot be read: "+err.Error())
			return s, nil
		}
		r, err := newReader(stream, index)
		if err != nil {
			return nil, err
		}
		if s.block(r, index, buf, i == len(s.Indexes)-1); s.Damage != nil {
			return s, nil
		}
	}
	return s, nil
}

// readBlock reads a file into buf, or into a larger one.
func readBlock(path string, buf []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return buf[:0], err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return buf[:0], err
	}
	if info.Size() > BytesMax {
		return buf[:0], fmt.Errorf("it has %d bytes, a block has at most %d", info.Size(), BytesMax)
	}
	buf = slices.Grow(buf[:0], int(info.Size()))[:info.Size()]
	if len(buf) > 0 {
		_, err = f.ReadAt(buf, 0)
	}
	return buf, err
}

// block takes the records of one block into account. A record that is not sound
// is damage, unless it is the end of the last block: that one may be torn.
func (s *Stream) block(r *reader, index uint32, b []byte, last bool) {
	for at := 0; at < len(b); {
		rec, wrong := r.read(b[at:])
		if wrong == "" && !rec.tombstone && s.Last > 0 && rec.seq != s.Last+1 {
			s.Behind = rec.seq
			s.damaged(index, at, fmt.Sprintf("entry %d is followed by entry %d", s.Last, rec.seq))
			return
		}
		if wrong != "" {
			s.Behind = r.after(b[at:], s.Last)
			s.damaged(index, at, "a record "+wrong)
			if last && s.Behind == 0 {
				s.Torn, s.Damage = s.Damage, nil
			}
			return
		}
		s.take(rec)
		at += rec.bytes
	}
}

func (s *Stream) take(rec record) {
	if rec.tombstone {
		s.Removed = max(s.Removed, rec.seq)
		return
	}
	if s.First == 0 {
		s.First = rec.seq
	}
	s.Last = rec.seq
}

func (s *Stream) damaged(index uint32, at int, why string) {
	s.Damage = &Damage{File: s.File(index), At: int64(at), Why: why}
}
