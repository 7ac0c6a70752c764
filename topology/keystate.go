package topology

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// keyState is all that a Process keeps for one key.
type keyState struct {
	cells  []any      // by declared.slot; nil where nothing was ever written
	timers [2][]int64 // by timerKind, sorted
}

type timerKind int

const (
	inEventTime timerKind = iota
	inClockTime
)

// timer adds or removes a timer and says whether that made a difference.
func (st *keyState) timer(kind timerKind, at int64, set bool) (changed bool) {
	i, found := slices.BinarySearch(st.timers[kind], at)
	if found == set {
		return false
	}
	if set {
		st.timers[kind] = slices.Insert(st.timers[kind], i, at)
	} else {
		st.timers[kind] = slices.Delete(st.timers[kind], i, i+1)
	}
	return true
}

func (st *keyState) has(kind timerKind, at int64) bool {
	_, found := slices.BinarySearch(st.timers[kind], at)
	return found
}

// The state of a key is stored as the names and contents of its cells, each
// with its length. No declared name is like those of the timers.
var timerNames = [2]string{"#event", "#clock"}

func (s *keyedState) encode(dst []byte, st *keyState) ([]byte, error) {
	var content []byte
	for i, c := range st.cells {
		h := s.handles[i]
		if c == nil || h.empty(c) {
			continue
		}
		var err error
		if content, err = h.encode(content[:0], c); err != nil {
			return dst, fmt.Errorf("state %q: %w", h.declaration().name, err)
		}
		dst = appendSized(appendSized(dst, h.declaration().name), content)
	}
	for kind, times := range st.timers {
		if len(times) > 0 {
			dst = appendSized(appendSized(dst, timerNames[kind]), appendVarints(nil, times...))
		}
	}
	return dst, nil
}

func (s *keyedState) decode(b []byte, st *keyState) error {
	for len(b) > 0 {
		name, rest, err := cutSized(b)
		if err != nil {
			return err
		}
		content, rest, err := cutSized(rest)
		if err != nil {
			return err
		}
		if err := s.decodeCell(string(name), content, st); err != nil {
			return fmt.Errorf("state %q: %w", name, err)
		}
		b = rest
	}
	return nil
}

func (s *keyedState) decodeCell(name string, content []byte, st *keyState) (err error) {
	for kind, timers := range timerNames {
		if name == timers {
			st.timers[kind], err = readTimers(content)
			return err
		}
	}
	for i, h := range s.handles {
		if h.declaration().name == name {
			if st.cells == nil {
				st.cells = make([]any, len(s.handles))
			}
			st.cells[i], err = h.decode(content)
			return err
		}
	}
	return errors.New("it is not declared any more")
}

func readTimers(b []byte) (times []int64, err error) {
	for len(b) > 0 {
		t, w := binary.Varint(b)
		if w <= 0 || len(times) > 0 && t <= times[len(times)-1] {
			return nil, errCorruptState
		}
		times, b = append(times, t), b[w:]
	}
	return times, nil
}

func appendSized[B string | []byte](dst []byte, b B) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}
