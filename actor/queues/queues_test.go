package queues

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type engine struct{ sys *actor.System }

func (e engine) System() *actor.System { return e.sys }

// newEngine is an engine over a store in memory, and a context that ends in time.
func newEngine(t testing.TB) (context.Context, engine) {
	t.Helper()
	store := storagefake.New()
	e := engine{actor.NewSystem(store)}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(func() {
		defer cancel()
		if err := e.sys.Close(ctx); err != nil {
			t.Error(err)
		}
		store.Close()
	})
	return ctx, e
}

type order struct {
	ID   string
	Kind string
}

var orders = ExchangeOf[order]("orders").Type(actor.TopicExchange).AsJSON().
	RoutedBy(func(o order) string { return "orders." + o.Kind }).
	KeyedBy(func(o order) []byte { return []byte(o.ID) }).
	IdentifiedBy(func(o order) string { return o.ID })

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Values that are published are in the queues that are bound for them, with what the
// exchange says of them.
func TestPublishAndConsume(t *testing.T) {
	ctx, e := newEngine(t)
	books := Of[order]("books").AsJSON().From(orders, "orders.book")
	all := Of[order]("all").AsJSON().From(orders, "orders.#")
	for _, q := range []Queue[order]{books, all} {
		must[*actor.Queue](t)(q.Declare(ctx, e))
	}
	p := must[*Publisher[order]](t)(orders.NewPublisher(ctx, e))
	defer p.Close(ctx)
	for o, want := range map[order]int{{"o1", "book"}: 2, {"o2", "pen"}: 1} {
		if c := must[actor.Confirmation](t)(p.Send(ctx, o)); c.Queues != want {
			t.Errorf("%v has reached %d queues, not %d", o, c.Queues, want)
		}
	}
	got := make(chan *Delivery[order], 2)
	c := must[*actor.QueueConsumer](t)(books.Consume(ctx, e, func(_ context.Context, d *Delivery[order]) error {
		got <- d
		return nil
	}, Prefetch(5), Concurrency(2)))
	d := <-got
	if d.Value != (order{"o1", "book"}) || d.RoutingKey() != "orders.book" || string(d.Key()) != "o1" || d.MessageID() != "o1" {
		t.Errorf("%+v, %q, %q, %q", d.Value, d.RoutingKey(), d.Key(), d.MessageID())
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	s := must[*Consumer[order]](t)(all.Subscribe(ctx, e))
	defer s.Close(ctx)
	for range 2 {
		d := must[*Delivery[order]](t)(s.Next(ctx))
		if err := d.AckSync(ctx); err != nil {
			t.Error(err)
		}
	}
}

// What cannot be decoded is rejected, whoever fetches it, and holds nobody up.
func TestUndecodable(t *testing.T) {
	ctx, e := newEngine(t)
	q := Of[order]("work").AsJSON().Configure(func(c *actor.QueueConfig) { c.DeadLetterRoutingKey = "dead" })
	dead := must[*actor.Queue](t)(Bytes("dead").Declare(ctx, e))
	texts := must[*Publisher[string]](t)(Text("work").Configure(func(c *actor.QueueConfig) { c.DeadLetterRoutingKey = "dead" }).NewPublisher(ctx, e))
	defer texts.Close(ctx)
	good := make(chan string, 1)
	for _, text := range []string{"gibberish", `{"ID":"o1"}`, "rubbish", "trash", `{"ID":"o2"}`} {
		must[actor.Confirmation](t)(texts.Send(ctx, text))
	}
	c := must[*actor.QueueConsumer](t)(q.Consume(ctx, e, func(_ context.Context, d *Delivery[order]) error {
		good <- d.Value.ID
		return nil
	}))
	for _, want := range []string{"o1", "o2"} {
		if id := <-good; id != want {
			t.Errorf("it got %s, not %s", id, want)
		}
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	letters := must[[]*actor.QueueDelivery](t)(dead.Get(ctx, 3, time.Minute))
	if len(letters) != 3 || letters[0].Deaths()[0].Reason != "rejected" {
		t.Errorf("%d dead letters", len(letters))
	}
	for _, l := range letters {
		if err := l.AckSync(ctx); err != nil {
			t.Error(err)
		}
	}
	must[actor.Confirmation](t)(texts.Send(ctx, "junk"))
	must[actor.Confirmation](t)(texts.Send(ctx, `{"ID":"o3"}`))
	all := must[[]*Delivery[order]](t)(q.Get(ctx, e, 2, time.Minute))
	if len(all) != 1 || all[0].Value.ID != "o3" {
		t.Errorf("it got %d", len(all))
	}
	for _, d := range all {
		if err := d.Ack(); err != nil {
			t.Error(err)
		}
	}
}

// A codec that panics fails one value, not the program.
func TestCodecPanics(t *testing.T) {
	ctx, e := newEngine(t)
	q := Of[order]("work").StoredAs(bad{})
	p := must[*Publisher[order]](t)(q.NewPublisher(ctx, e))
	defer p.Close(ctx)
	if _, err := p.Send(ctx, order{}); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Error(err)
	}
}

type bad struct{}

func (bad) Append([]byte, order) ([]byte, error) { panic("no such thing") }
func (bad) Name() string                         { return "bad" }
func (bad) Decode([]byte) (order, error)         { panic("no such thing") }

func TestRequest(t *testing.T) {
	ctx, e := newEngine(t)
	q := Text("questions")
	c := must[*actor.QueueConsumer](t)(q.Consume(ctx, e, func(ctx context.Context, d *Delivery[string]) error {
		return d.Reply(ctx, &actor.Message{Body: []byte(d.Value + "!")})
	}))
	defer c.Close(ctx)
	p := must[*Publisher[string]](t)(q.NewPublisher(ctx, e))
	defer p.Close(ctx)
	if r, err := p.Request(ctx, "really"); err != nil || string(r.Body) != "really!" {
		t.Error(r, err)
	}
}

// A description without a configuration takes what is there; one with another is a
// conflict.
func TestDescriptions(t *testing.T) {
	ctx, e := newEngine(t)
	configured := Text("work").Configure(func(c *actor.QueueConfig) { c.MaxLength = 5 })
	must[*actor.Queue](t)(configured.Declare(ctx, e))
	if q := must[*actor.Queue](t)(Text("work").Declare(ctx, e)); q.Config().MaxLength != 5 {
		t.Errorf("%+v", q.Config())
	}
	if _, err := configured.Configure(func(c *actor.QueueConfig) { c.MaxLength = 6 }).Declare(ctx, e); !errors.Is(err, actor.ErrConflict) {
		t.Error(err)
	}
	if _, err := Text("work").Declare(ctx, nil); err == nil {
		t.Error("there is no engine")
	}
	if _, err := Text("work").Consume(ctx, e, nil); err == nil {
		t.Error("there is no handler")
	}
}
