package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// Whoever wants to know is told of each compaction: of one that has failed, of what one
// has read and kept, and of none that found nothing to do.
func TestCompactionIsTold(t *testing.T) {
	var mu sync.Mutex
	var told []Compacted
	store := storagefake.New()
	s := logSystem(t, store, WithPartitionLimits(compactLimits()), WithOnCompact(func(c Compacted) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, c)
	}))
	topic := declare(t, s, "orders", TopicConfig{Partitions: 2, Compaction: Compaction{Enabled: true}})
	p := newProducer(t, topic, ProducerOptions{})
	for _, text := range []string{"a=1", "a=2", "b=1", "b", "c=1"} {
		if _, err := p.Append(testContext(t), 1, pairs(text)); err != nil {
			t.Fatal(err)
		}
	}
	var full atomic.Bool
	full.Store(true)
	store.OnAppend(func(a storagefake.Append) (f storagefake.Fault) {
		if strings.HasPrefix(a.Log, cleanedPrefix("topic_orders_1")) && full.Load() {
			f.Err = storage.ErrFull
		}
		return f
	})
	if _, err := topic.Compact(testContext(t), 1); !errors.Is(err, ErrFull) {
		t.Errorf("without space: %v", err)
	}
	full.Store(false)
	var info CompactionInfo
	for range 2 { // the second has nothing to do
		var err error
		if info, err = topic.Compact(testContext(t), 1); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 2 || !errors.Is(told[0].Err, ErrFull) || told[0].Topic != "orders" || told[0].Partition != 1 {
		t.Fatalf("it was told %+v", told)
	}
	want := Compacted{Topic: "orders", Partition: 1, RecordsBefore: 4, RecordsAfter: 2, Tombstones: 1,
		BytesBefore: info.BytesBefore, BytesAfter: info.BytesAfter, Took: info.Took}
	if told[1] != want || info.BytesAfter == 0 || info.BytesBefore <= info.BytesAfter {
		t.Errorf("it was told %+v, want %+v", told[1], want)
	}
	if got := readPartition(t, topic, 1); !slices.Equal(got, []string{"1:a=2", "3:b", "4:c=1"}) {
		t.Errorf("it holds %v", got)
	}
}

func readPartition(t *testing.T, topic *Topic, partition int) []string {
	t.Helper()
	all, err := readPairs(testContext(t), openReader(t, topic, partition, FromBeginning()))
	if err != nil {
		t.Fatal(err)
	}
	return textsOf(all)
}

// A record that was compacted keeps the time it arrived at: for consumers, and the lag of
// their group.
func TestCompactedRecordsKeepTheirArrival(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		ctx, began := context.Background(), time.Now()
		s := NewSystem(storagefake.New(), WithPartitionLimits(compactLimits()))
		topic := declare(t, s, "orders", compactedTopic)
		p := newProducer(t, topic, ProducerOptions{})
		for i := range 5 {
			appendPairsTo(t, p, fmt.Sprintf("k%d=x", i), "other=x")
			time.Sleep(time.Hour)
		}
		var late []string
		consume := func() {
			c := startConsumer(t, s, ConsumerOptions{}, func(_ context.Context, d *Delivery) error {
				late = append(late, fmt.Sprint(d.Offset, " after ", time.UnixMilli(d.AppendTime).Sub(began)))
				return nil
			})
			time.Sleep(time.Minute)
			closeConsumerOK(t, c)
		}
		consume()
		g := testGroup(t, s)
		must[OffsetPlan](t)(g.Reset(ctx, MoveBy(-8), MoveOptions{}))
		lag := func() time.Duration { return must[Lag](t)(g.Lag(ctx)).Partitions[0].Age }
		before := lag()
		compactTopic(t, topic)
		if after := lag(); after != before {
			t.Errorf("the lag was %v, and is %v after a compaction", before, after)
		}
		late = nil
		consume()
		if got, want := strings.Join(late, ", "), "2 after 1h0m0s, 4 after 2h0m0s, 6 after 3h0m0s, 7 after 3h0m0s, 8 after 4h0m0s, 9 after 4h0m0s"; got != want {
			t.Errorf("arrived: %s, want %s", got, want)
		}
		mustDo(t, p.Close(ctx), s.Close(ctx))
	})
}
