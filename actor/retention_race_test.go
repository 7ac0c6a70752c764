package actor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// trimDuring trims while a snapshot is under way that knows nothing of it.
func trimDuring(t *testing.T, topic *Topic, snapshot *heldAppends, before uint64) {
	t.Helper()
	<-snapshot.arrived
	done := make(chan struct{})
	go func() {
		defer close(done)
		if b, err := topic.Trim(context.Background(), 0, before); err != nil || b.First != before {
			t.Errorf("it was trimmed to %+v, %v", b, err)
		}
	}()
	synctest.Wait()
	close(snapshot.release)
	<-done
}

// A snapshot covers the trims that were there when it was made. One that is found while
// the snapshot is being written drops nothing before the next.
func TestATrimWhileASnapshotIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		config  TopicConfig
		entries int // from one snapshot to the next
		compact int // so many records are appended, and compacted, before
		before  uint64
	}{
		"of a plain topic":                    {TopicConfig{Retention: Retention{Forever: true}}, 5, 0, 3},
		"that takes all that was compacted":   {compactedTopic, 8, 4, 10},
		"that takes all of a compacted topic": {compactedTopic, 8, 4, 12},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T) {
				ctx, store, limits := context.Background(), storagefake.New(), compactLimits()
				limits.SnapshotEntries, limits.CacheBytes = c.entries, 1
				s := NewSystem(store, WithPartitionLimits(limits))
				topic := declare(t, s, "orders", c.config)
				p := newProducer(t, topic, ProducerOptions{})
				for i := range c.compact {
					appendPairsTo(t, p, fmt.Sprintf("k%d=x", i))
				}
				if c.compact > 0 {
					compactTopic(t, topic)
				}
				snapshot := holdAppend(store, func(a storagefake.Append) bool { return a.Log == ordersLog && a.Kind == storage.State })
				for i := range c.entries {
					appendPairsTo(t, p, fmt.Sprintf("l%d=x", i))
				}
				trimDuring(t, topic, snapshot, c.before)
				for range 2 {
					got := must[[]located](t)(readPairs(ctx, openReader(t, topic, 0, FromBeginning())))
					if want := c.compact + c.entries - int(c.before); len(got) != want || want > 0 && got[0].offset != c.before {
						t.Errorf("%d records are left, want %d: %v", len(got), want, got)
					}
					time.Sleep(time.Hour)
				}
				mustDo(t, p.Close(ctx), s.Close(ctx))
			})
		})
	}
}

// A consumer that is told of a place that is not there does not look for it for ever.
func TestRelocatingGoesAhead(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		topic := declare(t, s, "orders", TopicConfig{})
		f := &consumerFetch{lane: &consumerLane{consumer: &Consumer{sys: s, options: ConsumerOptions{Start: StartFrom(FromBeginning())}}}, ctx: context.Background(), topic: topic}
		if err := f.relocate(0); err == nil {
			t.Error("it goes on where there is nothing")
		}
	})
}

// slowTrims takes its time to drop entries.
type slowTrims struct{ storage.Store }

type slowTrimLog struct{ storage.Log }

func (s slowTrims) OpenLog(ctx context.Context, name string, o storage.LogOptions) (storage.Log, error) {
	l, err := s.Store.OpenLog(ctx, name, o)
	return slowTrimLog{l}, err
}

func (l slowTrimLog) Trim(ctx context.Context, before uint64) error {
	time.Sleep(time.Second)
	return l.Log.Trim(ctx, before)
}

// What a compaction has replaced, and is about to be dropped, does not count to what a
// topic may hold.
func TestRetentionOfBytesCountsNothingTwice(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		ctx, began := context.Background(), time.Now()
		s := NewSystem(slowTrims{storagefake.New()}, WithPartitionLimits(compactLimits()))
		topic := declare(t, s, "orders", TopicConfig{Compaction: Compaction{Enabled: true, MinCleanableDirtyRatio: 1}, Retention: Retention{Bytes: 2 << 20}})
		p := newProducer(t, topic, ProducerOptions{})
		for i := range 15 {
			appendPairsTo(t, p, fmt.Sprintf("k%d=%s", i, strings.Repeat("x", 100_000)))
		}
		time.Sleep(DefaultRetentionEvery - time.Since(began) - time.Second/2) // so that the next look is before the end of the trim
		compactTopic(t, topic)
		time.Sleep(3 * DefaultRetentionEvery)
		if b := must[Bounds](t)(topic.Bounds(ctx, 0)); b.First != 0 {
			t.Errorf("%d records were dropped of a topic that never held what it may", b.First)
		}
		appendPairsTo(t, p, slices.Repeat([]string{"big=" + strings.Repeat("x", 900_000)}, 2)...)
		time.Sleep(3 * DefaultRetentionEvery)
		if b := must[Bounds](t)(topic.Bounds(ctx, 0)); b.First == 0 {
			t.Error("nothing was dropped of a topic that holds too much")
		}
		mustDo(t, p.Close(ctx), s.Close(ctx))
	})
}
