package actor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/storage"
)

// compactLimits make a partition go to its store for everything and compact the
// least.
func compactLimits() PartitionLimits {
	l := DefaultPartitionLimits()
	l.CacheBytes, l.CompactBytes = 1, 1
	return l
}

var compactedTopic = TopicConfig{Compaction: Compaction{Enabled: true}}

// pair is a keyed record as text: "k=v", or "k" for a tombstone.
func pairs(texts ...string) []Record {
	all := make([]Record, len(texts))
	for i, text := range texts {
		key, value, some := strings.Cut(text, "=")
		if all[i] = (Record{Key: []byte(key), Time: NoTime}); some {
			all[i].Value = []byte(value)
		}
	}
	return all
}

// compactModel is what a compacted partition must amount to: everything that was
// appended, by offset.
type compactModel struct {
	all  []string // as pairs has them
	low  uint64
	both bool // retention drops as well: what is there need not be all
}

// checkWhole reads a partition and holds it against the model.
func (m *compactModel) checkWhole(topic *Topic, from uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	infos, err := topic.Describe(ctx)
	if err != nil {
		return err
	}
	info := infos[0]
	if info.Next != uint64(len(m.all)) || info.First < m.low {
		return fmt.Errorf("it holds %+v, want up to %d and from %d", info.Bounds, len(m.all), m.low)
	}
	r, err := topic.OpenReader(ctx, 0, FromOffset(max(from, info.First)))
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := readPairs(ctx, r)
	if err != nil {
		return err
	}
	return m.check(got, max(from, info.First), info.Compaction.Clean)
}

// located is a record as text, and where it was.
type located struct {
	offset uint64
	text   string
}

func readPairs(ctx context.Context, r *Reader) ([]located, error) {
	var all []located
	for {
		batch, err := r.TryNext(ctx)
		if errors.Is(err, ErrEnd) {
			return all, nil
		}
		if err != nil {
			return all, fmt.Errorf("read at offset %d: %w", r.Offset(), err)
		}
		if all, err = appendPairs(all, batch); err != nil {
			return all, err
		}
	}
}

func appendPairs(all []located, batch *RecordBatch) ([]located, error) {
	for rec := (Record{}); batch.Left() > 0; {
		at := batch.Offset()
		if !batch.Next(&rec) {
			return all, batch.Err()
		}
		text := string(rec.Key)
		if rec.Value != nil {
			text += "=" + string(rec.Value)
		}
		all = append(all, located{at, text})
	}
	return all, nil
}

// check holds what was read from an offset on against the model.
func (m *compactModel) check(got []located, from, clean uint64) error {
	keys, next := map[string]bool{}, from
	for _, rec := range got {
		key, _, _ := strings.Cut(rec.text, "=")
		switch {
		case rec.offset < next:
			return fmt.Errorf("offset %d comes after %d", rec.offset, next)
		case rec.offset >= uint64(len(m.all)) || m.all[rec.offset] != rec.text:
			return fmt.Errorf("offset %d holds %q", rec.offset, rec.text)
		case rec.offset > next && rec.offset > max(clean, next) && next >= clean && !m.both:
			return fmt.Errorf("offsets %d to %d of the head are missing", next, rec.offset)
		case rec.offset < clean && keys[key]:
			return fmt.Errorf("key %q is there twice in front of %d", key, clean)
		}
		keys[key], next = true, rec.offset+1
	}
	if next < uint64(len(m.all)) && !m.both {
		return fmt.Errorf("it ends at %d, and should at %d", next, len(m.all))
	}
	want, is := amounts(m.all[min(from, uint64(len(m.all))):]), map[string]string{}
	for _, rec := range got {
		amount(is, rec.text)
	}
	if !maps.Equal(is, want) && !m.both {
		return fmt.Errorf("it amounts to %v, want %v", is, want)
	}
	for key, value := range is {
		if want[key] != value {
			return fmt.Errorf("it says %s=%s, want %v", key, value, want)
		}
	}
	return nil
}

func amounts(texts []string) map[string]string {
	m := map[string]string{}
	for _, text := range texts {
		amount(m, text)
	}
	return m
}

func amount(m map[string]string, text string) {
	key, value, some := strings.Cut(text, "=")
	if m[key] = value; !some {
		delete(m, key)
	}
}

// compacted logs of the topic under test that are in the store.
func compactedLogs(t testing.TB, store storage.Store) []string {
	t.Helper()
	logs, err := store.Logs(testContext(t), cleanedPrefix(ordersLog))
	if err != nil {
		t.Fatal(err)
	}
	return logs
}

// eventually waits for something that the background has to do.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for until := time.Now().Add(deadline); !done(); {
		if time.Now().After(until) {
			t.Fatalf("timed out waiting for %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func appendPairsTo(t testing.TB, p *Producer, texts ...string) Ack {
	t.Helper()
	ack, err := p.Append(testContext(t), 0, pairs(texts...))
	if err != nil {
		t.Fatalf("append %v: %v", texts, err)
	}
	return ack
}

func compactTopic(t testing.TB, topic *Topic) CompactionInfo {
	t.Helper()
	info, err := topic.Compact(testContext(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// textsOf are "offset:pair".
func textsOf(all []located) []string {
	texts := make([]string, len(all))
	for i, l := range all {
		texts[i] = fmt.Sprintf("%d:%s", l.offset, l.text)
	}
	return texts
}

func readTexts(t testing.TB, topic *Topic, from From) []string {
	t.Helper()
	all, err := readPairs(testContext(t), openReader(t, topic, 0, from))
	if err != nil {
		t.Fatal(err)
	}
	return textsOf(all)
}
