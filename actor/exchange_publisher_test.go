package actor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/routing"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// bed is a system with exchanges and queues.
type bed struct {
	testing.TB
	*System
	ctx context.Context
}

// idleBed is a bed whose queues do not run: what is published stays ahead of them.
func idleBed(t testing.TB, store storage.Store) *bed {
	return &bed{t, idleQueues(t, logSystem(t, store)), testContext(t)}
}

// idleQueues opens the directory of a system without its shards.
func idleQueues(t testing.TB, s *System) *System {
	t.Helper()
	d := must[*queueDirectory](t)(openDirectory(testContext(t), s))
	for _, q := range d.byName.all() {
		q.admission.opens(queue.Counter{}, false)
	}
	s.exchanges.open.Store(d)
	return s
}

func (b *bed) exchange(name string, c ExchangeConfig) *Exchange {
	b.Helper()
	return must[*Exchange](b)(b.DeclareExchange(b.ctx, name, c))
}

func (b *bed) queue(name string, c QueueConfig) *queueInfo {
	b.Helper()
	return must[*queueInfo](b)(b.declareQueue(b.ctx, name, c))
}

func (b *bed) bind(all ...Binding) {
	b.Helper()
	for _, binding := range all {
		mustDo(b, b.Bind(b.ctx, binding))
	}
}

func (b *bed) publisher(exchange string, o ExchangePublisherOptions) *ExchangePublisher {
	b.Helper()
	p := must[*ExchangePublisher](b)(must[*Exchange](b)(b.Exchange(b.ctx, exchange)).NewPublisher(b.ctx, o))
	b.Cleanup(func() { mustDo(b, p.Close(testContext(b))) })
	return p
}

func (b *bed) publish(p *ExchangePublisher, m *Message) Confirmation {
	b.Helper()
	return must[Confirmation](b)(p.PublishSync(b.ctx, m))
}

// storedMessage is a message as a log has it.
type storedMessage struct {
	body    string
	key     string
	env     envelope.Envelope
	headers []MessageHeader
	time    int64
}

// inTopic reads all messages of a topic.
func (b *bed) inTopic(name string) (all []storedMessage) {
	b.Helper()
	t := must[*Topic](b)(b.Topic(b.ctx, name))
	for i := range t.Partitions() {
		reader := must[*Reader](b)(t.OpenReader(b.ctx, i, FromBeginning()))
		defer reader.Close()
		for {
			batch, err := reader.TryNext(b.ctx)
			if errors.Is(err, ErrEnd) {
				break
			}
			mustDo(b, err)
			var r Record
			for batch.Next(&r) {
				s := storedMessage{body: string(r.Value), key: string(r.Key), time: r.Time}
				if len(r.Headers) == 0 || r.Headers[0].Key != envelope.Key {
					b.Fatalf("a record without an envelope: %+v", r)
				}
				mustDo(b, s.env.Decode(r.Headers[0].Value))
				s.headers = messageHeaders(nil, r.Headers, s.env.Kinds)
				all = append(all, s)
			}
			mustDo(b, batch.Err())
		}
	}
	return all
}

// log returns the messages of an exchange.
func (b *bed) log(x *Exchange) []storedMessage { b.Helper(); return b.inTopic(x.info.topic(false)) }

func (q *queueInfo) ahead() int {
	q.admission.mu.Lock()
	defer q.admission.mu.Unlock()
	return q.admission.ahead.Messages
}

func TestAMessageIsStoredOnceForAllItsQueues(t *testing.T) {
	b := idleBed(t, storagefake.New())
	x := b.exchange("orders", ExchangeConfig{Type: TopicExchange})
	email, audit, sms := b.queue("email", QueueConfig{}), b.queue("audit", QueueConfig{}), b.queue("sms", QueueConfig{})
	b.bind(Binding{Exchange: "orders", Queue: "email", RoutingKey: "order.*"}, Binding{Exchange: "orders", Queue: "email", RoutingKey: "#"},
		Binding{Exchange: "orders", Queue: "audit", RoutingKey: "#"}, Binding{Exchange: "orders", Queue: "sms", RoutingKey: "order.paid"})
	got := b.publish(b.publisher("orders", ExchangePublisherOptions{}), &Message{RoutingKey: "order.created", Body: []byte("o1")})
	if got != (Confirmation{Queues: 2}) {
		t.Errorf("%+v", got)
	}
	all := b.log(x)
	ids := []uint32{email.id, audit.id}
	slices.Sort(ids)
	if len(all) != 1 || all[0].body != "o1" || !slices.Equal(all[0].env.Queues, ids) {
		t.Errorf("the log has %+v, want it for %d", all, ids)
	}
	if email.ahead() != 1 || audit.ahead() != 1 || sms.ahead() != 0 {
		t.Errorf("%d, %d and %d messages are ahead of their queues", email.ahead(), audit.ahead(), sms.ahead())
	}
}

func TestAllThatAMessageSaysIsStored(t *testing.T) {
	b := idleBed(t, storagefake.New())
	b.queue("q", QueueConfig{})
	stamp := time.UnixMilli(1_700_000_000_123)
	m := &Message{RoutingKey: "q", Key: []byte("k"), Body: []byte("body"), Priority: 7, TTL: time.Minute, Delay: time.Hour,
		Headers:   []MessageHeader{HeaderText("t", "x"), HeaderInt("i", -5), HeaderFloat("f", 0.1), HeaderBool("b", true), HeaderVoid("v")},
		MessageID: "m", CorrelationID: "c", ReplyTo: "r", ContentType: "ct", ContentEncoding: "ce", Type: "ty", UserID: "u", AppID: "a",
		Timestamp: stamp, CC: []string{"q"}, BCC: []string{"q"}}
	before := time.Now().UnixMilli()
	if got := b.publish(b.publisher("", ExchangePublisherOptions{}), m); got.Queues != 1 {
		t.Fatalf("%+v", got)
	}
	got := b.inTopic(ownTopic(shardPrefix, shardOf("q"), false))[0]
	e := got.env
	if e.Due < before+time.Hour.Milliseconds() || e.Expires != e.Due+time.Minute.Milliseconds() {
		t.Errorf("due at %d, expires at %d, published at %d", e.Due, e.Expires, before)
	}
	text := fmt.Sprint(got.body, got.key, e.RoutingKey, e.Priority, e.MessageID, e.CorrelationID, e.ReplyTo, e.ContentType, e.ContentEncoding,
		e.Type, e.UserID, e.AppID, e.CC, e.Timestamp == stamp.UnixMilli(), got.time == e.Timestamp)
	if want := fmt.Sprint("body", "k", "q", 7, "m", "c", "r", "ct", "ce", "ty", "u", "a", []string{"q"}, true, true); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if !slices.Equal(got.headers, m.Headers) {
		t.Errorf("headers %v, want %v", got.headers, m.Headers)
	}
}

func TestWhatAMessageCannotSay(t *testing.T) {
	b := idleBed(t, storagefake.New())
	b.queue("q", QueueConfig{})
	p := b.publisher("", ExchangePublisherOptions{})
	for name, c := range map[string]struct {
		m    Message
		want error
	}{
		"a priority too high": {Message{RoutingKey: "q", Priority: 32}, ErrInvalid},
		"a negative delay":    {Message{RoutingKey: "q", Delay: -1}, ErrInvalid},
		"a negative TTL":      {Message{RoutingKey: "q", TTL: -time.Second}, ErrInvalid},
		"an envelope":         {Message{RoutingKey: "q", Headers: []MessageHeader{HeaderText(envelope.Key, "")}}, ErrInvalid},
		"a key too long":      {Message{RoutingKey: strings.Repeat("k", 256)}, ErrOverLimit},
		"a body too long":     {Message{RoutingKey: "q", Body: make([]byte, 2<<20)}, codec.ErrLimit},
	} {
		if _, err := p.Publish(b.ctx, &c.m); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	q, _ := p.d.queue("q")
	if q.ahead() != 0 {
		t.Errorf("%d messages that were not published take room", q.ahead())
	}
}

func TestDelaysAreRoundedUp(t *testing.T) {
	for d, want := range map[time.Duration]int64{1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, math.MaxInt64: math.MaxInt64/1_000_000 + 1} {
		if got := millis(d); got != want {
			t.Errorf("%v is %d ms, want %d", d, got, want)
		}
	}
}

func TestUnroutableMessages(t *testing.T) {
	b := idleBed(t, storagefake.New())
	b.exchange("plain", ExchangeConfig{})
	b.exchange("hopeful", ExchangeConfig{Alternate: "none"})
	b.exchange("covered", ExchangeConfig{Alternate: "amq.fanout"})
	b.queue("rest", QueueConfig{})
	b.bind(Binding{Exchange: "amq.fanout", Queue: "rest"})
	m := &Message{RoutingKey: "k"}
	if _, err := b.publisher("plain", ExchangePublisherOptions{}).PublishSync(b.ctx, m); !errors.Is(err, ErrUnroutable) {
		t.Errorf("%v", err)
	}
	if _, err := b.publisher("hopeful", ExchangePublisherOptions{}).PublishSync(b.ctx, m); !errors.Is(err, ErrUnroutable) || !strings.Contains(err.Error(), `no alternate exchange "none"`) {
		t.Errorf("%v", err)
	}
	if got := b.publish(b.publisher("covered", ExchangePublisherOptions{}), m); got.Queues != 1 {
		t.Errorf("%+v", got)
	}
	dropping := b.publisher("plain", ExchangePublisherOptions{Unroutable: DropUnroutable})
	told := make(chan Confirmation, 1)
	mustDo(t, dropping.PublishFunc(b.ctx, m, func(c Confirmation, err error) { told <- c }))
	if got := b.publish(dropping, m); got != (Confirmation{}) || await(t, told, "the function") != got || dropping.Stats().Dropped != 2 {
		t.Errorf("%+v, %+v", got, dropping.Stats())
	}
}

func TestTopicsAreReachedToo(t *testing.T) {
	b := idleBed(t, storagefake.New())
	b.exchange("orders", ExchangeConfig{Type: Fanout})
	must[*Topic](t)(b.Declare(b.ctx, "analytics", TopicConfig{}))
	must[*Topic](t)(b.Declare(b.ctx, "archive", TopicConfig{}))
	b.queue("email", QueueConfig{})
	b.bind(Binding{Exchange: "orders", Topic: "analytics"}, Binding{Exchange: "orders", Topic: "archive"}, Binding{Exchange: "orders", Queue: "email"})
	p := b.publisher("orders", ExchangePublisherOptions{})
	if got := b.publish(p, &Message{Body: []byte("o1"), MessageID: "m"}); got != (Confirmation{Queues: 1, Topics: 2}) {
		t.Errorf("%+v", got)
	}
	for _, topic := range []string{"analytics", "archive"} {
		if all := b.inTopic(topic); len(all) != 1 || all[0].body != "o1" || len(all[0].env.Queues) != 0 || all[0].env.MessageID != "m" {
			t.Errorf("%s has %+v", topic, all)
		}
	}
}

func TestAnExchangeOverATopicOfTheUser(t *testing.T) {
	b := idleBed(t, storagefake.New())
	must[*Topic](t)(b.Declare(b.ctx, "orders", TopicConfig{}))
	b.exchange("orders", ExchangeConfig{Type: Fanout, Topic: "orders"})
	q := b.queue("email", QueueConfig{})
	b.bind(Binding{Exchange: "orders", Queue: "email"}, Binding{Exchange: "orders", Topic: "orders"})
	got := b.publish(b.publisher("orders", ExchangePublisherOptions{}), &Message{Body: []byte("o1"), Transient: true})
	all := b.inTopic("orders")
	if got != (Confirmation{Queues: 1, Topics: 1}) || len(all) != 1 || !slices.Equal(all[0].env.Queues, []uint32{q.id}) {
		t.Errorf("%+v, and the topic has %+v", got, all)
	}
}

func TestTransientMessagesHaveALogOfTheirOwn(t *testing.T) {
	b := idleBed(t, storagefake.New())
	x := b.exchange("orders", ExchangeConfig{Type: Fanout})
	b.queue("q", QueueConfig{})
	b.bind(Binding{Exchange: "orders", Queue: "q"})
	p := b.publisher("orders", ExchangePublisherOptions{})
	b.publish(p, &Message{Transient: true})
	topic := must[*Topic](t)(b.Topic(b.ctx, x.info.topic(true)))
	if topic.Config().Durability != Interval || !b.inTopic(topic.name)[0].env.Transient {
		t.Errorf("%+v", topic.Config())
	}
	if _, err := b.Topic(b.ctx, x.info.topic(false)); !errors.Is(err, ErrNoTopic) {
		t.Errorf("there is a log for persistent messages, too: %v", err)
	}
}

// Whoever publishes first to a queue by some log has its shard follow the log from before
// the message on.
func TestShardsFollowTheLogsThatNameTheirQueues(t *testing.T) {
	store := storagefake.New()
	b := idleBed(t, store)
	x := b.exchange("orders", ExchangeConfig{})
	a, c := b.queue("a", QueueConfig{}), b.queue("c", QueueConfig{})
	if a.shard == c.shard {
		t.Fatal("the test needs queues of two shards")
	}
	b.bind(Binding{Exchange: "orders", Queue: "a", RoutingKey: "a"}, Binding{Exchange: "orders", Queue: "c", RoutingKey: "c"})
	var w watched
	x.d.subscribe(w.hear)
	w.heard()
	p := b.publisher("orders", ExchangePublisherOptions{})
	for _, key := range []string{"a", "a", "c", "a", "c"} {
		b.publish(p, &Message{RoutingKey: key})
	}
	w.expect(t, "feed 1 from 0", "feed 1 from 2")
	appends := 0
	store.OnAppend(func(a storagefake.Append) storagefake.Fault {
		if a.Log == directoryLog {
			appends++
		}
		return storagefake.Fault{}
	})
	b.publish(b.publisher("orders", ExchangePublisherOptions{}), &Message{RoutingKey: "c"})
	store.OnAppend(nil)
	if appends != 0 {
		t.Errorf("the directory was written %d times for what it has", appends)
	}
}

func TestMessagesOfAKeyKeepToOnePartition(t *testing.T) {
	b := idleBed(t, storagefake.New())
	x := b.exchange("orders", ExchangeConfig{Type: Fanout, Partitions: 4})
	b.queue("q", QueueConfig{})
	b.bind(Binding{Exchange: "orders", Queue: "q"})
	p := b.publisher("orders", ExchangePublisherOptions{})
	for i := range 100 {
		must[Receipt](t)(p.Publish(b.ctx, &Message{Key: fmt.Append(nil, i%10), Body: fmt.Append(nil, i)}))
	}
	mustDo(t, p.Flush(b.ctx))
	last := map[string]string{}
	for _, m := range b.log(x) {
		if has := last[m.key]; len(has) > len(m.body) || len(has) == len(m.body) && has > m.body {
			t.Errorf("of key %s, %s comes before %s", m.key, has, m.body)
		}
		last[m.key] = m.body
	}
	used := 0
	for _, info := range must[[]PartitionInfo](t)(must[*Topic](t)(b.Topic(b.ctx, x.info.topic(false))).Describe(b.ctx)) {
		if info.Next > 0 {
			used++
		}
	}
	if len(last) != 10 || used < 2 || len(x.d.feedsOf(shardOf("q"))) != used {
		t.Errorf("%d keys, %d partitions in use, %d feeds", len(last), used, len(x.d.feedsOf(shardOf("q"))))
	}
}

func TestAFullQueueRefuses(t *testing.T) {
	b := idleBed(t, storagefake.New())
	x := b.exchange("orders", ExchangeConfig{Type: Fanout})
	small, large := b.queue("small", QueueConfig{MaxLength: 2, Overflow: RejectPublish}), b.queue("large", QueueConfig{})
	b.bind(Binding{Exchange: "orders", Queue: "small"}, Binding{Exchange: "orders", Queue: "large"})
	p := b.publisher("orders", ExchangePublisherOptions{})
	b.publish(p, &Message{})
	b.publish(p, &Message{})
	_, err := p.Publish(b.ctx, &Message{})
	if !errors.Is(err, ErrQueueFull) || !strings.Contains(err.Error(), "queue small") {
		t.Errorf("%v", err)
	}
	if n := len(b.log(x)); n != 2 || large.ahead() != 2 {
		t.Errorf("%d messages are in the log, and %d ahead of the other queue", n, large.ahead())
	}
	small.admission.pause(true)
	if _, err := p.Publish(b.ctx, &Message{}); !errors.Is(err, ErrQueuePaused) {
		t.Errorf("%v", err)
	}
}

func TestWaitingForAFullQueue(t *testing.T) {
	b := idleBed(t, storagefake.New())
	q := b.queue("q", QueueConfig{MaxLength: 1, MaxBytes: 10, Overflow: RejectPublish})
	p := b.publisher("", ExchangePublisherOptions{WaitWhenFull: true})
	b.publish(p, &Message{RoutingKey: "q"})
	ended, cancel := context.WithCancel(b.ctx)
	cancel()
	if _, err := p.Publish(ended, &Message{RoutingKey: "q"}); !errors.Is(err, ErrQueueFull) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := p.Publish(b.ctx, &Message{RoutingKey: "q", Body: make([]byte, 11)}); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a message that it could never hold: %v", err)
	}
	published := make(chan error, 1)
	go func() {
		_, err := p.PublishSync(b.ctx, &Message{RoutingKey: "q"})
		published <- err
	}()
	q.admission.indexed(1, 0, queue.Counter{Messages: 1})
	q.admission.waits(queue.Counter{})
	mustDo(t, await(t, published, "the message to be published"))
}

// Publishers to a queue that does not keep up wait; those to its neighbour do not, though
// they publish to the same exchange.
func TestASlowQueueSlowsItsOwnPublishers(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		b := idleBed(t, storagefake.New())
		slow := b.queue("slow", QueueConfig{PublishAhead: 3})
		b.queue("fast", QueueConfig{})
		p := b.publisher("", ExchangePublisherOptions{})
		var toSlow atomic.Int32
		var all sync.WaitGroup
		all.Go(func() {
			for range 10 {
				if _, err := p.PublishSync(b.ctx, &Message{RoutingKey: "slow"}); err != nil {
					t.Error(err)
				}
				toSlow.Add(1)
			}
		})
		synctest.Wait()
		for range 100 {
			b.publish(p, &Message{RoutingKey: "fast"})
		}
		if n := toSlow.Load(); n != 3 {
			t.Errorf("%d were published to the slow queue", n)
		}
		if _, err := b.publisher("", ExchangePublisherOptions{FailFast: true}).Publish(b.ctx, &Message{RoutingKey: "slow"}); !errors.Is(err, ErrBackpressure) {
			t.Errorf("%v", err)
		}
		for indexed := range 10 {
			synctest.Wait()
			slow.admission.indexed(1, 0, queue.Counter{Messages: indexed + 1})
		}
		all.Wait()
	})
}

// onAppends decides about the appends to the log of an exchange.
func onAppends(store *storagefake.Store, x *Exchange, fault func(n int) storagefake.Fault) {
	n := 0
	store.OnAppend(func(a storagefake.Append) storagefake.Fault {
		if a.Log != partitionLog(x.info.topic(false), 0) {
			return storagefake.Fault{}
		}
		n++
		return fault(n)
	})
}

func TestWhatCannotBeStoredGivesItsRoomBack(t *testing.T) {
	store := storagefake.New()
	b := idleBed(t, store)
	x := b.exchange("orders", ExchangeConfig{Type: Fanout, Dedup: Dedup{Enabled: true}})
	q := b.queue("q", QueueConfig{})
	b.bind(Binding{Exchange: "orders", Queue: "q"})
	p := b.publisher("orders", ExchangePublisherOptions{DeliveryTimeout: time.Millisecond})
	b.publish(p, &Message{})
	onAppends(store, x, func(int) storagefake.Fault { return storagefake.Fault{Err: ErrFull} })
	if _, err := p.PublishSync(b.ctx, &Message{MessageID: "m"}); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	if q.ahead() != 1 || p.Stats().Failed != 1 {
		t.Errorf("%d are ahead, %+v", q.ahead(), p.Stats())
	}
	store.OnAppend(nil)
	if got := b.publish(p, &Message{MessageID: "m"}); got.Duplicate {
		t.Error("what has failed counts as published")
	}
}

func TestWhatAFullQueueDoesNotTakeIsDeadLettered(t *testing.T) {
	b := idleBed(t, storagefake.New())
	x := b.exchange("orders", ExchangeConfig{Type: Fanout})
	dead := b.exchange("dead", ExchangeConfig{Internal: true})
	b.queue("small", QueueConfig{MaxLength: 1, Overflow: RejectPublishDLX, DeadLetterExchange: "dead", DeadLetterRoutingKey: "late"})
	b.queue("large", QueueConfig{})
	b.queue("late", QueueConfig{MaxLength: 1, Overflow: RejectPublish})
	b.bind(Binding{Exchange: "orders", Queue: "small"}, Binding{Exchange: "orders", Queue: "large"}, Binding{Exchange: "dead", Queue: "late", RoutingKey: "late"})
	p := b.publisher("orders", ExchangePublisherOptions{})
	b.publish(p, &Message{})
	m := &Message{RoutingKey: "k", Body: []byte("second"), TTL: time.Minute, Headers: []MessageHeader{HeaderInt("n", 3)}}
	if got := b.publish(p, m); got != (Confirmation{Queues: 1, DeadLettered: 1}) || p.Stats().DeadLettered != 1 {
		t.Errorf("%+v, %+v", got, p.Stats())
	}
	got := b.log(dead)[0]
	e := got.env
	if got.body != "second" || e.Hops != 1 || e.RoutingKey != "late" || e.Exchange != "dead" || e.Expires != 0 || e.Origin.Queue != "small" || !slices.Equal(got.headers, m.Headers) {
		t.Errorf("%+v", got)
	}
	if d := e.Deaths[0]; len(e.Deaths) != 1 || d.Queue != "small" || queue.Reason(d.Reason) != queue.ReasonMaxLength || d.Exchange != "orders" || !slices.Equal(d.RoutingKeys, []string{"k"}) {
		t.Errorf("%+v", e.Deaths)
	}
	if all := b.log(x); len(all) != 2 || len(all[1].env.Queues) != 1 || all[1].env.Hops != 0 {
		t.Errorf("the log of the exchange has %+v", all)
	}
	if _, err := p.PublishSync(b.ctx, m); !errors.Is(err, ErrQueueFull) || !strings.Contains(err.Error(), "queue late") {
		t.Errorf("the queue of the dead letters is full, too: %v", err)
	}
}

func TestDeadLettersThatGoInCirclesAreRefused(t *testing.T) {
	b := idleBed(t, storagefake.New())
	for _, name := range []string{"a", "b"} {
		other := map[string]string{"a": "b", "b": "a"}[name]
		b.queue(name, QueueConfig{MaxLength: 1, Overflow: RejectPublishDLX, DeadLetterRoutingKey: other, MaxHops: 3})
	}
	p := b.publisher("", ExchangePublisherOptions{})
	b.publish(p, &Message{RoutingKey: "a"})
	if got := b.publish(p, &Message{RoutingKey: "a"}); got.DeadLettered != 1 {
		t.Errorf("%+v", got)
	}
	if _, err := p.PublishSync(b.ctx, &Message{RoutingKey: "a"}); !errors.Is(err, ErrQueueFull) || !strings.Contains(err.Error(), "MaxHops is 3") {
		t.Errorf("%v", err)
	}
}

func TestAnExchangeThatIsDeletedTakesNothing(t *testing.T) {
	b := idleBed(t, storagefake.New())
	x := b.exchange("orders", ExchangeConfig{Type: Fanout})
	b.queue("q", QueueConfig{})
	b.bind(Binding{Exchange: "orders", Queue: "q"})
	p := b.publisher("orders", ExchangePublisherOptions{})
	b.publish(p, &Message{Body: []byte("kept")})
	mustDo(t, b.DeleteExchange(b.ctx, "orders", false))
	b.exchange("orders", ExchangeConfig{Type: Fanout})
	if _, err := p.Publish(b.ctx, &Message{}); !errors.Is(err, ErrNoExchange) {
		t.Errorf("%v", err)
	}
	if all := b.log(x); len(all) != 1 || all[0].body != "kept" {
		t.Errorf("its log has %+v", all)
	}
}

func TestOnlyInsideMessagesEnterInternalExchanges(t *testing.T) {
	b := idleBed(t, storagefake.New())
	x := b.exchange("inner", ExchangeConfig{Type: Fanout, Internal: true})
	b.queue("q", QueueConfig{})
	b.bind(Binding{Exchange: "inner", Queue: "q"})
	if _, err := b.publisher("inner", ExchangePublisherOptions{}).Publish(b.ctx, &Message{}); !errors.Is(err, ErrInternalExchange) {
		t.Errorf("%v", err)
	}
	p := must[*ExchangePublisher](t)(x.d.inside(b.ctx, "inner"))
	told := make(chan error, 1)
	e := envelope.Envelope{RoutingKey: "k", Deaths: []envelope.Death{{Queue: "first", Count: 1}}, Hops: 1, Kinds: []byte{byte(routing.IntKind)}}
	r := Record{Value: []byte("b"), Time: 5, Headers: []Header{{Key: envelope.Key, Value: []byte("old")}, {Key: "n", Value: []byte("3")}}}
	must[Receipt](t)(p.publishInside(b.ctx, &e, &r, func(_ Confirmation, err error) { told <- err }))
	mustDo(t, await(t, told, "the confirmation"))
	got := b.log(x)[0]
	if got.env.Deaths[0].Queue != "first" || got.env.Hops != 1 || got.env.Exchange != "inner" || !slices.Equal(got.headers, []MessageHeader{HeaderInt("n", 3)}) {
		t.Errorf("%+v", got)
	}
	if again := must[*ExchangePublisher](t)(x.d.inside(b.ctx, "inner")); again != p {
		t.Error("there is another publisher of the system to the exchange")
	}
}

// The functions are told everything, in the order of publishing, before Flush returns.
func TestFlushWaitsForTheFunctions(t *testing.T) {
	b := idleBed(t, storagefake.New())
	b.queue("q", QueueConfig{})
	p := b.publisher("", ExchangePublisherOptions{})
	var told []int
	for i := range 500 {
		mustDo(t, p.PublishFunc(b.ctx, &Message{RoutingKey: "q", Body: make([]byte, 500)}, func(c Confirmation, err error) {
			if err != nil || c.Queues != 1 {
				t.Errorf("%+v, %v", c, err)
			}
			told = append(told, i)
		}))
	}
	mustDo(t, p.Flush(b.ctx))
	if len(told) != 500 || !slices.IsSorted(told) || p.Stats().Published != 500 {
		t.Errorf("%d were told, in order: %v; %+v", len(told), slices.IsSorted(told), p.Stats())
	}
	mustDo(t, p.Close(b.ctx))
	if _, err := p.Publish(b.ctx, &Message{RoutingKey: "q"}); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

// Bindings, queues and logs change while many publish. What was confirmed is in the log,
// for as many queues as was said.
func TestManyPublishWhileBindingsChange(t *testing.T) {
	b := idleBed(t, storagefake.New())
	x := b.exchange("orders", ExchangeConfig{Type: Fanout})
	b.queue("steady", QueueConfig{})
	b.bind(Binding{Exchange: "orders", Queue: "steady"})
	p := b.publisher("orders", ExchangePublisherOptions{})
	var mu sync.Mutex
	want := map[string]int{}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 200 {
				body := fmt.Sprint(g, "-", i)
				err := p.PublishFunc(b.ctx, &Message{Body: []byte(body)}, func(c Confirmation, err error) {
					mu.Lock()
					defer mu.Unlock()
					if want[body] = c.Queues; err != nil {
						t.Error(err)
					}
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 20 {
		name := fmt.Sprint("q", i%3)
		b.queue(name, QueueConfig{})
		b.bind(Binding{Exchange: "orders", Queue: name})
		if i%2 == 1 {
			mustDo(t, b.deleteQueue(b.ctx, name, 0))
		}
	}
	all.Wait()
	mustDo(t, p.Flush(b.ctx))
	for _, m := range b.log(x) {
		if len(m.env.Queues) != want[m.body] {
			t.Errorf("%s is for %d queues, and %d were confirmed", m.body, len(m.env.Queues), want[m.body])
		}
		delete(want, m.body)
	}
	if len(want) > 0 {
		t.Errorf("%d messages are not in the log", len(want))
	}
}

// One log for ten queues: on a real disk, what ten queues take is what one takes.
func TestTenQueuesTakeTheBytesOfOne(t *testing.T) {
	store := must[storage.Store](t)(storage.Open(testContext(t), filepath.Join(t.TempDir(), "data"), storage.Options{}))
	t.Cleanup(func() { store.Close() })
	b := idleBed(t, store)
	bytes := map[int]uint64{}
	for _, queues := range []int{1, 10} {
		name := fmt.Sprint("x", queues)
		x := b.exchange(name, ExchangeConfig{Type: Fanout})
		for i := range queues {
			q := fmt.Sprint(name, "-", i)
			b.queue(q, QueueConfig{})
			b.bind(Binding{Exchange: name, Queue: q})
		}
		p := b.publisher(name, ExchangePublisherOptions{})
		for range 2000 {
			must[Receipt](t)(p.Publish(b.ctx, &Message{Body: make([]byte, 1000)}))
		}
		mustDo(t, p.Flush(b.ctx))
		topic := must[*Topic](t)(b.Topic(b.ctx, x.info.topic(false)))
		bytes[queues] = must[[]PartitionInfo](t)(topic.Describe(b.ctx))[0].Bytes
	}
	if one, ten := bytes[1], bytes[10]; one < 2_000_000 || float64(ten) > 1.05*float64(one) {
		t.Errorf("for one queue %d bytes, for ten %d", one, ten)
	}
}

// What waits in a queue counts from the first message after a restart.
func TestAFullQueueIsFullAfterARestart(t *testing.T) {
	ctx, store := testContext(t), storagefake.New()
	s := logSystem(t, store)
	must[*Queue](t)(s.DeclareQueue(ctx, "q", QueueConfig{MaxLength: 3, Overflow: RejectPublish}))
	fill := func(want int) {
		t.Helper()
		p := must[*ExchangePublisher](t)(must[*Exchange](t)(s.Exchange(ctx, "")).NewPublisher(ctx, ExchangePublisherOptions{}))
		for taken := 0; ; taken++ {
			_, err := p.PublishSync(ctx, &Message{RoutingKey: "q"})
			if err != nil {
				if !errors.Is(err, ErrQueueFull) || taken != want {
					t.Errorf("%d were taken, want %d: %v", taken, want, err)
				}
				break
			}
		}
		mustDo(t, p.Close(ctx))
	}
	fill(3)
	q := must[*Queue](t)(s.Queue(ctx, "q"))
	for changed := q.info.admission.change(); q.info.ahead() > 0; changed = q.info.admission.change() {
		await(t, changed, "the queue to index what was published")
	}
	s = openedAgain(t, s, store)
	fill(0)
}
