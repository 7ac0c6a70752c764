package queues

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

func ints(from, to int) (all []int) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

// read reads n messages.
func (b *bed) read(r topology.SourceReader[task], n int) (ids []int) {
	b.t.Helper()
	for len(ids) < n {
		batch := new(topology.Batch[task])
		if err := r.Read(b.ctx, batch, n-len(ids)); err != nil {
			b.t.Fatal(err)
		}
		for _, v := range batch.Values {
			ids = append(ids, v.ID)
		}
	}
	return ids
}

func (b *bed) stats() actor.QueueStats {
	b.t.Helper()
	s, err := b.queue.Stats(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bed) report(s *source[task], position []byte) {
	b.t.Helper()
	if err := s.Report(b.ctx, dataflow.Positions{b.tasks.name: position}); err != nil {
		b.t.Fatal(err)
	}
}

func positionHas(t *testing.T, position []byte) int {
	t.Helper()
	refs, err := parsePosition(position)
	if err != nil {
		t.Fatal(err)
	}
	return len(refs)
}

func TestACompleteCheckpointAcknowledgesWhatItCovers(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	b.fill(0, 30)
	r, s := b.open(nil)
	b.read(r, 10)
	first := r.Position()
	b.read(r, 8)
	if got := b.stats(); got.Acked != 0 || got.InFlight != 30 {
		t.Errorf("before the checkpoint: %+v", got.QueueCounts)
	}
	b.report(s, first)
	if got := b.stats(); got.Acked != 10 || got.InFlight != 20 {
		t.Errorf("behind it: %+v", got.QueueCounts)
	}
	if n := positionHas(t, r.Position()); n != 8 {
		t.Errorf("the position still has %d messages, want 8", n)
	}
	b.report(s, first) // again: there is nothing left to do
	b.report(s, r.Position())
	if got := b.stats(); got.Acked != 18 {
		t.Errorf("behind the second: %+v", got.QueueCounts)
	}
}

// The job dies behind a complete checkpoint and before its acknowledgements: what is in
// the state comes again, is passed over, and is acknowledged without another checkpoint.
func TestWhatIsInTheStateIsPassedOver(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	b.fill(0, 30)
	r, _ := b.open(nil)
	b.read(r, 10)
	at := r.Position()
	b.read(r, 7) // behind the checkpoint: to come again
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r, s := b.open(at)
	if got := b.drain(r); !slices.Equal(got, ints(10, 30)) {
		t.Errorf("got %v, want 10 to 29", got)
	}
	b.report(s, at)
	if got := b.stats(); got.Acked != 10 || got.InFlight != 20 {
		t.Errorf("%+v", got.QueueCounts)
	}
	if n := positionHas(t, r.Position()); n != 20 {
		t.Errorf("the position has %d messages, want 20", n)
	}
}

// A checkpoint that is older than the acknowledgements has messages that never come again.
// They are not waited for.
func TestPositionsForgetWhatNeverComesAgain(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	b.fill(0, 20)
	r, s := b.open(nil)
	b.read(r, 10)
	at := r.Position()
	b.report(s, at)
	r.Close()
	r, s = b.open(at)
	if got := b.drain(r); !slices.Equal(got, ints(10, 20)) {
		t.Errorf("got %v, want 10 to 19", got)
	}
	b.report(s, r.Position())
	if n := positionHas(t, r.Position()); n != 0 || b.stats().Live != 0 {
		t.Errorf("the position has %d messages, the queue %d", n, b.stats().Live)
	}
}

func TestSourceReadsNoMoreThanItMayHaveInHand(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	b.fill(0, 10)
	r, s := b.open(nil, Prefetch(4))
	b.read(r, 4)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := r.consumer.Next(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("there is a fifth message: %v", err)
	}
	if got := b.stats(); got.InFlight != 4 || got.Ready != 6 {
		t.Errorf("%+v", got.QueueCounts)
	}
	b.report(s, r.Position())
	b.read(r, 4)
}

// What a job reads is acknowledged by its checkpoints alone, whatever options it is given.
func TestOptionsOfHandlersMeanNothingToAJob(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	b.fill(0, 10)
	r, _ := b.open(nil, AtMostOnce(), Concurrency(-1), HandlerTimeout(-1))
	b.read(r, 10)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := b.stats(); got.Acked != 0 || got.Ready != 10 {
		t.Errorf("%+v", got.QueueCounts)
	}
}

func TestAJobCanHaveAQueueAlone(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	b.open(nil, Exclusive())
	if _, err := b.queue.Subscribe(ctx, actor.ConsumeOptions{}); !errors.Is(err, actor.ErrExclusive) {
		t.Errorf("%v", err)
	}
}

// Event time is what the publisher said, or else when the message was published.
func TestMessagesHaveTheirTimes(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	b.fill(0, 1)
	r, _ := b.open(nil)
	batch := new(topology.Batch[task])
	if err := r.Read(ctx, batch, 1); err != nil || len(batch.Times) != 1 || batch.Times[0] <= 0 {
		t.Errorf("times %v, %v", batch.Times, err)
	}
}

func TestSourcesThatCannotBe(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	src := b.tasks.Source()
	for text, r := range map[string]topology.OpenRequest{
		"has no split":               {Split: "other"},
		"cannot choose where":        {Split: b.tasks.name, Start: topology.Start{Kind: topology.StartOffset}},
		"not to an offset":           {Split: b.tasks.name, Until: topology.Until{Offset: 7}},
		"start the job afresh":       {Split: b.tasks.name, Position: []byte("17@4")},
		"the checkpoint's position ": {Split: b.tasks.name, Position: []byte{positionVersion}},
	} {
		if _, err := src.Open(ctx, r); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v, want one that says %q", r, err, text)
		}
	}
	if _, err := src.Splits(context.Background()); !errors.Is(err, ErrNoEngine) {
		t.Errorf("%v", err)
	}
}

func TestAQueueThatIsDeletedFailsItsReader(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	r, err := b.source().Open(ctx, topology.OpenRequest{Split: b.tasks.name})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	failed := make(chan error, 1)
	go func() { failed <- r.Read(ctx, new(topology.Batch[task]), 1) }()
	if err := b.queue.Delete(ctx, actor.QueueDelete{}); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, actor.ErrNoQueue) {
		t.Errorf("%v", err)
	}
}
