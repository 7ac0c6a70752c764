package inflight

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is a window as one would write it down first: every question is answered
// by looking at all records.
type model struct {
	records  []modelRecord
	next     uint64
	workers  int
	inFlight int // the limit
	handed   uint64
	last     bool
}

type modelRecord struct {
	offset uint64
	key    string
	state  state
	ticket Ticket
}

func (m *model) count(states ...state) (n int) {
	for _, r := range m.records {
		if slices.Contains(states, r.state) {
			n++
		}
	}
	return n
}

func (m *model) position() uint64 {
	for _, r := range m.records {
		if r.state != done {
			return r.offset
		}
	}
	return m.next
}

// free is the index of the record that is to be handed out, or -1.
func (m *model) free() int {
	if m.count(running) >= m.workers || m.count(running, returned) >= m.inFlight {
		return -1
	}
	if m.workers == 1 && m.count(postponed) > 0 {
		return -1
	}
	for i, r := range m.records {
		older := slices.ContainsFunc(m.records[:i], func(o modelRecord) bool { return o.key != "" && o.key == r.key && o.state != done })
		if r.state == ready && !older && (!m.last || r.offset < m.handed) {
			return i
		}
	}
	return -1
}

// pick returns a record in one of the states, nil when there is none.
func (m *model) pick(t *rapid.T, states ...state) *modelRecord {
	var fit []int
	for i, r := range m.records {
		if slices.Contains(states, r.state) {
			fit = append(fit, i)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return &m.records[rapid.SampledFrom(fit).Draw(t, "record")]
}

// TestAgainstModel: whatever is done with a window, it hands out what the model
// would and stands where the model stands.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{workers: rapid.IntRange(1, 5).Draw(t, "workers"), inFlight: rapid.IntRange(1, 8).Draw(t, "in flight")}
		w := New[uint64](Limits{InFlight: m.inFlight}, m.workers, 0)
		var void []Ticket
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				offset := m.next + rapid.Uint64Range(0, 2).Draw(t, "gap")
				key := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "key")
				var bytes []byte
				if key != "" {
					bytes = []byte(key)
				}
				w.Add(offset, bytes, 1, offset)
				m.records = append(m.records, modelRecord{offset: offset, key: key, state: ready})
				m.next = offset + 1
			},
			"take": func(t *rapid.T) {
				ticket, offset, ok := w.Take()
				i := m.free()
				if ok != (i >= 0) || ok && m.records[i].offset != offset {
					t.Fatalf("handed out %d (%v), the model %d", offset, ok, i)
				}
				if ok {
					m.records[i].state, m.records[i].ticket = running, ticket
					m.handed = max(m.handed, offset+1)
				}
			},
			"return": func(t *rapid.T) {
				if r := m.pick(t, running); r != nil {
					if !w.Return(r.ticket) {
						t.Fatal("refused")
					}
					r.state = returned
				}
			},
			"done": func(t *rapid.T) {
				if r := m.pick(t, running, returned, postponed); r != nil {
					if !w.Done(r.ticket) || w.Done(r.ticket) {
						t.Fatal("refused, or done twice")
					}
					r.state = done
				}
			},
			"postpone": func(t *rapid.T) {
				if r := m.pick(t, running, returned); r != nil {
					ticket, ok := w.Postpone(r.ticket, r.offset)
					if !ok {
						t.Fatal("refused")
					}
					void = append(void, r.ticket)
					r.state, r.ticket = postponed, ticket
				}
			},
			"yield": func(t *rapid.T) {
				if r := m.pick(t, running, returned); r != nil {
					ticket, ok := w.Yield(r.ticket)
					if !ok {
						t.Fatal("refused")
					}
					void = append(void, r.ticket)
					r.state, r.ticket, r.key = returned, ticket, ""
				}
			},
			"resume": func(t *rapid.T) {
				if r := m.pick(t, postponed); r != nil {
					if !w.Resume(r.ticket) {
						t.Fatal("refused")
					}
					r.state = ready
				}
			},
			"workers": func(t *rapid.T) {
				m.workers = rapid.IntRange(1, 5).Draw(t, "workers")
				w.SetWorkers(m.workers)
			},
			"restart": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
					return
				}
				for _, r := range m.records {
					void = append(void, r.ticket)
				}
				m.next = rapid.Uint64Range(0, m.next+5).Draw(t, "next")
				m.records, m.handed, m.last = nil, m.next, false
				w.Restart(m.next)
			},
			"finish": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
					m.last = true
					w.Finish()
				}
			},
			"late": func(t *rapid.T) {
				for _, ticket := range void {
					_, yielded := w.Yield(ticket)
					if _, ok := w.Postpone(ticket, 0); ok || yielded || w.Done(ticket) || w.Return(ticket) || w.Resume(ticket) {
						t.Fatalf("a void ticket %+v is good", ticket)
					}
				}
			},
			"": func(t *rapid.T) {
				if w.Position() != m.position() || w.Next() != m.next {
					t.Fatalf("it stands at %d and %d, the model at %d and %d", w.Position(), w.Next(), m.position(), m.next)
				}
				if w.Running() != m.count(running) || w.InFlight() != m.count(running, returned) {
					t.Fatalf("%d are running, %d in flight; the model has %d, %d", w.Running(), w.InFlight(), m.count(running), m.count(running, returned))
				}
				for _, key := range []string{"a", "b"} {
					before := slices.IndexFunc(m.records, func(r modelRecord) bool { return r.key == key && r.state != done })
					for _, r := range m.records {
						if has := before >= 0 && m.records[before].offset < r.offset; w.HasBefore([]byte(key), r.offset) != has {
							t.Fatalf("of key %s there is one before %d: %v, the model says %v", key, r.offset, !has, has)
						}
					}
					if !w.HasBefore([]byte(key), m.next+1) {
						t.Fatal("what is not taken in is no news")
					}
				}
				if idle := m.count(running) == 0 && m.free() < 0; w.Idle() != idle {
					t.Fatalf("idle: %v, the model: %v", w.Idle(), idle)
				}
				if weight := m.count(blocked, ready, running, returned, postponed); w.bytes != weight {
					t.Fatalf("they weigh %d, should be %d", w.bytes, weight)
				}
			},
		})
	})
}
