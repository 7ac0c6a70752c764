package dataflow

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/keygroup"
	"github.com/troupestream/troupe/internal/watermark"
)

// arrivals is a reader that notes what arrives, watermarks among records.
type arrivals struct {
	rows   []row
	origin []int
	times  []int64
	keys   []int
}

func (a *arrivals) Receive(b *Batch[int]) error {
	a.rows = append(a.rows, rows(b)...)
	a.origin = append(a.origin, b.Origin)
	return nil
}

func (a *arrivals) ReceiveKeyed(b *KeyedBatch[int, int]) error {
	a.keys = append(a.keys, b.Keys...)
	return a.Receive(&b.Batch)
}

func (a *arrivals) Watermark(t int64, _ bool) error {
	a.times = append(a.times, t)
	return nil
}

func TestStreamLinkKeepsRecordsOrderAndColumns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		link := NewStreamLink[int]()
		e := newRecorder(3)
		env := testEnv()
		env.Task = rapid.IntRange(0, 5).Draw(t, "task")
		s := link.NewSender(env, e)
		var want []row
		for range rapid.IntRange(0, 6).Draw(t, "batches") {
			b, all := drawBatch(t)
			want = append(want, all...)
			if err := s.(Receiver[int]).Receive(b); err != nil {
				t.Fatal(err)
			}
			b.Reset() // as its producer would
		}
		s.Flush()
		var got []row
		for target, parcels := range e.sent {
			for _, p := range parcels {
				if p.Batch == nil {
					t.Fatal("a parcel with nothing in it")
				}
				if target != env.Task%3 {
					t.Fatalf("task %d sent records to %d", env.Task, target)
				}
				b := p.Batch.(*Batch[int])
				if p.Records != len(b.Values) || p.Bytes != 8*len(b.Values) {
					t.Fatalf("%d records of %d bytes, said to be %d of %d", len(b.Values), 8*len(b.Values), p.Records, p.Bytes)
				}
				got = append(got, rows(b)...)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

func TestSendersTellEveryTargetOfWatermarksBarriersAndTheEnd(t *testing.T) {
	for name, link := range map[string]Link{
		"stream": NewStreamLink[int](),
		"keyed":  newIntLink(func(v int) int { return v }, DefaultPolicy()),
	} {
		e := newRecorder(2)
		s := link.NewSender(testEnv(), e)
		in := s.(Receiver[int])
		_ = in.Watermark(5, false)
		s.Flush()
		s.Flush() // no news
		_ = in.Receive(&Batch[int]{Values: []int{1, 2, 3}})
		_ = in.Watermark(7, false)
		s.Barrier(1)
		_ = in.Watermark(7, true)
		s.End()
		for target, parcels := range e.sent {
			var seen []Parcel
			records := 0
			for _, p := range parcels {
				records += p.Records
				if p.Records == 0 {
					seen = append(seen, p)
				}
			}
			want := []Parcel{{Watermark: 5}, {Watermark: 7, Barrier: 1}, {Watermark: 7, Idle: true}, {Watermark: 7, Idle: true, End: true}}
			if records == 0 { // nothing else told this target of 7
				want = slices.Insert(want, 1, Parcel{Watermark: 7})
			}
			if !slices.Equal(seen, want) {
				t.Errorf("%s, target %d: %+v, want %+v", name, target, seen, want)
			}
		}
	}
}

func TestKeyedLinkBringsEveryKeyToItsOwner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		link := newIntLink(func(v int) int { return v % 50 }, DefaultPolicy())
		targets := rapid.IntRange(1, 4).Draw(t, "targets")
		e := newRecorder(targets)
		env := testEnv()
		s := link.NewSender(env, e)
		want := map[int][]row{} // by key
		for range rapid.IntRange(0, 6).Draw(t, "batches") {
			b, all := drawBatch(t)
			for _, r := range all {
				want[r.value%50] = append(want[r.value%50], r)
			}
			if err := s.(Receiver[int]).Receive(b); err != nil {
				t.Fatal(err)
			}
		}
		s.Flush()
		got := map[int][]row{}
		for target, parcels := range e.sent {
			h := link.NewHead(1)
			a := &arrivals{}
			if err := h.Connect(a); err != nil {
				t.Fatal(err)
			}
			for _, p := range parcels {
				kb := p.Batch.(*KeyedBatch[int, int])
				for i, hash := range kb.Hashes {
					if hash != link.hash(kb.Keys[i]) {
						t.Fatalf("key %d has hash %x", kb.Keys[i], hash)
					}
					if o := keygroup.Owner(keygroup.Of(hash, env.KeyGroups), env.KeyGroups, targets); o != target {
						t.Fatalf("key %d of task %d came to %d", kb.Keys[i], o, target)
					}
				}
				if err := h.Deliver(0, &p); err != nil {
					t.Fatal(err)
				}
			}
			for i, k := range a.keys {
				got[k] = append(got[k], a.rows[i])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d keys, want %d", len(got), len(want))
		}
		for k := range want {
			if !slices.Equal(got[k], want[k]) {
				t.Fatalf("key %d: %v, want %v", k, got[k], want[k])
			}
		}
	})
}

func TestAKeyFunctionThatPanicsFollowsThePolicy(t *testing.T) {
	link := newIntLink(func(v int) int { return 10 / (v - 2) }, Policy{Attempts: 1, Then: ToTopic, Topic: "bad"})
	e, env := newRecorder(2), testEnv()
	var letters []DeadLetter
	env.DeadLetter = func(d DeadLetter) error { letters = append(letters, d); return nil }
	s := link.NewSender(env, e)
	b := &Batch[int]{Values: []int{1, 2, 3}}
	b.Origin = 1
	if err := s.(Receiver[int]).Receive(b); err != nil {
		t.Fatal(err)
	}
	s.Flush()
	n := 0
	for _, parcels := range e.sent {
		for _, p := range parcels {
			n += p.Records
		}
	}
	if n != 2 || len(letters) != 1 || string(letters[0].Value) != "2" || letters[0].Origin != "o1" {
		t.Errorf("%d records sent, letters %+v", n, letters)
	}
}

func TestHeadsClampMarksToWhatOtherChannelsAllow(t *testing.T) {
	link := NewStreamLink[int]()
	h := link.NewHead(2)
	h.number(3)
	a := &arrivals{}
	if err := h.Connect(a); err != nil {
		t.Fatal(err)
	}
	deliver := func(channel int, p Parcel) {
		t.Helper()
		if err := h.Deliver(channel, &p); err != nil {
			t.Fatal(err)
		}
	}
	batch := func(mark int64) *Batch[int] {
		return &Batch[int]{Columns: Columns{Times: []int64{50}, Marks: []int64{mark}}, Values: []int{1}}
	}
	deliver(0, Parcel{Batch: batch(10), Watermark: 20})
	deliver(1, Parcel{Batch: batch(30), Watermark: 15})
	deliver(0, Parcel{Batch: batch(20), Watermark: 40})
	deliver(1, Parcel{Watermark: 15, Idle: true})
	deliver(0, Parcel{Batch: batch(40), Watermark: 45})
	deliver(0, Parcel{Watermark: math.MaxInt64})
	deliver(1, Parcel{Watermark: math.MaxInt64})
	var marks []int64
	for _, r := range a.rows {
		marks = append(marks, r.mark)
	}
	if want := []int64{watermark.Min, 20, 15, 40}; !slices.Equal(marks, want) {
		t.Errorf("marks %v, want %v", marks, want)
	}
	if want := []int{3, 4, 3, 3}; !slices.Equal(a.origin, want) {
		t.Errorf("origins %v, want %v", a.origin, want)
	}
	if !slices.IsSorted(a.times) || a.times[len(a.times)-1] != math.MaxInt64 {
		t.Errorf("watermarks %v", a.times)
	}
}

func TestPortsAndHeadsRefuseReadersOfAnotherType(t *testing.T) {
	p := &Port[string]{}
	if err := p.Connect(&arrivals{}); err == nil {
		t.Error("a port of strings has taken a reader of ints")
	}
	h := NewKeyedLink(func(string) string { return "" }, func(string) uint64 { return 0 }, Policy{}, nil).NewHead(1)
	if err := h.Connect(&arrivals{}); err == nil {
		t.Error("a head of strings has taken a reader of ints")
	}
}

// refuser is a writer that takes no odd numbers.
type refuser struct {
	SinkWriter
	taken []int
	err   error
}

func (r *refuser) Write(_ context.Context, batch any) error { return r.write(batch.(*Batch[int])) }

func (r *refuser) write(b *Batch[int]) error {
	for i, v := range b.Values {
		if v%2 == 1 {
			return &RecordError{Index: i, Err: errors.New("odd")}
		}
		r.taken = append(r.taken, v)
	}
	return r.err
}

func (r *refuser) Encode(batch any, i int) []byte { return []byte{byte(batch.(*Batch[int]).Values[i])} }

func TestWriteBatchPassesOverRefusedRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOf(rapid.IntRange(0, 99)).Draw(t, "values")
		b := &Batch[int]{Values: slices.Clone(values)}
		for i := range values {
			b.Times = append(b.Times, int64(i))
		}
		env, w := testEnv(), &refuser{}
		var letters, want, wantLetters []int
		env.DeadLetter = func(d DeadLetter) error {
			letters = append(letters, int(d.Value[0]))
			if int(d.Value[0]) != values[d.Time] || d.Node != "op" || d.Topic != "bad" {
				t.Fatalf("letter %+v", d)
			}
			return nil
		}
		for _, v := range values {
			if v%2 == 1 {
				wantLetters = append(wantLetters, v)
			} else {
				want = append(want, v)
			}
		}
		if err := WriteBatch(env, Policy{Then: ToTopic, Topic: "bad"}, NewStreamLink[int](), w, b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.taken, want) || !slices.Equal(letters, wantLetters) || !slices.Equal(b.Values, values) {
			t.Fatalf("taken %v, letters %v of %v", w.taken, letters, b.Values)
		}
	})
	full := errors.New("disk full")
	if err := WriteBatch(testEnv(), Policy{Then: SkipRecord}, NewStreamLink[int](), &refuser{err: full}, &Batch[int]{Values: []int{1, 2}}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if err := WriteBatch(testEnv(), Policy{}, NewStreamLink[int](), &refuser{}, &Batch[int]{Values: []int{1, 2}}); err == nil {
		t.Error("the job goes on without a policy that says so")
	}
}
