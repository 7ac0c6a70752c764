package ledger_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	. "github.com/troupestream/troupe/runtime/runtimetest/ledger"
)

func id(seq uint64) ID { return ID{"p", seq} }

// sound is a history in which all is well: six messages of two keys, read
// twice from one log and delivered to a sink of each kind.
type sound struct {
	sends      []Send
	entries    []Entry
	deliveries []Delivery
	sinks      []Sink
	reads      []Read
	want, got  map[string]int
}

func newSound() *sound {
	h := &sound{
		sinks: []Sink{{Name: "file", EffectivelyOnce: true}, {Name: "queue", MaxRepeats: 1}},
		reads: []Read{{What: "orders/0", Want: 6, Got: 6}, {What: "file", Want: 6, Got: 6}},
		want:  map[string]int{"a": 3, "b": 3}, got: map[string]int{"a": 3, "b": 3},
	}
	for i := range uint64(6) {
		key := string("ab"[i%2])
		h.sends = append(h.sends, Send{ID: id(i), Key: key, Offset: int64(i)})
		h.deliveries = append(h.deliveries, Delivery{Sink: "file", ID: id(i), Key: key, Attempt: 1},
			Delivery{Sink: "queue", ID: id(i), Key: key, Attempt: 1})
	}
	for _, reader := range []string{"r1", "r2"} {
		for i := range uint64(6) {
			h.entries = append(h.entries, Entry{Reader: reader, Offset: int64(i), ID: id(i), Key: string("ab"[i%2]), Epoch: 1})
		}
	}
	return h
}

func (h *sound) check() *Verdict {
	var l Ledger
	for _, s := range h.sends {
		l.Sent(s)
	}
	for _, e := range h.entries {
		l.Logged(e)
	}
	for _, s := range h.sinks {
		l.Declare(s)
	}
	for _, d := range h.deliveries {
		l.Delivered(d)
	}
	for _, r := range h.reads {
		l.Finished(r)
	}
	if h.want != nil {
		CompareState(&l, "count", h.want, h.got)
	}
	return l.Check()
}

// dropDelivery removes the deliveries of a message to a sink.
func (h *sound) dropDelivery(sink string, seq uint64) {
	var kept []Delivery
	for _, d := range h.deliveries {
		if d.Sink != sink || d.ID.Seq != seq {
			kept = append(kept, d)
		}
	}
	h.deliveries = kept
}

// dropEntry removes a record from the log: those behind it move up.
func (h *sound) dropEntry(offset int64) {
	var kept []Entry
	for _, e := range h.entries {
		if e.Offset != offset {
			if e.Offset > offset {
				e.Offset--
			}
			kept = append(kept, e)
		}
	}
	h.entries = kept
	for i := range h.sends {
		h.sends[i].Offset = NoOffset
	}
}

func TestSoundHistoryIsGreen(t *testing.T) {
	v := newSound().check()
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	const want = "GREEN: sent 6 ok, 0 failed, 0 unknown; 12 in the log; 12 delivered, 0 of them again; 2 readers, 1 states compared"
	if v.String() != want {
		t.Errorf("verdict %q, want %q", v, want)
	}
}

// TestKnownBad is the test of the test: each history breaks one promise, and
// exactly that must be found.
func TestKnownBad(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*sound)
		class Class
		count int
	}{
		{"acknowledged before written, first record", func(h *sound) { h.dropEntry(0) }, LostPrefix, 1},
		{"a hole in the log", func(h *sound) { h.dropEntry(2) }, LostMiddle, 1},
		{"the unsynced end of the log is gone", func(h *sound) { h.dropEntry(5); h.dropEntry(4) }, LostPostfix, 2},
		{"commit before process: lost at the sink", func(h *sound) { h.dropDelivery("file", 3) }, LostMiddle, 1},
		{"the sink lost its beginning", func(h *sound) { h.dropDelivery("queue", 0) }, LostPrefix, 1},
		{"the sink lost its end", func(h *sound) { h.dropDelivery("queue", 5) }, LostPostfix, 1},
		{"never sent", func(h *sound) {
			h.deliveries = append(h.deliveries, Delivery{Sink: "file", ID: ID{"q", 9}, Key: "c"})
		}, Unexpected, 1},
		{"does not belong to the sink", func(h *sound) {
			h.sinks[0].Expect = func(s Send) bool { return s.Key == "a" }
		}, Unexpected, 3},
		{"refused but written", func(h *sound) {
			h.sends = append(h.sends, Send{ID: id(6), Key: "a", Outcome: Fail})
			h.entries = append(h.entries, Entry{Reader: "r2", Offset: 6, ID: id(6), Key: "a"})
		}, Aborted, 1},
		{"replicas differ", func(h *sound) { h.entries[11].ID = ID{"p", 4} }, InconsistentOffset, 1},
		{"acknowledged with another's offset", func(h *sound) { h.sends[1].Offset = 2 }, InconsistentOffset, 1},
		{"acknowledged with an offset that is nowhere", func(h *sound) { h.sends[1].Offset = 99 }, InconsistentOffset, 1},
		{"deduplication window of 0", func(h *sound) {
			h.entries = append(h.entries, Entry{Reader: "r2", Offset: 6, ID: id(5), Key: "b", Epoch: 1})
		}, DuplicateInLog, 1},
		{"a window fires twice", func(h *sound) {
			h.deliveries = append(h.deliveries, Delivery{Sink: "file", ID: id(5), Key: "b", Attempt: 2, Cause: "crash"})
		}, VisibleDuplicate, 1},
		{"delivered again for no reason", func(h *sound) {
			h.deliveries = append(h.deliveries, Delivery{Sink: "queue", ID: id(5), Key: "b", Attempt: 2})
		}, DuplicateDelivery, 1},
		{"delivered again too often", func(h *sound) {
			again := Delivery{Sink: "queue", ID: id(5), Key: "b", Attempt: 2, Cause: "crash"}
			h.deliveries = append(h.deliveries, again, again)
		}, DuplicateDelivery, 1},
		{"hash seed per process: a key changes tasks", func(h *sound) {
			h.deliveries[0], h.deliveries[4] = h.deliveries[4], h.deliveries[0]
		}, WrongOrder, 1},
		{"the log is out of order", func(h *sound) {
			for i := range h.entries {
				e := &h.entries[i]
				if e.Offset == 1 {
					e.ID = id(3)
				} else if e.Offset == 3 {
					e.ID = id(1)
				}
			}
			h.sends[1].Offset, h.sends[3].Offset = 3, 1
		}, WrongOrder, 1},
		{"a reader skips", func(h *sound) { h.entries = append(h.entries[:8], h.entries[9:]...) }, ReadOrder, 1},
		{"a reader goes back", func(h *sound) { h.entries = append(h.entries, h.entries[9]) }, ReadOrder, 1},
		{"no fence", func(h *sound) { h.entries[2].Epoch, h.entries[8].Epoch = 2, 2 }, Zombie, 3},
		{"a barrier let through: counted twice", func(h *sound) { h.got["a"] = 4 }, StateMismatch, 1},
		{"a key of the state is gone", func(h *sound) { delete(h.got, "b") }, StateMismatch, 1},
		{"a key too many", func(h *sound) { h.got["c"] = 1 }, StateMismatch, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newSound()
			c.spoil(h)
			v := h.check()
			if v.Count(c.class) != c.count || len(v.Findings) != 1 {
				t.Errorf("want %d %q and nothing else:\n%s", c.count, c.class, v)
			}
			if err := v.Err(); !errors.Is(err, ErrViolated) || !strings.HasPrefix(v.String(), "RED: ") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestIncomplete: a check that did not look is red, not green.
func TestIncomplete(t *testing.T) {
	for name, spoil := range map[string]func(*sound){
		"the reader stopped early":      func(h *sound) { h.reads[0].Got = 5 },
		"the reader met an error":       func(h *sound) { h.reads[1].Errors, h.reads[1].Problem = 1, "timeout" },
		"no reader reported":            func(h *sound) { h.reads = nil },
		"nothing was sent":              func(h *sound) { *h = sound{reads: h.reads, sinks: h.sinks} },
		"nothing was looked at":         func(h *sound) { *h = sound{sends: h.sends} },
		"a sink that nobody declared":   func(h *sound) { h.sinks = h.sinks[:1] },
		"the reader stopped, and lost":  func(h *sound) { h.reads[0].Got = 5; h.dropDelivery("file", 5) },
		"the ledger is empty":           func(h *sound) { *h = sound{} },
		"an error at the very last one": func(h *sound) { h.reads[0].Errors = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			h := newSound()
			spoil(h)
			v := h.check()
			if err := v.Err(); !errors.Is(err, ErrUnknown) || !strings.HasPrefix(v.String(), "UNKNOWN: ") {
				t.Errorf("verdict\n%s", v)
			}
		})
	}
}

func TestEmptyLog(t *testing.T) {
	var l Ledger
	l.Sent(Send{ID: id(1), Offset: NoOffset})
	l.CheckLogs()
	l.Finished(Read{What: "orders/0"})
	if v := l.Check(); v.Count(LostPostfix) != 1 {
		t.Errorf("an empty log passed:\n%s", v)
	}
}

// TestDoubtAndRetry: what is in doubt may be there or not; one acknowledged
// attempt decides.
func TestDoubtAndRetry(t *testing.T) {
	h := newSound()
	h.sends = append(h.sends,
		Send{ID: id(6), Key: "a", Outcome: Info, Offset: NoOffset},
		Send{ID: id(7), Key: "b", Outcome: Info, Offset: NoOffset},
		Send{ID: id(8), Key: "b", Outcome: Fail, Offset: NoOffset}, // and then again:
		Send{ID: id(8), Key: "b", Outcome: OK, Offset: 7},
		Send{ID: id(9), Key: "b", Outcome: Fail, Offset: NoOffset})
	for _, e := range []Entry{{Offset: 6, ID: id(7), Key: "b"}, {Offset: 7, ID: id(8), Key: "b"}} {
		for _, reader := range []string{"r1", "r2"} {
			e.Reader = reader
			h.entries = append(h.entries, e)
		}
		for _, sink := range []string{"file", "queue"} {
			h.deliveries = append(h.deliveries, Delivery{Sink: sink, ID: e.ID, Key: e.Key, Attempt: 1})
		}
	}
	v := h.check()
	if v.Err() != nil || v.OK != 7 || v.Info != 2 || v.Fail != 1 {
		t.Error(v)
	}
}

func TestVerdictIsReadable(t *testing.T) {
	h := newSound()
	for i := range uint64(40) {
		h.deliveries = append(h.deliveries, Delivery{Sink: "file", ID: ID{"ghost", i}})
	}
	h.got["a"] = 7
	text := h.check().String()
	for _, want := range []string{"RED: sent 6 ok", "unexpected: 40", `ghost/0 is in sink "file" and was never sent`,
		"and 30 more", "state differs: 1", "count: a is 7, want 3"} {
		if !strings.Contains(text, want) {
			t.Errorf("the verdict does not say %q:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n"); n > 20 {
		t.Errorf("%d lines for 41 violations", n)
	}
}

// TestGoodHistoriesAreGreen runs a simple correct system: producers that
// retry, a log that deduplicates, readers, and a sink of each kind that sees
// repeats after crashes.
func TestGoodHistoriesAreGreen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l Ledger
		s := system{t: t, ledger: &l, partitions: rapid.IntRange(1, 3).Draw(t, "partitions")}
		for i := range rapid.IntRange(1, 60).Draw(t, "messages") {
			s.send(uint64(i))
		}
		s.read()
		s.deliver()
		if err := l.Check().Err(); err != nil {
			t.Fatal(err)
		}
	})
}

type system struct {
	t          *rapid.T
	ledger     *Ledger
	partitions int
	logs       [3][]Send
	sent       int
}

// send sends one message, up to three times, until it is acknowledged or
// refused.
func (s *system) send(seq uint64) {
	m := Send{ID: ID{rapid.SampledFrom([]string{"p", "q"}).Draw(s.t, "producer"), seq},
		Key: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(s.t, "key")}
	m.Partition = int(m.Key[0]) % s.partitions
	offset := NoOffset
	for range 3 {
		m.Outcome = rapid.SampledFrom([]Outcome{OK, OK, Info, Fail}).Draw(s.t, "outcome")
		reaches := m.Outcome == OK || m.Outcome == Info && rapid.Bool().Draw(s.t, "reaches")
		if reaches && offset == NoOffset {
			offset = int64(len(s.logs[m.Partition]))
			s.logs[m.Partition] = append(s.logs[m.Partition], m)
		}
		m.Offset = NoOffset
		if m.Outcome == OK {
			m.Offset = offset
		}
		s.ledger.Sent(m)
		s.sent++
		if m.Outcome != Info {
			return
		}
	}
}

func (s *system) read() {
	s.ledger.CheckLogs()
	for p := range s.partitions {
		for _, reader := range []string{"r1", "r2"} {
			from := 0
			if reader == "r2" {
				from = rapid.IntRange(0, len(s.logs[p])).Draw(s.t, "from")
			}
			for i, m := range s.logs[p][from:] {
				s.ledger.Logged(Entry{Reader: reader, Partition: p, Offset: int64(from + i), ID: m.ID, Key: m.Key, Epoch: 1 + uint64(from+i)/7})
			}
		}
		s.ledger.Finished(Read{What: "log", Want: int64(len(s.logs[p])), Got: int64(len(s.logs[p]))})
	}
}

func (s *system) deliver() {
	s.ledger.Declare(Sink{Name: "once", EffectivelyOnce: true})
	s.ledger.Declare(Sink{Name: "again", MaxRepeats: 1000})
	s.ledger.Declare(Sink{Name: "only-a", EffectivelyOnce: true, Expect: func(m Send) bool { return m.Key == "a" }})
	for p := range s.partitions {
		for i := 0; i < len(s.logs[p]); i++ {
			m := s.logs[p][i]
			s.ledger.Delivered(Delivery{Sink: "once", ID: m.ID, Key: m.Key, Attempt: 1})
			if m.Key == "a" {
				s.ledger.Delivered(Delivery{Sink: "only-a", ID: m.ID, Key: m.Key, Attempt: 1})
			}
			s.again(p, i)
		}
	}
}

// again delivers a message, and now and then all since a checkpoint once more.
func (s *system) again(p, i int) {
	m := s.logs[p][i]
	s.ledger.Delivered(Delivery{Sink: "again", ID: m.ID, Key: m.Key, Attempt: 1})
	if rapid.IntRange(0, 9).Draw(s.t, "crash") > 0 {
		return
	}
	for _, m := range s.logs[p][max(0, i-3) : i+1] {
		s.ledger.Delivered(Delivery{Sink: "again", ID: m.ID, Key: m.Key, Attempt: 2, Cause: "crash"})
	}
}
