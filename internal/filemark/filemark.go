// Package filemark recognizes a file again: that the bytes up to some position
// are still those that were there when the position was noted.
package filemark

import (
	"fmt"
	"hash/fnv"
	"io"
)

// Window is how many bytes at the beginning of a file, and how many in front of
// the position, a Mark vouches for: 1 KiB each. A file that was appended to
// keeps its marks; one that was replaced, truncated or rewritten does not.
const Window = 1 << 10

// Mark is a position in a file and what the file looked like up to there.
type Mark struct {
	Bytes int64  `json:"bytes"`          // the position
	Head  string `json:"head,omitempty"` // hash of the first Window bytes, or fewer when Bytes is less
	Tail  string `json:"tail,omitempty"` // hash of the last Window bytes before the position
}

// Of notes position n of the file. A file that cannot be read gives a mark that
// vouches for nothing but the length, along with the error.
func Of(f io.ReaderAt, n int64) (Mark, error) {
	m := Mark{Bytes: n}
	width := min(n, Window)
	head, err := hash(f, 0, width)
	if err != nil {
		return m, err
	}
	tail, err := hash(f, n-width, width)
	if err != nil {
		return m, err
	}
	m.Head, m.Tail = head, tail
	return m, nil
}

// Check reports how a file of the given size differs from the one that was
// marked, in words that continue "the file …"; "" when it does not.
func (m Mark) Check(f io.ReaderAt, size int64) (differs string, err error) {
	if m.Bytes < 0 {
		return fmt.Sprintf("was noted at the impossible position %d", m.Bytes), nil
	}
	if size < m.Bytes {
		return fmt.Sprintf("has %d bytes and had at least %d", size, m.Bytes), nil
	}
	if m.Head == "" && m.Tail == "" {
		return "", nil
	}
	now, err := Of(f, m.Bytes)
	switch {
	case err != nil:
		return "", err
	case now.Head != m.Head:
		return "begins differently than before", nil
	case now.Tail != m.Tail:
		return fmt.Sprintf("differs from before in front of byte %d", m.Bytes), nil
	}
	return "", nil
}

// hash is FNV-1a: what it guards against is a mix-up, not an attack. n is at
// most Window.
func hash(f io.ReaderAt, from, n int64) (string, error) {
	var window [Window]byte
	if got, err := f.ReadAt(window[:n], from); int64(got) < n {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return "", err
	}
	h := fnv.New64a()
	h.Write(window[:n])
	return fmt.Sprintf("%016x", h.Sum64()), nil
}
