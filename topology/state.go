package topology

import (
	"fmt"
	"slices"
	"time"
)

// StateOption is an option of ValueOf, ListOf and MapOf: TTL.
type StateOption interface{ state(*declared) }

// TTLOption is what TTL returns.
type TTLOption time.Duration

// TTL lets what is written live for so long, in processing time and whole
// milliseconds, after it was last written; reading does not prolong its life.
// Elements of lists and entries of maps each have a life of their own. What has
// expired is never returned, and is removed when it is come across, when state
// is stored, and little by little in between.
func TTL(d time.Duration) TTLOption { return TTLOption(d) }

func (d TTLOption) state(s *declared) {
	if time.Duration(d) < time.Millisecond {
		s.owner.mistake("state %q: TTL is %v: it must be at least a millisecond", s.name, time.Duration(d))
		return
	}
	s.ttl = time.Duration(d).Milliseconds()
}

// StateOwner is a Processor, of whatever types.
type StateOwner interface{ states() *keyedState }

// declared is what the kinds of state have in common.
type declared struct {
	owner *keyedState
	name  string
	slot  int // in keyState.cells
	ttl   int64
}

// expires is when something written now expires; 0 is never.
func (d *declared) expires() int64 {
	if d.ttl == 0 {
		return 0
	}
	return d.owner.now + d.ttl
}

func (d *declared) live(expires int64) bool { return expires == 0 || d.owner.now < expires }

// handle is a declared state as its owner sees it.
type handle interface {
	declaration() *declared
	// schema names the types, for the comparison of graphs.
	schema() string
	// form describes what they store, for the same.
	form() *StateForm
	// check says why its types cannot be stored.
	check() error
	// empty says whether nothing in a cell lives.
	empty(cell any) bool
	// stale says whether something in a cell has expired.
	stale(cell any) bool
	// purge removes what has expired and returns how much that was.
	purge(cell any) int
	encode(dst []byte, cell any) ([]byte, error)
	decode(b []byte) (cell any, err error)
	// undo and keep end a call: what it changed is taken back, or stays.
	undo()
	keep()
}

func (d *declared) declaration() *declared { return d }

// keyedState is the state of a Process, and of the key it is at.
type keyedState struct {
	handles  []handle
	mistakes []error
	limits   KeyLimits
	now      int64 // processing time
	expired  func(n int)

	active bool // a handler is being called
	open   func(write bool) *keyState
	key    func() any
	at     *keyState // of the key; nil until something of it is needed

	changed []handle      // in this call
	timers  []timerChange // in this call
}

type timerChange struct {
	kind  timerKind
	at    int64
	added bool
}

func (s *keyedState) states() *keyedState { return s }

func (s *keyedState) mistake(format string, args ...any) {
	s.mistakes = append(s.mistakes, fmt.Errorf(format, args...))
}

// declare adds a state. It returns what the handle is to embed.
func (s *keyedState) declare(h handle, name string, opts []StateOption) {
	d := h.declaration()
	d.owner, d.name, d.slot = s, name, len(s.handles)
	if err := checkName("state", name); err != nil {
		s.mistakes = append(s.mistakes, err)
	}
	for _, other := range s.handles {
		if other.declaration().name == name {
			s.mistake("state %q is declared twice", name)
		}
	}
	if err := h.check(); err != nil {
		s.mistake("state %q: %w", name, err)
	}
	for _, o := range opts {
		if o != nil {
			o.state(d)
		}
	}
	s.handles = append(s.handles, h)
}

// load returns the state of the key at hand; nil when there is none, unless it
// is to be written.
//
// State is made ready for change even where it is only read: it may hold maps
// and slices, and what the caller does to them must not reach a snapshot that
// was taken before.
func (s *keyedState) load(write bool) *keyState {
	if !s.active {
		panic("keyed state and timers belong to a key: use them in handlers only")
	}
	if s.at == nil {
		s.at = s.open(write)
	}
	return s.at
}

// cell returns the cell of a handle, or nil.
func (s *keyedState) cell(d *declared) any {
	if st := s.load(false); st != nil && d.slot < len(st.cells) {
		return st.cells[d.slot]
	}
	return nil
}

func (s *keyedState) setCell(d *declared, cell any) {
	st := s.load(true)
	if st.cells == nil {
		st.cells = make([]any, len(s.handles))
	}
	st.cells[d.slot] = cell
}

// touched notes that a handle has something to undo.
func (s *keyedState) touched(h handle) { s.changed = append(s.changed, h) }

// undo takes back what the call has changed.
func (s *keyedState) undo() {
	for _, h := range s.changed {
		h.undo()
	}
	for _, c := range slices.Backward(s.timers) {
		s.at.timer(c.kind, c.at, !c.added)
	}
	s.finish()
}

// keep makes what the call has changed final.
func (s *keyedState) keep() {
	for _, h := range s.changed {
		h.keep()
	}
	s.finish()
}

func (s *keyedState) finish() {
	s.changed, s.timers = s.changed[:0], s.timers[:0]
	s.active = false
}

// setTimer sets or deletes a timer of the key at hand.
func (s *keyedState) setTimer(kind timerKind, at int64, set bool) {
	st := s.load(set)
	if st == nil || !st.timer(kind, at, set) {
		return
	}
	s.timers = append(s.timers, timerChange{kind, at, set})
	if n := len(st.timers[inEventTime]) + len(st.timers[inClockTime]); set && n > s.limits.Timers {
		panic(overLimit(s.key(), s.limits.Timers, "Timers", "timers"))
	}
}

// empty says whether nothing in the state of a key lives.
func (s *keyedState) empty(st *keyState) bool {
	for i, c := range st.cells {
		if c != nil && !s.handles[i].empty(c) {
			return false
		}
	}
	return len(st.timers[inEventTime])+len(st.timers[inClockTime]) == 0
}

// stale says whether something in the state of a key has expired.
func (s *keyedState) stale(st *keyState) bool {
	for i, c := range st.cells {
		if c != nil && s.handles[i].stale(c) {
			return true
		}
	}
	return false
}

// purge removes and counts what has expired of a key.
func (s *keyedState) purge(st *keyState) {
	for i, c := range st.cells {
		if c != nil {
			s.expired(s.handles[i].purge(c))
		}
	}
}
