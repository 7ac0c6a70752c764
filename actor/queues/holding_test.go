package queues

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/queue"
)

func TestPositionsKeepMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		refs := rapid.SliceOf(rapid.Custom(func(t *rapid.T) queue.Ref {
			return queue.Ref{Log: rapid.Uint32Range(0, 3).Draw(t, "log"), Offset: rapid.Uint64Range(0, 50).Draw(t, "offset")}
		})).Draw(t, "refs")
		cut := rapid.IntRange(0, len(refs)).Draw(t, "cut")
		var b []byte
		for _, part := range [][]queue.Ref{refs[:cut], refs[cut:]} {
			var s spans
			for _, r := range part {
				s = s.add(r)
			}
			b = s.appendTo(b)
		}
		got, err := parsePosition(b)
		if err != nil || !slices.Equal(got, refs) {
			t.Fatalf("%v became %v, %v", refs, got, err)
		}
	})
}

func FuzzParsePosition(f *testing.F) {
	f.Add(spans{{1, 2, 3}, {4, 5, 6}}.appendTo(nil))
	f.Add([]byte{positionVersion, 1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		refs, err := parsePosition(b)
		if err != nil {
			return
		}
		var s spans
		for _, r := range refs {
			s = s.add(r)
		}
		if again, err := parsePosition(s.appendTo(nil)); err != nil || !slices.Equal(again, refs) {
			t.Errorf("%v became %v, %v", refs, again, err)
		}
	})
}

func (b *bed) consumer(o actor.ConsumeOptions) *actor.QueueConsumer {
	b.t.Helper()
	c, err := b.queue.Subscribe(b.ctx, o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close(b.ctx) })
	return c
}

func (b *bed) next(c *actor.QueueConsumer) *actor.QueueDelivery {
	b.t.Helper()
	d, err := c.Next(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bed) close(c *actor.QueueConsumer) {
	b.t.Helper()
	if err := c.Close(b.ctx); err != nil {
		b.t.Fatal(err)
	}
}

// A message that was given back, because its consumer is gone, and is delivered again, is
// recognized, and acknowledged with the new delivery: when it is covered, or at once if it
// was covered meanwhile.
func TestWhatComesAgainIsRecognized(t *testing.T) {
	for name, late := range map[string]bool{"covered after it came again": true, "covered before": false} {
		t.Run(name, func(t *testing.T) {
			ctx, sys := engineFor(t)
			b := newBed(ctx, t, sys, actor.QueueConfig{})
			b.fill(0, 1)
			h := newHolding(nil, nil)
			first := b.consumer(actor.ConsumeOptions{Hold: true})
			d := b.next(first)
			if !h.take(d) {
				t.Fatal("a new message is not new")
			}
			b.close(first)
			refs := []queue.Ref{d.Ref}
			if !late {
				h.cover(refs)
				if over, open := h.ending(refs, true); len(over) != 0 || len(open) != 1 {
					t.Errorf("%v are over and %v are not, though the acknowledgement came too late", over, open)
				}
			}
			again := b.next(b.consumer(actor.ConsumeOptions{Hold: true}))
			if h.take(again) {
				t.Error("the message is taken for a new one")
			}
			if late {
				h.cover(refs)
			}
			if err := again.Ack(); !errors.Is(err, queue.ErrSettled) {
				t.Errorf("the message was not acknowledged: %v", err)
			}
			if over, open := h.ending(refs, true); len(over) != 1 || len(open) != 0 {
				t.Errorf("%v are over and %v are not", over, open)
			}
			if h.unacknowledged() != 0 {
				t.Errorf("%d are unacknowledged", h.unacknowledged())
			}
		})
	}
}

// What the queue has refused is not taken for acknowledged.
func TestRefusedAcknowledgementsAreOpen(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	b.fill(0, 1)
	h := newHolding(nil, nil)
	d := b.next(b.consumer(actor.ConsumeOptions{Hold: true}))
	h.take(d)
	refs := []queue.Ref{d.Ref}
	h.cover(refs)
	h.refuse(errors.New("too late"))
	if over, open := h.ending(refs, true); len(over) != 0 || len(open) != 1 {
		t.Errorf("%v are over and %v are not", over, open)
	}
	if over, open := h.ending(refs, true); len(over) != 1 || len(open) != 0 {
		t.Errorf("the next time, %v are over and %v are not", over, open)
	}
}

// Positions that were returned do not change with what is read or dropped later.
func TestPositionsStay(t *testing.T) {
	ctx, sys := engineFor(t)
	b := newBed(ctx, t, sys, actor.QueueConfig{})
	b.fill(0, 20)
	h := newHolding(nil, nil)
	c := b.consumer(actor.ConsumeOptions{Hold: true})
	var refs []queue.Ref
	positions := [][]byte{h.position()}
	copies := [][]byte{slices.Clone(positions[0])}
	for i := range 20 {
		d := b.next(c)
		h.take(d)
		refs = append(refs, d.Ref)
		if i == 9 {
			h.drop(refs[:5])
		}
		p := h.position()
		positions, copies = append(positions, p), append(copies, slices.Clone(p))
	}
	for i := range positions {
		if !bytes.Equal(positions[i], copies[i]) {
			t.Fatalf("position %d became another", i)
		}
	}
	got, err := parsePosition(positions[20])
	if err != nil || !slices.Equal(got, refs[5:]) {
		t.Errorf("the last position has %v, want %v (%v)", got, refs[5:], err)
	}
}
