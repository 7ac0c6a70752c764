package actor

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func TestProducerWaitsForRoomOrFailsAtOnce(t *testing.T) {
	store, plan := storagefake.New(), &script{}
	store.OnAppend(plan.onAppend)
	s := logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	hold := make(chan struct{})
	held := plan.expect(storage.Data, storagefake.Fault{Hold: hold})
	p := newProducer(t, topic, ProducerOptions{WindowAppends: 2})
	quick := newProducer(t, topic, ProducerOptions{WindowAppends: 2, FailFast: true})
	var under []<-chan error
	for _, text := range []string{"a", "b"} {
		under = append(under, outcomeOf(t, p, text), outcomeOf(t, quick, text))
	}
	await(t, held, "the append")
	if err := await(t, outcomeOf(t, quick, "c"), "the refusal"); !errors.Is(err, ErrBackpressure) {
		t.Errorf("a producer that does not wait: %v", err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	waited := make(chan error, 1)
	go func() { waited <- p.AppendAsync(ctx, 0, records("c"), func(Ack, error) { t.Error("it was sent") }) }()
	cancel()
	if err := await(t, waited, "the end of the wait"); !errors.Is(err, context.Canceled) {
		t.Errorf("a producer whose context ended: %v", err)
	}
	next := make(chan (<-chan error), 1)
	go func() { next <- outcomeOf(t, p, "d") }()
	close(hold)
	for _, done := range append(under, await(t, next, "room")) {
		if err := await(t, done, "an append"); err != nil {
			t.Error(err)
		}
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Error(err)
	}
	if _, err := p.Append(testContext(t), 0, records("e")); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

func TestIdempotentProducerGoesBackAfterAFailure(t *testing.T) {
	store, plan := storagefake.New(), &script{}
	store.OnAppend(plan.onAppend)
	s := logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{ID: "p"})
	mustAppend(t, p, 0, "a")
	hold := make(chan struct{})
	held := plan.expect(storage.Data, storagefake.Fault{Hold: hold, Err: storage.ErrFull})
	b := outcomeOf(t, p, "b")
	await(t, held, "the append")
	c := outcomeOf(t, p, "c")
	close(hold)
	if err := await(t, b, "b"); !errors.Is(err, ErrFull) {
		t.Errorf("the append that failed: %v", err)
	}
	if err := await(t, c, "c"); !errors.Is(err, ErrOutOfSequence) {
		t.Errorf("the append behind it: %v", err)
	}
	// Whoever does not wait may not have heard yet: its next records must not get
	// the place of those that failed.
	if _, err := p.Append(testContext(t), 0, records("d")); !errors.Is(err, ErrOutOfSequence) {
		t.Errorf("an append before the failure was noticed: %v", err)
	}
	if err := p.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if p.Sequence(0) != 1 {
		t.Errorf("sequence %d after the failure, want 1", p.Sequence(0))
	}
	mustAppend(t, p, 0, "b")
	mustAppend(t, p, 0, "c")
	expect(t, "the log", readAll(t, openReader(t, topic, 0, FromBeginning())), "0:a", "1:b", "2:c")
}

func TestProducerRefusesBadAppends(t *testing.T) {
	limits := DefaultPartitionLimits()
	limits.SectionBytes = 1000
	s := logSystem(t, storagefake.New(), WithPartitionLimits(limits))
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	tests := map[string]struct {
		partition int
		records   []codec.Record
		says      string
	}{
		"no records":       {0, nil, "at least one record"},
		"no partition":     {1, records("a"), "no partition 1: it has 1"},
		"a large append":   {0, records(strings.Repeat("x", 600), strings.Repeat("x", 600)), "SectionBytes is 1000"},
		"too many headers": {0, []codec.Record{{Headers: make([]codec.Header, 65)}}, "HeaderCount"},
	}
	for name, test := range tests {
		if _, err := p.Append(testContext(t), test.partition, test.records); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, test.says)
		}
	}
	if _, err := topic.NewProducer(ProducerOptions{ID: strings.Repeat("x", 300)}); err == nil {
		t.Error("a producer id of 300 bytes was accepted")
	}
	mustAppend(t, p, 0, "fine")
}

func TestGateLetsThroughInOrder(t *testing.T) {
	g := newGate(10)
	if !g.tryEnter(6) || g.tryEnter(5) {
		t.Fatal("6 of 10 must fit and 5 more must not")
	}
	order := make(chan string, 2)
	ctx := testContext(t)
	enter := func(name string, n int) {
		if err := g.enter(ctx, n); err != nil {
			t.Error(err)
		}
		order <- name
	}
	go enter("large", 99) // counts as 10
	for g.queued() != 1 {
	}
	go enter("small", 1)
	for g.queued() != 2 {
	}
	if g.tryEnter(1) {
		t.Error("somebody passed those who wait")
	}
	g.leave(6)
	if first := await(t, order, "the first"); first != "large" {
		t.Errorf("%s came first", first)
	}
	g.leave(99)
	await(t, order, "the second")

	gone, cancel := context.WithCancel(ctx)
	cancel()
	g.leave(1)
	g.tryEnter(10)
	if err := g.enter(gone, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	g.leave(10)
	if !g.tryEnter(10) {
		t.Error("a waiter that gave up has left something behind")
	}
}

func (g *gate) queued() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting.Len()
}
