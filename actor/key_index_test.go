package actor

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

var indexedTopic = TopicConfig{KeyIndex: true, Compaction: Compaction{Enabled: true}}

func expecting(key string, offset uint64) Expected { return Expected{[]byte(key), offset} }

// wantConflict checks that an append was refused because of what there is.
func wantConflict(t *testing.T, what string, err error, actual uint64) {
	t.Helper()
	var conflict *KeyConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, ErrKeyConflict) || conflict.Actual != actual || conflict.Topic != "orders" {
		t.Errorf("%s: %v; want a conflict with %d", what, err, actual)
	}
}

// An append goes through if the key is as expected, and only then; so it does after
// compaction, in another process, and when it is sent again.
func TestAppendIf(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store, WithPartitionLimits(compactLimits()))
	topic := declare(t, s, "orders", indexedTopic)
	p := newProducer(t, topic, ProducerOptions{ID: "job"})
	try := func(what string, e Expected, texts ...string) (Ack, error) {
		ack, err := p.AppendIf(testContext(t), 0, e, pairs(texts...))
		if err != nil && !errors.Is(err, ErrKeyConflict) {
			t.Errorf("%s: %v", what, err)
		}
		return ack, err
	}
	goes := func(what string, e Expected, offset uint64, texts ...string) {
		if ack, err := try(what, e, texts...); err != nil || ack.Offset != offset {
			t.Errorf("%s: %+v, %v", what, ack, err)
		}
	}
	goes("a new key", expecting("a", NoOffset), 0, "a=1", "b=1", "a=2")
	_, err := try("one that exists", expecting("a", NoOffset), "a=x")
	wantConflict(t, "one that exists", err, 2)
	_, err = try("an older one", expecting("a", 0), "a=x")
	wantConflict(t, "an older one", err, 2)
	_, err = try("one that does not exist", expecting("z", 2), "z=x")
	wantConflict(t, "one that does not exist", err, NoOffset)
	goes("the newest", expecting("a", 2), 3, "a=3")
	goes("a tombstone", expecting("b", 1), 4, "b")
	goes("behind a tombstone", expecting("b", 4), 5, "b")
	goes("a deleted key", expecting("b", NoOffset), 6, "b=2")
	saved := p.Sequence(0)
	goes("before the end", expecting("a", 3), 7, "a=4")
	compactTopic(t, topic)
	_, err = try("after compaction", expecting("a", 3), "a=x")
	wantConflict(t, "after compaction", err, 7)
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}

	s = logSystem(t, store.Restart(), WithPartitionLimits(compactLimits()))
	topic = declare(t, s, "orders", indexedTopic)
	p = newProducer(t, topic, ProducerOptions{ID: "job", Epoch: 1, Next: map[int]uint64{0: saved}})
	if ack, err := p.AppendIf(testContext(t), 0, expecting("a", 3), pairs("a=4")); err != nil || ack != (Ack{Offset: 7, Count: 1, Duplicates: 1}) {
		t.Errorf("sent again: %+v, %v", ack, err)
	}
	_, err = try("in another process", expecting("b", 4), "b=x")
	wantConflict(t, "in another process", err, 6)
	goes("in another process", expecting("b", 6), 8, "b=3")
	if _, err := topic.Trim(testContext(t), 0, 9); err != nil {
		t.Fatal(err)
	}
	_, err = try("trimmed", expecting("b", 8), "b=x")
	wantConflict(t, "trimmed", err, NoOffset)
	goes("trimmed", expecting("b", NoOffset), 9, "b=4")
}

// Many count up one key and some others, each from what it believes: every number is
// there once, in order.
func TestAppendIfFromMany(t *testing.T) {
	const workers, each = 4, 25
	s := logSystem(t, storagefake.New())
	topic := declare(t, s, "orders", indexedTopic)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			p, err := topic.NewProducer(ProducerOptions{ID: fmt.Sprint("w", w)})
			if err != nil {
				t.Error(err)
				return
			}
			at := NoOffset
			for done := 0; done < each; {
				ack, err := p.AppendIf(testContext(t), 0, expecting("n", at), pairs("n=1", fmt.Sprintf("own%d=1", w)))
				var conflict *KeyConflictError
				switch {
				case err == nil:
					at = ack.Offset
					done++
				case errors.As(err, &conflict):
					at = conflict.Actual
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if b, err := topic.Bounds(testContext(t), 0); err != nil || b.Next != 2*workers*each {
		t.Errorf("it holds %+v, %v", b, err)
	}
}

// An answer is lost, and so is an append: the index has what the log has.
func TestAppendIfAndLostAnswers(t *testing.T) {
	store, plan := storagefake.New(), &script{}
	store.OnAppend(plan.onAppend)
	s := logSystem(t, store)
	topic := declare(t, s, "orders", indexedTopic)
	p := newProducer(t, topic, ProducerOptions{})
	at := NoOffset
	for i, fault := range []storagefake.Fault{{}, {LoseReply: true}, {LoseRequest: true}, {}} {
		plan.expect(storage.Data, fault)
		ack, err := p.AppendIf(testContext(t), 0, expecting("a", at), pairs("a=1"))
		if err != nil || ack.Offset != uint64(i) {
			t.Fatalf("append %d: %+v, %v", i, ack, err)
		}
		at = ack.Offset
	}
	plan.expect(storage.Data, storagefake.Fault{Err: ErrFull})
	if _, err := p.AppendIf(testContext(t), 0, expecting("a", at), pairs("a=2")); !errors.Is(err, ErrFull) {
		t.Errorf("a full store: %v", err)
	}
	if _, err := p.AppendIf(testContext(t), 0, expecting("a", at), pairs("a=2")); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestWithoutAKeyIndex(t *testing.T) {
	l := DefaultPartitionLimits()
	l.KeyIndexBytes = 3 * 64
	s := logSystem(t, storagefake.New(), WithPartitionLimits(l))
	plain := newProducer(t, declare(t, s, "plain", TopicConfig{}), ProducerOptions{})
	if _, err := plain.AppendIf(testContext(t), 0, expecting("a", NoOffset), pairs("a=1")); !errors.Is(err, ErrNoKeyIndex) || !strings.Contains(err.Error(), "declare") {
		t.Errorf("a topic without: %v", err)
	}
	if _, err := s.AlterTopic(testContext(t), "plain", func(c *TopicConfig) { c.KeyIndex = true }); !errors.Is(err, ErrConflict) {
		t.Errorf("altering it: %v", err)
	}
	p := newProducer(t, declare(t, s, "orders", TopicConfig{KeyIndex: true}), ProducerOptions{})
	appendPairsTo(t, p, "a=1", "b=1", "c=1", "a=2")
	if _, err := p.AppendIf(testContext(t), 0, expecting("a", 3), pairs("a=3")); err != nil {
		t.Errorf("as many keys as fit: %v", err)
	}
	appendPairsTo(t, p, "d=1")
	if _, err := p.AppendIf(testContext(t), 0, expecting("a", 4), pairs("a=4")); !errors.Is(err, ErrNoKeyIndex) || !strings.Contains(err.Error(), "KeyIndexBytes") {
		t.Errorf("more keys than fit: %v", err)
	}
	if _, err := p.AppendIf(testContext(t), 0, Expected{}, pairs("a=4")); err == nil {
		t.Error("an expectation without a key was taken")
	}
	appendPairsTo(t, p, "e=1")
}

// Keys of which no record is kept any more take no room.
func TestTheKeyIndexForgets(t *testing.T) {
	ctx, l := testContext(t), DefaultPartitionLimits()
	l.KeyIndexBytes = 4 * 64
	s := logSystem(t, storagefake.New(), WithPartitionLimits(l))
	topic := declare(t, s, "orders", TopicConfig{KeyIndex: true})
	p := newProducer(t, topic, ProducerOptions{})
	for i := range 100 {
		if i > 2 {
			must[Bounds](t)(topic.Trim(ctx, 0, uint64(i-2)))
		}
		key := fmt.Sprint("key-", i)
		must[Ack](t)(p.AppendIf(ctx, 0, expecting(key, NoOffset), pairs(key+"=1")))
	}
	if _, err := p.AppendIf(ctx, 0, expecting("key-98", 98), pairs("key-98=2")); err != nil {
		t.Errorf("a key that is kept: %v", err)
	}
	if _, err := p.AppendIf(ctx, 0, expecting("key-98", 98), pairs("key-98=3")); !errors.Is(err, ErrKeyConflict) {
		t.Errorf("a key with another record: %v", err)
	}
	if _, err := p.AppendIf(ctx, 0, expecting("key-1", NoOffset), pairs("key-1=2")); err != nil {
		t.Errorf("a key that is gone: %v", err)
	}
}
