// Package sourcetest is the conformance suite of sources: what a topology
// relies on, as tests that any source can be put through.
//
//	func TestMySource(t *testing.T) {
//		sourcetest.Run(t, sourcetest.Harness[string]{New: func(t *testing.T) sourcetest.Case[string] { … }})
//	}
package sourcetest

import (
	"context"
	"errors"
	"io"
	"reflect"
	goruntime "runtime"
	"slices"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/connectortest"
	"github.com/troupestream/troupe/topology"
)

// Case is a source and what it must yield.
type Case[T any] struct {
	Source topology.Source[T]
	// Want are the records of each split, by its id.
	Want map[string][]T
	// Poison is, for each split, how many of Want come in front of a record that
	// cannot be read; one that goes beyond Want is behind all of them. Splits
	// without one are not listed.
	Poison map[string]int
	// Taken, if set, says how many records the source has taken so far from
	// where its data come from.
	Taken func() int64
}

// Harness describes a source to the suite. New is required.
type Harness[T any] struct {
	// New makes a source of a few dozen records in one split or more. It is
	// called for every test. Ends: the splits must end by themselves, or at
	// their end when Until is set.
	New func(t *testing.T) Case[T]
	// Until is put into every request: set End for sources that never end.
	Until topology.Until
	// Poisoned makes a source with a record that cannot be read; nil if there
	// is no such thing.
	Poisoned func(t *testing.T) Case[T]
	// Panicking is Poisoned with a record on which user code that the source calls
	// panics; nil if the source calls none.
	Panicking func(t *testing.T) Case[T]
	// Waiting makes a source whose splits have nothing to read and may get some
	// later; nil if the source never waits.
	Waiting func(t *testing.T) topology.Source[T]
	// Large makes a source of far more records than ReadAhead, with Taken set;
	// nil if there is no way to tell what was taken.
	Large func(t *testing.T) Case[T]
	// ReadAhead is how many records may be taken and not yet be returned.
	ReadAhead int64
	// NotReplayable: the source cannot be resumed, and says so.
	NotReplayable bool
	// OneReader: what a reader has read is with it until it is closed, as with a queue.
	// So no other is opened while it is open.
	OneReader bool
	// Pooled names functions whose goroutines are not the source's own, but kept warm
	// by what it works on: they are no leak.
	Pooled []string
	// Equal compares records; by default reflect.DeepEqual does.
	Equal func(a, b T) bool
}

// Run puts a source through the suite.
func Run[T any](t *testing.T, h Harness[T]) {
	if h.Equal == nil {
		h.Equal = func(a, b T) bool { return reflect.DeepEqual(a, b) }
	}
	t.Run("SplitsAreStable", h.splitsAreStable)
	t.Run("EveryRecordOnceInOrder", h.everyRecordOnce)
	t.Run("EndIsRepeatable", h.endIsRepeatable)
	t.Run("ResumesAnywhere", h.resumesAnywhere)
	t.Run("UnknownSplitIsRefused", h.unknownSplit)
	t.Run("Cancelled", h.cancelled)
	t.Run("CancelledWhileWaiting", h.cancelledWhileWaiting)
	t.Run("PoisonIsPassedOver", func(t *testing.T) { h.poisonIsPassedOver(t, h.Poisoned, false) })
	t.Run("PanicIsPassedOver", func(t *testing.T) { h.poisonIsPassedOver(t, h.Panicking, true) })
	t.Run("DoesNotReadAhead", h.doesNotReadAhead)
	t.Run("LeaksNothing", h.leaksNothing)
}

func (h *Harness[T]) splitsAreStable(t *testing.T) {
	c := h.New(t)
	first, again := splits(t, c.Source), splits(t, c.Source)
	if !slices.Equal(first, again) {
		t.Errorf("Splits returned %q and then %q", first, again)
	}
	if slices.Contains(first, "") {
		t.Errorf("Splits returned an empty id: %q", first)
	}
	if sorted := slices.Sorted(slices.Values(first)); len(slices.Compact(sorted)) != len(first) {
		t.Errorf("Splits returned an id twice: %q", first)
	}
	if len(first) != len(c.Want) {
		t.Errorf("there are splits %q, want %d", first, len(c.Want))
	}
	for _, s := range first {
		if _, ok := c.Want[s]; !ok {
			t.Errorf("split %q was not expected", s)
		}
	}
}

func (h *Harness[T]) everyRecordOnce(t *testing.T) {
	for _, size := range []int{1, 2, 3, 7, 1000} {
		c := h.New(t)
		for _, s := range splits(t, c.Source) {
			r := h.open(t, c.Source, s, nil)
			h.compare(t, s, h.drain(t, r, size), c.Want[s])
			r.Close()
		}
	}
}

func (h *Harness[T]) endIsRepeatable(t *testing.T) {
	c := h.New(t)
	s := splits(t, c.Source)[0]
	r := h.open(t, c.Source, s, nil)
	defer r.Close()
	h.drain(t, r, 10)
	at := r.Position()
	for range 3 {
		b := new(topology.Batch[T])
		if err := r.Read(deadline(t), b, 10); err != io.EOF || b.Len() != 0 {
			t.Fatalf("Read behind the end returned %d records and %v, want io.EOF", b.Len(), err)
		}
	}
	if !slices.Equal(at, r.Position()) {
		t.Errorf("reading at the end moved the position from %q to %q", at, r.Position())
	}
}

// resumesAnywhere reads to every position with every batch size, and reads the
// rest with another reader: the first one abandoned, or closed, or not yet used.
func (h *Harness[T]) resumesAnywhere(t *testing.T) {
	if h.NotReplayable {
		h.resumeIsRefused(t)
		return
	}
	for _, size := range []int{1, 3, 1000} {
		c := h.New(t)
		for _, s := range splits(t, c.Source) {
			h.resumeEverywhere(t, c, s, size)
		}
	}
}

func (h *Harness[T]) resumeEverywhere(t *testing.T, c Case[T], s string, size int) {
	first := h.open(t, c.Source, s, nil)
	defer func() { first.Close() }()
	for read, ended := 0, false; !ended; {
		at := first.Position()
		if again := first.Position(); !slices.Equal(at, again) {
			t.Fatalf("split %q: the position is %q and then %q, without a Read", s, at, again)
		}
		if h.OneReader {
			first.Close()
		}
		second := h.open(t, c.Source, s, at)
		if p := second.Position(); !slices.Equal(at, p) {
			t.Fatalf("split %q: opened at %q, the position is %q", s, at, p)
		}
		h.compare(t, s, h.drain(t, second, 5), c.Want[s][read:])
		second.Close()
		if h.OneReader {
			first = h.open(t, c.Source, s, at)
		}

		b := new(topology.Batch[T])
		err := first.Read(deadline(t), b, size)
		if b.Len() > 0 && first.Position() == nil {
			t.Fatalf("split %q: the position is nil behind %d records", s, read+b.Len())
		}
		read, ended = read+b.Len(), err == io.EOF
		if err != nil && !ended {
			t.Fatalf("split %q after %d records: %v", s, read, err)
		}
	}
}

func (h *Harness[T]) resumeIsRefused(t *testing.T) {
	c := h.New(t)
	s := splits(t, c.Source)[0]
	r := h.open(t, c.Source, s, nil)
	begin := r.Position()
	h.read(t, r, 1)
	r.Close()
	again, err := c.Source.Open(deadline(t), topology.OpenRequest{Split: s, Position: begin, Until: h.Until})
	if err == nil {
		again.Close()
		t.Error("a source that cannot be replayed was opened at a position it has left")
	}
}

func (h *Harness[T]) unknownSplit(t *testing.T) {
	c := h.New(t)
	r, err := c.Source.Open(deadline(t), topology.OpenRequest{Split: "no such split", Until: h.Until})
	if err == nil {
		r.Close()
		t.Error("a split that does not exist was opened")
	}
}

func (h *Harness[T]) cancelled(t *testing.T) {
	c := h.New(t)
	s := splits(t, c.Source)[0]
	r := h.open(t, c.Source, s, nil)
	defer r.Close()
	at := r.Position()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := new(topology.Batch[T])
	if err := r.Read(ctx, b, 10); !errors.Is(err, context.Canceled) || b.Len() != 0 {
		t.Errorf("a cancelled Read returned %d records and %v, want context.Canceled", b.Len(), err)
	}
	if !slices.Equal(at, r.Position()) {
		t.Error("a cancelled Read moved the position")
	}
	h.compare(t, s, h.drain(t, r, 10), c.Want[s])
}

func (h *Harness[T]) cancelledWhileWaiting(t *testing.T) {
	if h.Waiting == nil {
		t.Skip("the source never waits")
	}
	src := h.Waiting(t)
	s := splits(t, src)[0]
	r, err := src.Open(deadline(t), topology.OpenRequest{Split: s})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		close(began)
		ended <- r.Read(ctx, new(topology.Batch[T]), 10)
	}()
	<-began
	for range 1000 {
		goruntime.Gosched() // most likely, Read waits by now; if not, it must return all the same
	}
	select {
	case err := <-ended:
		t.Fatalf("Read did not wait, it returned %v", err)
	default:
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a Read that was cancelled while it waited returned %v, want context.Canceled", err)
		}
	case <-time.After(connectortest.Patience):
		t.Fatal("Read does not return although it was cancelled")
	}
}

func (h *Harness[T]) poisonIsPassedOver(t *testing.T, make func(t *testing.T) Case[T], panics bool) {
	if make == nil {
		t.Skip("the source has no such record")
	}
	for _, size := range []int{1, 4, 1000} {
		c := make(t)
		for s, at := range c.Poison {
			h.poisonAt(t, c, s, at, size, panics)
		}
	}
}

func (h *Harness[T]) poisonAt(t *testing.T, c Case[T], s string, at, size int, panics bool) {
	r := h.open(t, c.Source, s, nil)
	defer r.Close()
	var got []T
	var behind []byte
	for {
		b := new(topology.Batch[T])
		err := r.Read(deadline(t), b, size)
		got = append(got, b.Values...)
		switch {
		case err == io.EOF:
			if behind == nil {
				t.Fatalf("split %q: the poison was not reported", s)
			}
			h.compare(t, s, got, c.Want[s])
			if h.OneReader {
				r.Close()
			}
			h.resumeBehind(t, c, s, behind, at)
			return
		case err != nil:
			if behind != nil {
				t.Fatalf("split %q: reported twice: %v", s, err)
			}
			if len(got) != at {
				t.Errorf("split %q: the poison was reported after %d records, want %d", s, len(got), at)
			}
			if poison := connectortest.Poison(t, err, panics); poison.Where == "" {
				t.Errorf("split %q: the error does not say where: %v", s, poison)
			}
			behind = r.Position()
		}
	}
}

// resumeBehind requires that what was passed over stays so.
func (h *Harness[T]) resumeBehind(t *testing.T, c Case[T], s string, position []byte, at int) {
	if h.NotReplayable {
		return
	}
	r := h.open(t, c.Source, s, position)
	defer r.Close()
	h.compare(t, s, h.drain(t, r, 3), c.Want[s][at:])
}

func (h *Harness[T]) doesNotReadAhead(t *testing.T) {
	if h.Large == nil {
		t.Skip("no way to tell what the source takes")
	}
	c := h.Large(t)
	s := splits(t, c.Source)[0]
	r := h.open(t, c.Source, s, nil)
	defer r.Close()
	for returned := int64(0); returned < 50; {
		returned += int64(len(h.read(t, r, 5)))
		if taken := c.Taken(); taken > returned+h.ReadAhead {
			t.Fatalf("%d records were taken and %d returned; at most %d may be ahead", taken, returned, h.ReadAhead)
		}
	}
}

func (h *Harness[T]) leaksNothing(t *testing.T) {
	c := h.New(t)
	ids := splits(t, c.Source)
	connectortest.LeaksNothing(t, h.Pooled, func() { h.openAndClose(t, c.Source, ids) })
}

func (h *Harness[T]) openAndClose(t *testing.T, s topology.Source[T], ids []string) {
	for _, id := range ids {
		r := h.open(t, s, id, nil)
		// A source that cannot be replayed has nothing left after the first time.
		if err := r.Read(deadline(t), new(topology.Batch[T]), 3); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
}

func splits[T any](t *testing.T, s topology.Source[T]) []string {
	t.Helper()
	ids, err := s.Splits(deadline(t))
	if err != nil || len(ids) == 0 {
		t.Fatalf("Splits: %q, %v", ids, err)
	}
	return ids
}

func (h *Harness[T]) open(t *testing.T, s topology.Source[T], split string, position []byte) topology.SourceReader[T] {
	t.Helper()
	r, err := s.Open(deadline(t), topology.OpenRequest{Split: split, Position: position, Until: h.Until})
	if err != nil {
		t.Fatalf("open split %q at %q: %v", split, position, err)
	}
	return r
}

// read reads one batch and checks its shape.
func (h *Harness[T]) read(t *testing.T, r topology.SourceReader[T], max int) []T {
	t.Helper()
	b := new(topology.Batch[T])
	err := r.Read(deadline(t), b, max)
	switch {
	case err == io.EOF:
		return b.Values
	case err != nil:
		t.Fatalf("Read: %v", err)
	case b.Len() == 0:
		t.Fatal("Read returned neither a record nor an error")
	case b.Len() > max:
		t.Fatalf("Read returned %d records, %d were asked for", b.Len(), max)
	case len(b.Times) != 0 && len(b.Times) != b.Len():
		t.Fatalf("Read returned %d records and %d times", b.Len(), len(b.Times))
	}
	return b.Values
}

// drain reads to the end.
func (h *Harness[T]) drain(t *testing.T, r topology.SourceReader[T], size int) []T {
	t.Helper()
	var all []T
	for {
		values := h.read(t, r, size)
		if len(values) == 0 {
			return all
		}
		all = append(all, values...)
	}
}

func (h *Harness[T]) compare(t *testing.T, split string, got, want []T) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if !h.Equal(got[i], want[i]) {
			t.Fatalf("split %q: record %d is %+v, want %+v", split, i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("split %q: %d records, want %d", split, len(got), len(want))
	}
}

func deadline(t *testing.T) context.Context { return connectortest.Deadline(t) }
