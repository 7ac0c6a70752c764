package topics

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
)

type bill struct{ Sum int }

// unequal publishes values, of which some are not what a codec of bills has written.
func unequal(ctx context.Context, t *testing.T, sys *actor.System, name string, values ...string) {
	t.Helper()
	topic, err := sys.Topic(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := topic.NewProducer(actor.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		r := actor.Record{Key: []byte("k"), Value: []byte(v), Time: 1000, Headers: []actor.Header{{Key: "h", Value: []byte("x")}}}
		if v == "" {
			r.Value = nil
		}
		if _, err := p.Append(ctx, 0, []actor.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestConsumerDecodes(t *testing.T) {
	ctx, sys := engine(t)
	bills := fresh[bill]().AsJSON()
	if _, err := bills.open(ctx); err != nil {
		t.Fatal(err)
	}
	unequal(ctx, t, sys, bills.name, `{"Sum":1}`, "", `{"Sum":2}`)
	got := make(chan string, 3)
	c, err := bills.NewConsumer(ctx, systemOf{sys}, "payers", func(_ context.Context, d *Delivery[bill]) error {
		at, _ := d.EventTime()
		got <- fmt.Sprintf("%s %d %d: %+v %v %s %s %d %s", d.Topic, d.Partition, d.Offset, d.Value, d.Tombstone, d.Key, d.Headers[0].Value, at.UnixMilli(), d.Cause)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"{Sum:1} false", "{Sum:0} true", "{Sum:2} false"} {
		if text := receive(t, got); text != fmt.Sprintf("%s 0 %d: %s k x 1000 first", bills.name, i, want) {
			t.Errorf("it got %s", text)
		}
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}

// What cannot be decoded has a policy of its own, and never blocks what is behind it.
func TestUndecodable(t *testing.T) {
	for name, c := range map[string]struct {
		opts []ConsumerOption
		seen int // by the handler
		ends error
		dead string
	}{
		"dead letter": {nil, 2, nil, "dead-payers"},
		"skip":        {[]ConsumerOption{Undecodable(actor.Skip())}, 2, nil, ""},
		"stop":        {[]ConsumerOption{Undecodable(actor.StopOnFailure{})}, 1, ErrUndecodable, ""},
		"elsewhere":   {[]ConsumerOption{Undecodable(actor.DeadLetter("gibberish"))}, 2, nil, "gibberish"},
		"is not retried": {[]ConsumerOption{OnFailure(actor.RetryInPlace(actor.Backoff{Attempts: actor.Forever, Base: time.Hour}, actor.Skip()))},
			2, nil, "dead-payers"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, sys := engine(t)
			bills := fresh[bill]().AsJSON()
			if _, err := bills.open(ctx); err != nil {
				t.Fatal(err)
			}
			unequal(ctx, t, sys, bills.name, `{"Sum":1}`, "{{{", `{"Sum":2}`)
			seen, stopped := make(chan int, 3), make(chan string, 1)
			opts := append([]ConsumerOption{Listen(actor.Listener{Stopped: func(actor.TopicPartition, error) { stopped <- "stopped" }})}, c.opts...)
			consumer, err := bills.NewConsumer(ctx, systemOf{sys}, "payers", func(_ context.Context, d *Delivery[bill]) error {
				seen <- d.Value.Sum
				return nil
			}, opts...)
			if err != nil {
				t.Fatal(err)
			}
			for i := range c.seen {
				if got := receive(t, seen); got != i+1 {
					t.Errorf("it saw %d", got)
				}
			}
			if c.ends != nil {
				receive(t, stopped)
			}
			if err := consumer.Close(ctx); !errors.Is(err, c.ends) {
				t.Errorf("it ended with %v, want %v", err, c.ends)
			}
			if c.dead != "" {
				got := contents(ctx, t, Of[[]byte](c.dead).StoredAs(asIs{}))
				if len(got) != 1 || string(got[0]) != "{{{" {
					t.Errorf("the dead letters are %q", got)
				}
			}
		})
	}
}

type systemOf struct{ sys *actor.System }

func (s systemOf) System() *actor.System { return s.sys }

func receive[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("timed out")
	}
	return v
}

// asIs is the codec of bytes that are what they are.
type asIs struct{}

var _ codec.Codec[[]byte] = asIs{}

func (asIs) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (asIs) Decode(b []byte) ([]byte, error)             { return append([]byte{}, b...), nil }
func (asIs) Name() string                                { return "as-is" }

// A filter by value passes over what has none, and what it cannot decode.
func TestMatching(t *testing.T) {
	numbers := fresh[int]().AsJSON()
	match := numbers.Matching(func(n int) bool { return n%2 == 0 })
	for value, want := range map[string]bool{"2": true, "3": false, `"2"`: false, "": false} {
		if match(&actor.Record{Value: []byte(value)}) != want {
			t.Errorf("%q: the other way round", value)
		}
	}
	if match(&actor.Record{}) {
		t.Error("a tombstone matches")
	}
}
