package actor

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// TestASlowGroupAndAFastOne: a million records lie in one partition. One group stands
// at its first record; the other has all of them, in order, and what both hold is what
// their limits allow. Then the slow one has them all, too: nothing of it was lost to
// the other's progress.
func TestASlowGroupAndAFastOne(t *testing.T) {
	n := uint64(1_000_000)
	if testing.Short() || raceDetector {
		n = 50_000
	}
	s := logSystem(t, storagefake.New())
	topic, ctx := declare(t, s, "orders", TopicConfig{}), testContext(t)
	p, err := topic.NewProducer(ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	batch := make([]Record, 1000)
	for at := uint64(0); at < n; at += uint64(len(batch)) {
		for i := range batch {
			batch[i] = Record{Value: binary.BigEndian.AppendUint64(nil, at+uint64(i)), Time: NoTime}
		}
		if _, err := p.Append(ctx, 0, batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	start := func(name string, handled *atomic.Uint64, wait <-chan struct{}) (all chan struct{}) {
		all = make(chan struct{})
		startConsumer(t, s, ConsumerOptions{Group: name}, func(ctx context.Context, d *Delivery) error {
			select {
			case <-wait:
			case <-ctx.Done():
				return ctx.Err()
			}
			if got, want := binary.BigEndian.Uint64(d.Value), handled.Load(); got != want || d.Offset != want || d.Attempt != 1 {
				t.Errorf("group %s: record %d came at offset %d, attempt %d, after %d others", name, got, d.Offset, d.Attempt, want)
			}
			if handled.Add(1) == n {
				close(all)
			}
			return nil
		})
		return all
	}
	var slow, fast atomic.Uint64
	gate, open := make(chan struct{}), make(chan struct{})
	close(open)
	slowHasAll := start("slow", &slow, gate)
	awaitAll := func(name string, all <-chan struct{}) {
		t.Helper()
		select {
		case <-all:
		case <-time.After(2 * time.Minute):
			t.Fatalf("the %s group: %d records and %d, of %d", name, slow.Load(), fast.Load(), n)
		}
	}
	awaitAll("fast", start("fast", &fast, open))
	if slow.Load() != 0 {
		t.Errorf("the slow group has handled %d records", slow.Load())
	}
	close(gate)
	awaitAll("slow", slowHasAll)
}
