package group

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// lot is the naive model of parking: per key the offsets, in order.
type lot struct {
	offsets   map[string][]uint64
	releasing map[string]bool
	processed map[string][]uint64
}

func (l *lot) insert(key string, offset uint64) {
	if i, found := slices.BinarySearch(l.offsets[key], offset); !found {
		l.offsets[key] = slices.Insert(l.offsets[key], i, offset)
	}
}

// A partition with failing records: an owner that reads it in order, from the
// committed offset whenever it changes hands; and somebody who releases and
// skips. Whatever happens, every record of a key is processed or skipped, in
// order but for what is delivered twice, and none is forgotten.
func TestParkedKeysKeepTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		s := &parkingLot{T: t, g: g, model: lot{map[string][]uint64{}, map[string]bool{}, map[string][]uint64{}}}
		for range 40 {
			s.records = append(s.records, []string{"k", "l", "m"}[rapid.IntRange(0, 2).Draw(t, "key")])
		}
		s.takeOver()
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			s.step()
		}
		s.finish()
	})
}

type parkingLot struct {
	*rapid.T
	g       *Group
	records []string // keys, by offset
	model   lot
	owner   int // incarnation
	epoch   uint64
	next    uint64 // to read
}

func (s *parkingLot) id() string { return fmt.Sprint("m", s.owner) }

func (s *parkingLot) apply(c Command) ([]Effect, error) {
	_, effects, err := s.g.Apply(1000, c)
	return effects, err
}

func (s *parkingLot) must(c Command) []Effect {
	effects, err := s.apply(c)
	if err != nil {
		s.Fatalf("%+v: %v", c, err)
	}
	return effects
}

// takeOver replaces the owner. The new one is told what is parked.
func (s *parkingLot) takeOver() {
	if s.owner > 0 {
		s.must(Evict{Member: s.id()})
	}
	s.owner++
	for _, e := range s.must(Join{Member: s.id(), Topics: []Topic{{"orders", 1, 0}}}) {
		if a, ok := e.(Assigned); ok {
			p := a.Partitions[0]
			s.epoch, s.next = p.Epoch, p.Next
			s.compare(p.Parked)
		}
	}
}

// compare compares what is parked with the model.
func (s *parkingLot) compare(list []ParkedKey) {
	if len(list) != len(s.model.offsets) {
		s.Fatalf("%d keys are parked, want %d", len(list), len(s.model.offsets))
	}
	for _, k := range list {
		var got []uint64
		for _, r := range k.Records {
			got = append(got, r.Offset)
		}
		if !slices.Equal(got, s.model.offsets[k.Key]) || k.Releasing != s.model.releasing[k.Key] {
			s.Fatalf("key %s has %v (releasing %v), want %v (%v)", k.Key, got, k.Releasing, s.model.offsets[k.Key], s.model.releasing[k.Key])
		}
	}
}

func (s *parkingLot) ref(key string) KeyRef { return KeyRef{Topic: "orders", Key: key} }

func (s *parkingLot) step() {
	key := []string{"k", "l", "m"}[rapid.IntRange(0, 2).Draw(s.T, "which")]
	switch rapid.IntRange(0, 8).Draw(s.T, "what") {
	case 0:
		s.takeOver()
	case 1:
		s.must(Commit{s.id(), []Offset{{Claim{"orders", 0, s.epoch}, s.next, ""}}})
	case 2:
		_, err := s.apply(ReleaseKey{s.ref(key)})
		s.want(err, s.model.offsets[key] != nil, ErrNotParked)
		if err == nil {
			s.model.releasing[key] = true
		}
	case 3:
		s.skip(key)
	case 4, 5:
		s.replay(key, rapid.IntRange(0, 3).Draw(s.T, "fails") == 0)
	default:
		s.read(rapid.IntRange(0, 3).Draw(s.T, "fails") == 0)
	}
}

func (s *parkingLot) want(err error, ok bool, otherwise error) {
	if ok != (err == nil) || !ok && !errors.Is(err, otherwise) {
		s.Fatalf("got %v, want success %v or %v", err, ok, otherwise)
	}
}

// read reads the next record: a key that is parked holds it, another one is
// processed, or fails and is parked.
func (s *parkingLot) read(fails bool) {
	if s.next == uint64(len(s.records)) {
		return
	}
	offset, key := s.next, s.records[s.next]
	s.next++
	held := s.model.offsets[key]
	record := ParkedRecord{Offset: offset, Parking: offset, Bytes: 1}
	switch {
	case len(held) > 0 && offset >= held[0]:
		s.must(Hold{s.id(), s.epoch, s.ref(key), record, false})
		s.model.insert(key, offset)
	case len(held) > 0: // it comes again
		_, err := s.apply(Hold{s.id(), s.epoch, s.ref(key), record, false})
		s.want(err, false, ErrInvalid)
		if !fails {
			s.process(key, offset)
			break
		}
		s.must(Park{Member: s.id(), Epoch: s.epoch, Key: s.ref(key), Record: record, Attempt: 1, Reason: "failed"})
		s.model.insert(key, offset)
		s.model.releasing[key] = false
	case len(held) == 0 && fails:
		s.must(Park{Member: s.id(), Epoch: s.epoch, Key: s.ref(key), Record: record, Attempt: 1, Reason: "failed"})
		s.model.offsets[key] = []uint64{offset}
	case len(held) == 0 && rapid.IntRange(0, 3).Draw(s.T, "waited") == 0: // behind a record that was skipped meanwhile
		_, err := s.apply(Hold{s.id(), s.epoch, s.ref(key), record, false})
		s.want(err, false, ErrNotParked)
		s.must(Hold{s.id(), s.epoch, s.ref(key), record, true})
		s.model.offsets[key], s.model.releasing[key] = []uint64{offset}, true
	default:
		s.process(key, offset)
	}
}

func (s *parkingLot) process(key string, offset uint64) {
	s.model.processed[key] = append(s.model.processed[key], offset)
}

// replay processes the first record of a key that was released.
func (s *parkingLot) replay(key string, fails bool) {
	if !s.model.releasing[key] {
		return
	}
	first := s.model.offsets[key][0]
	if fails {
		s.must(Park{Member: s.id(), Epoch: s.epoch, Key: s.ref(key), Record: ParkedRecord{Offset: first}, Attempt: 2, Reason: "again"})
		s.model.releasing[key] = false
		return
	}
	s.must(Resolve{s.id(), s.epoch, s.ref(key), first})
	s.process(key, first)
	s.drop(key, first)
}

// drop takes an offset out of the model.
func (s *parkingLot) drop(key string, offset uint64) {
	s.model.offsets[key] = slices.DeleteFunc(s.model.offsets[key], func(o uint64) bool { return o == offset })
	if len(s.model.offsets[key]) == 0 {
		delete(s.model.offsets, key)
		delete(s.model.releasing, key)
	}
}

func (s *parkingLot) skip(key string) {
	held := s.model.offsets[key]
	offset := uint64(rapid.IntRange(0, len(s.records)-1).Draw(s.T, "offset"))
	if len(held) > 0 {
		offset = held[rapid.IntRange(0, len(held)-1).Draw(s.T, "place")]
	}
	release := rapid.Bool().Draw(s.T, "release")
	_, err := s.apply(Skip{s.ref(key), offset, release})
	switch {
	case s.model.releasing[key]:
		s.want(err, false, ErrReplaying)
	default:
		s.want(err, held != nil, ErrNotParked)
	}
	if err == nil {
		s.process(key, offset)
		s.drop(key, offset)
		if release && s.model.offsets[key] != nil {
			s.model.releasing[key] = true
		}
	}
}

// finish reads what is left, releases everything, and looks at what was done.
func (s *parkingLot) finish() {
	for s.next < uint64(len(s.records)) {
		s.read(false)
	}
	for _, key := range []string{"k", "l", "m"} {
		for len(s.model.offsets[key]) > 0 {
			s.must(ReleaseKey{s.ref(key)})
			s.model.releasing[key] = true
			s.replay(key, false)
		}
	}
	list, err := s.g.Parked("orders", 0)
	if err != nil || len(list) > 0 || s.g.parked != (parkedTotal{}) {
		s.Fatalf("still parked: %v, counted %+v, %v", list, s.g.parked, err)
	}
	for offset, key := range s.records {
		if !slices.Contains(s.model.processed[key], uint64(offset)) {
			s.Fatalf("offset %d of key %s was forgotten", offset, key)
		}
	}
}

func TestErrorTextsAreCut(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{{"short", 10, "short"}, {"exactly", 7, "exactly"}, {"longer", 3, "lon"}, {"aäb", 2, "a"}, {"aäb", 3, "aä"}, {"ä", 1, ""}} {
		if got := cut(c.text, c.n); got != c.want {
			t.Errorf("%q cut to %d: %q, want %q", c.text, c.n, got, c.want)
		}
	}
}
