package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// logSystem is a system over a store, closed with the test.
func logSystem(t testing.TB, store storage.Store, opts ...Option) *System {
	t.Helper()
	s := NewSystem(store, opts...)
	t.Cleanup(func() {
		if err := s.Close(testContext(t)); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func declare(t testing.TB, s *System, name string, c TopicConfig) *Topic {
	t.Helper()
	topic, err := s.Declare(testContext(t), name, c)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func newProducer(t testing.TB, topic *Topic, o ProducerOptions) *Producer {
	t.Helper()
	p, err := topic.NewProducer(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// records makes one record per text.
func records(texts ...string) []codec.Record {
	rs := make([]codec.Record, len(texts))
	for i, text := range texts {
		rs[i] = codec.Record{Value: []byte(text), Time: codec.NoTime}
	}
	return rs
}

func mustAppend(t testing.TB, p *Producer, partition int, texts ...string) Ack {
	t.Helper()
	ack, err := p.Append(testContext(t), partition, records(texts...))
	if err != nil {
		t.Fatalf("append %v: %v", texts, err)
	}
	return ack
}

func openReader(t testing.TB, topic *Topic, partition int, from From) *Reader {
	t.Helper()
	r, err := topic.OpenReader(testContext(t), partition, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// readAll reads up to the end as "offset:value" texts.
func readAll(t testing.TB, r *Reader) []string {
	t.Helper()
	var all []string
	for {
		batch, err := r.TryNext(testContext(t))
		if errors.Is(err, ErrEnd) {
			return all
		}
		if err != nil {
			t.Fatalf("read at offset %d: %v", r.Offset(), err)
		}
		all = append(all, texts(batch)...)
	}
}

func texts(batch *codec.Batch) []string {
	var all []string
	var r codec.Record
	for offset := batch.Offset(); batch.Next(&r); offset++ {
		all = append(all, fmt.Sprintf("%d:%s", offset, r.Value))
	}
	return all
}

func expect(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestAppendAndReadBack(t *testing.T) {
	s := logSystem(t, storagefake.New())
	topic := declare(t, s, "orders", TopicConfig{Partitions: 2})
	p := newProducer(t, topic, ProducerOptions{})
	if ack := mustAppend(t, p, 0, "a", "b"); ack != (Ack{Partition: 0, Offset: 0, Count: 2}) {
		t.Errorf("first ack: %+v", ack)
	}
	if ack := mustAppend(t, p, 0, "c"); ack.Offset != 2 {
		t.Errorf("offsets are not dense: %+v", ack)
	}
	if ack := mustAppend(t, p, 1, "x"); ack.Offset != 0 || ack.Partition != 1 {
		t.Errorf("first ack of another partition: %+v", ack)
	}
	expect(t, "from the beginning", readAll(t, openReader(t, topic, 0, FromBeginning())), "0:a", "1:b", "2:c")
	expect(t, "from an offset", readAll(t, openReader(t, topic, 0, FromOffset(1))), "1:b", "2:c")
	expect(t, "from the end", readAll(t, openReader(t, topic, 0, FromEnd())))
	expect(t, "the other partition", readAll(t, openReader(t, topic, 1, FromBeginning())), "0:x")
	if b, err := topic.Bounds(testContext(t), 0); err != nil || b != (Bounds{0, 3}) {
		t.Errorf("bounds %+v, %v", b, err)
	}
}

func TestReaderAtTheTailWaitsForTheNextAppend(t *testing.T) {
	s := logSystem(t, storagefake.New())
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	r := openReader(t, topic, 0, FromBeginning())
	got := make(chan string)
	go func() {
		defer close(got)
		for range 3 {
			batch, err := r.Next(testContext(t))
			if err != nil {
				t.Errorf("next: %v", err)
				return
			}
			got <- strings.Join(texts(batch), " ")
		}
	}()
	for i, want := range []string{"0:a", "1:b", "2:c"} {
		mustAppend(t, p, 0, string(rune('a'+i)))
		if text := await(t, got, "the batch"); text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
	await(t, got, "the reader to end")
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("next with a context that ended: %v", err)
	}
	mustAppend(t, p, 0, "d")
	expect(t, "after a wait that was given up", readAll(t, r), "3:d")
}

func TestTopicSurvivesARestart(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	topic := declare(t, s, "orders", TopicConfig{})
	mustAppend(t, newProducer(t, topic, ProducerOptions{}), 0, "a", "b")
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	s = logSystem(t, store.Restart())
	topic, err := s.Topic(testContext(t), "orders")
	if err != nil {
		t.Fatal(err)
	}
	if ack := mustAppend(t, newProducer(t, topic, ProducerOptions{}), 0, "c"); ack.Offset != 2 {
		t.Errorf("offset %d after a restart, want 2", ack.Offset)
	}
	expect(t, "after a restart", readAll(t, openReader(t, topic, 0, FromBeginning())), "0:a", "1:b", "2:c")
}

func TestOffsetAt(t *testing.T) {
	s := logSystem(t, storagefake.New())
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	for i := range 50 {
		mustAppend(t, p, 0, fmt.Sprint(i))
	}
	r := openReader(t, topic, 0, FromBeginning())
	times := map[uint64]int64{}
	for range 50 {
		batch, err := r.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		times[batch.Info.BaseOffset] = batch.Info.AppendTime
	}
	for offset, millis := range times {
		want := offset // the first batch with this time
		for want > 0 && times[want-1] == millis {
			want--
		}
		if got, err := topic.OffsetAt(testContext(t), 0, time.UnixMilli(millis)); err != nil || got != want {
			t.Errorf("offset at the time of %d: got %d, %v, want %d", offset, got, err, want)
		}
	}
	if got, err := topic.OffsetAt(testContext(t), 0, time.UnixMilli(0)); err != nil || got != 0 {
		t.Errorf("offset long ago: %d, %v", got, err)
	}
	if got, err := topic.OffsetAt(testContext(t), 0, time.Now().Add(time.Hour)); err != nil || got != 50 {
		t.Errorf("offset in the future: %d, %v", got, err)
	}
}

// The same on the store that users have: append, stop, open again, trim, read.
func TestTopicOnDisk(t *testing.T) {
	dir := t.TempDir()
	run := func(f func(topic *Topic)) {
		store, err := storage.Open(testContext(t), dir, storage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := NewSystem(store)
		f(declare(t, s, "orders", TopicConfig{Compression: Zstd}))
		if err := errors.Join(s.Close(testContext(t)), store.Close()); err != nil {
			t.Fatal(err)
		}
	}
	run(func(topic *Topic) {
		p := newProducer(t, topic, ProducerOptions{ID: "p"})
		mustAppend(t, p, 0, "a", "b")
		mustAppend(t, p, 0, "c")
	})
	run(func(topic *Topic) {
		if b, err := topic.Trim(testContext(t), 0, 2); err != nil || b != (Bounds{2, 3}) {
			t.Fatalf("trim: %+v, %v", b, err)
		}
		p := newProducer(t, topic, ProducerOptions{ID: "p", Next: map[int]uint64{0: 2}})
		if ack := mustAppend(t, p, 0, "c", "d"); ack != (Ack{Offset: 3, Count: 2, Duplicates: 1}) {
			t.Errorf("after a restart: %+v", ack)
		}
	})
	run(func(topic *Topic) {
		expect(t, "the log", readAll(t, openReader(t, topic, 0, FromBeginning())), "2:c", "3:d")
	})
}
