package queue

import (
	"math/bits"
	"slices"
)

// state of a message whose chunk is resident.
type state uint8

const (
	ready   state = iota
	blocked       // ready, but another message of its group goes first
	staged        // ready, and set aside by its tenant
	delayed       // not due
	out           // in flight
	dying         // being dead-lettered
	gone
)

// slot is a message in a resident chunk.
type slot struct {
	offset   uint64
	arrived  int64
	expires  int64
	due      int64
	group    uint64
	tenant   uint64
	bytes    uint32
	priority uint8
	state    state
}

// chunk is a run of messages of one log, up to Limits.ChunkMessages. It knows how
// many of them are live, and which offsets are gone; the messages themselves are
// in memory while the chunk is resident. What a chunk that is not resident says of
// its messages beyond their number is an estimate after a restart: see clamp.
type chunk struct {
	feed       *feed
	first, end uint64 // the offsets it covers, end excluded
	arrived    int64  // of its first message
	live       int    // not gone; of these:
	delayed    int
	out        int
	dying      int
	bytes      int64           // of those that wait, ready or delayed
	levels     uint32          // the priorities that have ready messages
	gone       bitset          // by offset - first
	marks      map[uint64]mark // by offset
	at         int64           // when one is due or expires, the earliest; 0: never
	place      int             // in Queue.timers, from 1; 0: not there
	slots      []slot          // nil: not resident
	lanes      []lane          // of a resident one
	blocked    int             // of a resident one: those that are blocked or staged
	flying     uint32          // priorities of what was in flight when it was paged out
	shut       *shut           // of one that is not resident; nil: delivery may come to it
	loading    bool
	drawn      bool // those after it were loaded ahead
}

func (c *chunk) isResident() bool { return c.slots != nil }
func (c *chunk) waiting() int     { return c.live - c.out - c.dying }

// clamp keeps the estimates of a chunk that is not resident possible, after a
// replayed event has taken a message out of it that was in an unknown state.
func (c *chunk) clamp() {
	c.delayed = max(min(c.delayed, c.waiting()), 0)
	if c.waiting() <= 0 {
		c.bytes = 0
	}
}

// index returns the place of a message in a resident chunk, -1 if it is not there.
func (c *chunk) index(offset uint64) int {
	if i := offset - c.first; i < uint64(len(c.slots)) && c.slots[i].offset == offset {
		return int(i)
	}
	i, found := slices.BinarySearchFunc(c.slots, offset, compareSlot)
	if !found {
		return -1
	}
	return i
}

func compareSlot(s slot, offset uint64) int {
	switch {
	case s.offset < offset:
		return -1
	case s.offset > offset:
		return 1
	}
	return 0
}

// lane is the set of ready messages of one priority in a resident chunk.
type lane struct {
	priority uint8
	n        int
	hint     int // no bit is set in the words before
	bits     bitset
}

// lane returns that of a priority, a new one if need be.
func (c *chunk) lane(priority uint8) *lane {
	for i := range c.lanes {
		if c.lanes[i].priority == priority {
			return &c.lanes[i]
		}
	}
	if len(c.lanes) < cap(c.lanes) {
		c.lanes = c.lanes[:len(c.lanes)+1]
		l := &c.lanes[len(c.lanes)-1]
		l.priority, l.n, l.hint = priority, 0, 0
		clear(l.bits)
		return l
	}
	c.lanes = append(c.lanes, lane{priority: priority})
	return &c.lanes[len(c.lanes)-1]
}

func (l *lane) add(i int) {
	l.bits.set(i)
	l.n++
	l.hint = min(l.hint, i/64)
}

func (l *lane) remove(i int) {
	l.bits[i/64] &^= 1 << (i % 64)
	l.n--
}

// first returns the first message, which there must be.
func (l *lane) first() int {
	for l.bits[l.hint] == 0 {
		l.hint++
	}
	return l.hint*64 + bits.TrailingZeros64(l.bits[l.hint])
}

// bitset is a set of small numbers.
type bitset []uint64

func (b bitset) has(i int) bool { return i/64 < len(b) && b[i/64]&(1<<(i%64)) != 0 }

// set adds a number. The set grows up to it: callers bound it.
func (b *bitset) set(i int) {
	for i/64 >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

func (b bitset) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// mark is what a chunk keeps of a message that did not simply wait.
type mark struct {
	attempts    int // that failed or were charged
	redelivered bool
	cause       Cause
	reason      Reason // not none: it is being dead-lettered
	text        string // of the error that ended it
	due         int64  // of a delayed retry
	group       uint64 // that it holds while its retry is delayed
	first, last int64  // when attempts failed
	body        *Entry // of a message that was relocated
	epoch       uint64 // in which the last attempt failed: see Queue.epoch
}

// bodyOf is where the body of the message is.
func (m *mark) bodyOf(ref Ref) Ref {
	if m.body != nil {
		return m.body.Ref
	}
	return ref
}

// levels counts the chunks that have ready messages, by priority.
type levels struct {
	chunks [MaxPriorities]int
	mask   uint32
	turns
}

func (v *levels) add(c *chunk, priority uint8) {
	if c.levels&(1<<priority) == 0 {
		c.levels |= 1 << priority
		if v.chunks[priority] == 0 {
			v.since[priority] = v.n // it begins to wait
		}
		v.chunks[priority]++
		v.mask |= 1 << priority
	}
}

func (v *levels) remove(c *chunk, priority uint8) {
	if c.levels&(1<<priority) != 0 {
		c.levels &^= 1 << priority
		if v.chunks[priority]--; v.chunks[priority] == 0 {
			v.mask &^= 1 << priority
		}
	}
}

func (v *levels) removeAll(c *chunk) {
	for c.levels != 0 {
		v.remove(c, uint8(bits.TrailingZeros32(c.levels)))
	}
}
