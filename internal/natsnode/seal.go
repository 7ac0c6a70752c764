package natsnode

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/troupestream/troupe/internal/natsnode/blocks"
)

// A seal says what the files of a stream looked like when the server had been
// stopped. It is why opening takes as long as there is new: while a stream looks
// like its seal, the server takes its own index for true, and loads the block
// with the last entry only, so no more than a few blocks have to be looked at
// before it may start. The others have to be when they are read; see guard.go.
//
// It does not say that the entries are still the same. Whoever reads one is told,
// because the server compares it with its hash.
type seal struct {
	Index  string        `json:"index"` // SHA-256 of the server's index of the stream
	Blocks []sealedBlock `json:"blocks"`
}

type sealedBlock struct {
	Index uint32 `json:"n"`
	Bytes int64  `json:"bytes"`
	First uint64 `json:"first"` // sequence of the first entry, 0 if there is none
	Tail  string `json:"tail"`  // the last 8 bytes: the hash of the last record
}

const sealName = "sealed"

// readSeals returns the seals of a server's directory. Without them everything
// is read.
func readSeals(dir string) map[string]seal {
	var all map[string]seal
	b, err := os.ReadFile(filepath.Join(dir, sealName))
	if err != nil || json.Unmarshal(b, &all) != nil {
		return nil
	}
	return all
}

// sealOf looks at a stream. needed are the blocks that the server will load
// without being asked for what is in them; nil if it will not take its index for
// true, and so load all of them.
func sealOf(stream string) (s seal, needed []uint32, err error) {
	dir, err := blocks.Dir(stream)
	if err != nil {
		return s, nil, err
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.db"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, nil, err
	}
	sum := sha256.Sum256(index)
	s.Index = hex.EncodeToString(sum[:])
	indexes, err := blocks.List(dir)
	if err != nil {
		return s, nil, err
	}
	for _, i := range indexes {
		b, err := sealBlock(blocks.File(dir, i))
		if err != nil {
			return s, nil, err
		}
		b.Index = i
		s.Blocks = append(s.Blocks, b)
	}
	// The index ends with the hash of the last record, and that of itself.
	n := len(index)
	if n <= 16 || len(s.Blocks) == 0 || hex.EncodeToString(index[n-16:n-8]) != s.Blocks[len(s.Blocks)-1].Tail {
		return s, nil, nil
	}
	return s, lastOfSubjects(index[:n-16]), nil
}

// lastOfSubjects reads of the server's index of a stream in which block the last
// entry of each subject is; nil if it cannot be read. Source: _writeFullState in
// filestore.go. The index begins with a magic byte and its version; what follows
// are varints, and subjects with their length in front.
func lastOfSubjects(index []byte) []uint32 {
	if len(index) < 2 || index[0] != 11 || index[1] != 4 {
		return nil
	}
	b, sound := index[2:], true
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			b, sound = nil, false
			return 0
		}
		b = b[n:]
		return v
	}
	for range 6 { // messages, bytes, first, its time, last, its time
		next()
	}
	last := []uint32{}
	for n := next(); n > 0 && sound; n-- {
		subject := next()
		if subject > uint64(len(b)) {
			return nil
		}
		b = b[subject:]
		_, _ = next(), next() // how many, and the first block
		last = append(last, uint32(next()))
	}
	if !sound {
		return nil
	}
	return last
}

func sealBlock(path string) (b sealedBlock, err error) {
	f, err := os.Open(path)
	if err != nil {
		return b, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return b, err
	}
	if b.First, err = blocks.First(path); err != nil {
		return b, err
	}
	var tail [8]byte
	if info.Size() >= int64(len(tail)) {
		_, err = f.ReadAt(tail[:], info.Size()-int64(len(tail)))
	}
	b.Bytes, b.Tail = info.Size(), hex.EncodeToString(tail[:])
	return b, err
}

func (s seal) bytes() (n int64) {
	for _, b := range s.Blocks {
		n += b.Bytes
	}
	return n
}

func (s seal) equal(o seal) bool {
	return s.Index == o.Index && slices.Equal(s.Blocks, o.Blocks)
}

// verifiedBytes is the size up to which a stream is read at every start, even
// when it looks like its seal: 256 KiB. The logs on which all others depend, such
// as that of the topics there are, are that small.
const verifiedBytes = 256 << 10

// trust returns the guard of a stream that looks like its seal, nil for one that
// has to be read.
func (s *Server) trust(name string) (*Guard, error) {
	was, ok := s.seals[name]
	if !ok || exists(s.acceptFile(name)) {
		return nil, nil
	}
	now, needed, err := sealOf(s.streamDir(name))
	if err != nil || needed == nil || !now.equal(was) || now.bytes() <= verifiedBytes {
		return nil, err
	}
	return newGuard(s, name, now.Blocks, needed)
}

// sealAll seals the streams of a server that was stopped. What it has not synced
// is synced now: a seal must not outlive what it vouches for.
func (s *Server) sealAll() error {
	names, err := s.inStreams()
	if err != nil {
		return err
	}
	all := make(map[string]seal, len(names))
	for _, name := range names {
		now, needed, err := sealOf(s.streamDir(name))
		if err == nil && !s.syncAlways {
			err = syncChanged(s.streamDir(name), s.seals[name].Blocks, now.Blocks)
		}
		if err != nil {
			return err
		}
		if needed != nil {
			all[name] = now
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(s.dir, sealName), b)
}

func syncChanged(stream string, was, now []sealedBlock) error {
	dir, err := blocks.Dir(stream)
	if err != nil {
		return err
	}
	known := make(map[sealedBlock]bool, len(was))
	for _, b := range was {
		known[b] = true
	}
	changed := false
	for _, b := range now {
		if known[b] {
			continue
		}
		changed = true
		if err := syncPath(blocks.File(dir, b.Index)); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	return syncPath(dir)
}
