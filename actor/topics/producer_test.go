package topics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/partitioner"
)

type testEngine struct{ sys *actor.System }

func (e testEngine) System() *actor.System { return e.sys }

type purchase struct {
	ID     string
	Amount int
}

// unencodable panics when it is encoded.
type unencodable struct{}

func (unencodable) MarshalJSON() ([]byte, error) { panic("not me") }

func TestProducer(t *testing.T) {
	ctx, sys := engine(t)
	topic := Of[purchase]("orders").Partitions(2).AsJSON().KeyedBy(func(o purchase) []byte { return []byte(o.ID) })
	p, err := topic.NewProducer(ctx, testEngine{sys})
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().UnixMilli()
	at, err := p.Send(ctx, purchase{"ord_123", 4999})
	if err != nil || at != (actor.Published{Partition: 1, Offset: 0}) { // Kafka's hash
		t.Fatalf("it went to %+v, %v", at, err)
	}
	happened := time.UnixMilli(1_700_000_000_000)
	f, err := p.PublishTo(ctx, 0, Message[purchase]{Key: []byte("k"), Value: purchase{"x", 1}, Time: happened,
		Headers: []actor.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}}})
	if err != nil {
		t.Fatal(err)
	}
	if at, err := f.Wait(ctx); err != nil || at != (actor.Published{Partition: 0, Offset: 0}) {
		t.Fatalf("it went to %+v, %v", at, err)
	}
	done := make(chan error, 1)
	err = p.PublishFunc(ctx, Message[purchase]{Key: []byte("ord_123"), Tombstone: true}, func(_ actor.Published, err error) { done <- err })
	if err := errors.Join(err, p.Flush(ctx), <-done); err != nil {
		t.Fatal(err)
	}
	raw, err := sys.Topic(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for partition := range 2 {
		r, err := raw.OpenReader(ctx, partition, actor.FromBeginning())
		if err != nil {
			t.Fatal(err)
		}
		for {
			batch, err := r.TryNext(ctx)
			if errors.Is(err, actor.ErrEnd) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for rec := (actor.Record{}); batch.Next(&rec); {
				got = append(got, fmt.Sprintf("%d %s %s %v %d", partition, rec.Key, rec.Value, rec.Value == nil, len(rec.Headers)))
				if exact := rec.Time == happened.UnixMilli(); exact != (partition == 0) || rec.Time < min(before, happened.UnixMilli()) {
					t.Errorf("a record of partition %d has time %d", partition, rec.Time)
				}
			}
		}
		r.Close()
	}
	want := []string{`0 k {"ID":"x","Amount":1} false 2`, `1 ord_123 {"ID":"ord_123","Amount":4999} false 0`, "1 ord_123  true 0"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the topic holds\n%s", strings.Join(got, "\n"))
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(ctx, purchase{}); !errors.Is(err, actor.ErrClosed) {
		t.Errorf("sent after Close: %v", err)
	}
}

func TestProducerOptions(t *testing.T) {
	ctx, sys := engine(t)
	for name, c := range map[string]struct {
		opts []ProducerOption
		want []int // partitions of four messages without a key
	}{
		"round-robin": {[]ProducerOption{RoundRobin()}, []int{0, 1, 2, 0}},
		"own":         {[]ProducerOption{PartitionBy(func([]byte, int) int { return 2 })}, []int{2, 2, 2, 2}},
	} {
		p, err := Of[int]("t-"+name).Partitions(3).NewProducer(ctx, testEngine{sys}, c.opts...)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			if at, err := p.Send(ctx, i); err != nil || at.Partition != want {
				t.Errorf("%s: message %d went to %+v, %v", name, i, at, err)
			}
		}
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Of[int]("t").NewProducer(ctx, testEngine{sys}, BatchBytes(-1)); err == nil {
		t.Error("a batch of -1 bytes")
	}
	wrong, err := Of[int]("three").Partitions(3).NewProducer(ctx, testEngine{sys}, PartitionBy(func([]byte, int) int { return 3 }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Send(ctx, 1); err == nil || !strings.Contains(err.Error(), "topic three: no such partition: 3") {
		t.Errorf("a partition that there is not: %v", err)
	}
	bad, err := Of[unencodable]("bad").AsJSON().NewProducer(ctx, testEngine{sys}, FailFast(), BufferBytes(1000), DeliveryTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Send(ctx, unencodable{}); err == nil || !strings.Contains(err.Error(), "not me") {
		t.Errorf("a message whose encoding panics: %v", err)
	}
	for _, p := range []interface{ Close(context.Context) error }{wrong, bad} {
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}

// A program that was started again goes on under its name.
func TestProducerGoesOnUnderItsName(t *testing.T) {
	ctx, sys := engine(t)
	for i := range 3 {
		p, err := Of[int]("numbers").NewProducer(ctx, testEngine{sys}, Named("importer"))
		if err != nil {
			t.Fatal(err)
		}
		if at, err := p.Send(ctx, i); err != nil || at.Offset != uint64(i) {
			t.Errorf("message %d is at %+v, %v", i, at, err)
		}
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkProducer(b *testing.B) {
	ctx, sys := engine(b)
	p, err := Of[purchase]("orders").NewProducer(ctx, testEngine{sys})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := p.Publish(ctx, Message[purchase]{Value: purchase{"ord", i}}); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		b.Fatal(err)
	}
}

// SendIf expects something of the key of its first message, unless it is told another,
// and stores all its messages or none.
func TestSendIf(t *testing.T) {
	ctx, sys := engine(t)
	topic := fresh[string]().Partitions(3).KeyIndex().KeyedBy(func(s string) []byte { return []byte(s[:1]) })
	p, err := topic.NewProducer(ctx, testEngine{sys})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	first, err := p.SendIf(ctx, actor.Expected{Offset: actor.NoOffset}, Message[string]{Value: "a1"}, Message[string]{Value: "b1"}, Message[string]{Value: "a2"})
	if err != nil || first.Partition != partitioner.Keyed([]byte("a"), 3) || first.Offset != 0 {
		t.Fatalf("a new key: %+v, %v", first, err)
	}
	var conflict *actor.KeyConflictError
	if _, err := p.SendIf(ctx, actor.Expected{Offset: actor.NoOffset}, Message[string]{Value: "a3"}); !errors.As(err, &conflict) ||
		conflict.Topic != topic.name || conflict.Partition != first.Partition || conflict.Actual != 2 {
		t.Errorf("a key that there is: %v", err)
	}
	if at, err := p.SendIf(ctx, actor.Expected{Key: []byte("a"), Offset: 2}, Message[string]{Key: []byte("c"), Value: "c1"}); err != nil || at.Partition != first.Partition || at.Offset != 3 {
		t.Errorf("another key's: %+v, %v", at, err)
	}
	if _, err := p.SendIf(ctx, actor.Expected{Offset: 2}); err == nil {
		t.Error("nothing was taken")
	}
	if got := partition(ctx, t, topic, strconv.Itoa(first.Partition)).Values; !slices.Equal(got, []string{"a1", "b1", "a2", "c1"}) {
		t.Errorf("it holds %q", got)
	}
}
