package storage

import (
	"slices"
	"sync"
)

// tail keeps copies of the newest entries of a log while somebody reads there.
//
// It is not for speed. The server keeps a block in memory for ten seconds after
// a read from it. A closed block it loads for one pass and then lets go; but the
// block that is being written, once read, stays, and so does each that follows
// while the reader keeps up: ten seconds of writing, gigabytes. A tail of more
// than one block keeps readers off the block that is being written.
//
// All handles of a log in a store share one tail. No other process writes to
// the log, the directory is locked, so a tail that is not empty ends where the
// log ends.
type tail struct {
	limit int

	mu      sync.RWMutex
	entries []Entry // sequences without a gap
	bytes   int
	wanted  int // bytes still to be kept; a read renews it
	deleted bool
}

// interest is how many times the limit is appended, without a read, until the
// tail gives up: a log that nobody follows costs no copies.
const interest = 4

func (t *tail) first() uint64 { return t.entries[0].Seq }
func (t *tail) last() uint64  { return t.entries[len(t.entries)-1].Seq }

// add takes in what was appended and acknowledged.
func (t *tail) add(seq uint64, kind Kind, data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wanted <= 0 {
		t.clear()
		return
	}
	t.wanted -= len(data)
	if len(t.entries) > 0 && seq != t.last()+1 {
		if seq <= t.last() {
			return // two handles appended, and this one was slower to say so
		}
		t.clear()
	}
	t.entries = append(t.entries, Entry{seq, kind, slices.Clone(data)})
	t.bytes += len(data)
	for t.bytes > t.limit && len(t.entries) > 1 {
		t.shift()
	}
}

func (t *tail) shift() {
	t.bytes -= len(t.entries[0].Data)
	t.entries[0] = Entry{}
	t.entries = t.entries[1:]
}

func (t *tail) clear() { t.entries, t.bytes = nil, 0 }

// reset forgets the entries: the log may have grown by one that is not here.
func (t *tail) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
}

func (t *tail) trim(before uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.entries) > 0 && t.first() < before {
		t.shift()
	}
}

func (t *tail) delete() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	t.deleted = true
}

// want says that somebody reads the log.
func (t *tail) want() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deleted {
		return ErrNotFound
	}
	t.wanted = interest * t.limit
	return nil
}

// read returns copies of entries from sequence from on, as Log.Read does, and
// whether the tail reaches back that far: if not, the server must be asked.
func (t *tail) read(from uint64, maxBytes int) (out []Entry, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if len(t.entries) == 0 || from < t.first() {
		return nil, false
	}
	for size := 0; from <= t.last(); from++ {
		e := t.entries[from-t.first()]
		if size += len(e.Data); size > maxBytes && len(out) > 0 {
			break
		}
		e.Data = slices.Clone(e.Data)
		out = append(out, e)
	}
	return out, true
}
