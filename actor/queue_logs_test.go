package actor

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// logBed is a topic whose partition is log 1.
type logBed struct {
	testing.TB
	sys      *System
	topic    *Topic
	producer *Producer
}

func newLogBed(t testing.TB, store *storagefake.Store, opts ...Option) *logBed {
	t.Helper()
	b := &logBed{TB: t, sys: logSystem(t, store, opts...)}
	b.topic = declare(t, b.sys, "orders", TopicConfig{})
	b.producer = newProducer(t, b.topic, ProducerOptions{})
	incarnation := b.topic.Incarnation()
	b.sys.queueLogs.place = func(log uint32) (logKey, bool) { return logKey{"orders", incarnation, 0}, log == 1 }
	return b
}

// batches appends batches of n records that say their offsets.
func (b *logBed) batches(count, n int) {
	b.Helper()
	for range count {
		at, err := b.topic.Bounds(testContext(b), 0)
		if err != nil {
			b.Fatal(err)
		}
		var all []string
		for i := range n {
			all = append(all, fmt.Sprint(at.Next+uint64(i)))
		}
		mustAppend(b, b.producer, 0, all...)
	}
}

// fetch returns the offsets that pages have between first and next.
func (b *logBed) fetch(first, next uint64) (all []uint64, err error) {
	err = b.sys.fetchPages(testContext(b), 1, first, next, func(p *page) error {
		var r codec.Record
		for i := p.from(first); i < p.len() && p.offset(i) < next; i++ {
			if !p.read(i, &r) || string(r.Value) != fmt.Sprint(p.offset(i)) {
				b.Errorf("the record of offset %d is %q", p.offset(i), r.Value)
			}
			all = append(all, p.offset(i))
		}
		return nil
	})
	return all, err
}

func upTo(first, next uint64) (all []uint64) {
	for ; first < next; first++ {
		all = append(all, first)
	}
	return all
}

func TestPagesOfARangeAreFetched(t *testing.T) {
	small := DefaultPartitionLimits()
	small.CacheBytes = 1 // the store is read
	for name, opts := range map[string][]Option{"from memory": nil, "from the store": {WithPartitionLimits(small)}} {
		t.Run(name, func(t *testing.T) {
			b := newLogBed(t, storagefake.New(), opts...)
			b.batches(10, 7)
			for _, o := range []offsets{{0, 70}, {3, 4}, {6, 8}, {20, 55}, {69, 70}, {60, 500}, {70, 80}, {5, 5}} {
				b.sys.pages.forget(1)
				if o.first > 30 { // some are in memory
					if _, err := b.fetch(40, 45); err != nil {
						t.Fatal(err)
					}
				}
				got, err := b.fetch(o.first, o.next)
				if want := upTo(o.first, min(o.next, 70)); err != nil || !slices.Equal(got, want) {
					t.Errorf("%v has %v, %v", o, got, err)
				}
			}
		})
	}
}

func TestFetchingSaysWhatIsGone(t *testing.T) {
	b := newLogBed(t, storagefake.New())
	b.batches(5, 10)
	if _, err := b.topic.Trim(testContext(t), 0, 20); err != nil {
		t.Fatal(err)
	}
	var gone *OffsetError
	if _, err := b.fetch(5, 30); !errors.As(err, &gone) || gone.First != 20 {
		t.Errorf("what was trimmed: %v", err)
	}
	if got, err := b.fetch(20, 30); err != nil || !slices.Equal(got, upTo(20, 30)) {
		t.Errorf("what is left is %v, %v", got, err)
	}
	if err := b.sys.DeleteTopic(testContext(t), "orders"); err != nil {
		t.Fatal(err)
	}
	declare(t, b.sys, "orders", TopicConfig{})
	b.sys.pages.forget(1)
	if _, err := b.fetch(20, 30); !errors.Is(err, ErrNoTopic) {
		t.Errorf("another topic of that name: %v", err)
	}
	if err := b.sys.fetchPages(testContext(t), 2, 0, 1, nil); !errors.Is(err, ErrNoTopic) {
		t.Errorf("a log that nobody knows: %v", err)
	}
}

func TestWhatIsInMemoryIsNotRead(t *testing.T) {
	b := newLogBed(t, storagefake.New())
	b.batches(2, 10)
	if _, err := b.fetch(0, 20); err != nil {
		t.Fatal(err)
	}
	first := b.sys.pages.find(1, 5)
	if err := b.sys.DeleteTopic(testContext(t), "orders"); err != nil {
		t.Fatal(err)
	}
	if got, err := b.fetch(0, 20); err != nil || len(got) != 20 || b.sys.pages.find(1, 5) != first {
		t.Errorf("without the log: %v, %v", got, err)
	}
}
