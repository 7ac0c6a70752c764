package actor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/routing"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func mustDirectory(t testing.TB, s *System) *queueDirectory {
	t.Helper()
	d, err := s.directory(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func mustDo(t testing.TB, all ...error) {
	t.Helper()
	if err := errors.Join(all...); err != nil {
		t.Fatal(err)
	}
}

func TestDeclaringAgainIsNoChange(t *testing.T) {
	ctx, s := testContext(t), logSystem(t, storagefake.New())
	first := must[*queueInfo](t)(s.declareQueue(ctx, "email", QueueConfig{TTL: time.Minute}))
	again := must[*queueInfo](t)(s.declareQueue(ctx, "email", QueueConfig{TTL: time.Minute, MaxPriority: 31}))
	if first != again {
		t.Error("it is another queue")
	}
	x := must[*Exchange](t)(s.DeclareExchange(ctx, "orders", ExchangeConfig{Type: TopicExchange}))
	y := must[*Exchange](t)(s.DeclareExchange(ctx, "orders", ExchangeConfig{Type: TopicExchange, Partitions: 1}))
	if x.info != y.info {
		t.Error("it is another exchange")
	}
}

func TestWhatIsDeclaredIsChecked(t *testing.T) {
	ctx, s := testContext(t), logSystem(t, storagefake.New())
	queue := func(name string, c QueueConfig) error { _, err := s.declareQueue(ctx, name, c); return err }
	exchange := func(name string, c ExchangeConfig) error { _, err := s.DeclareExchange(ctx, name, c); return err }
	mustDo(t, queue("email", QueueConfig{}), queue("mine", QueueConfig{Exclusive: true}), exchange("orders", ExchangeConfig{}))
	for name, c := range map[string]struct {
		err  error
		want error
		says string
	}{
		"another TTL":              {queue("email", QueueConfig{TTL: time.Second}), ErrConflict, "its TTL is 0s, not 1s"},
		"two differences":          {queue("email", QueueConfig{TTL: time.Second, MaxLength: 5}), ErrConflict, "its MaxLength is 10000000, not 5"},
		"another type":             {exchange("orders", ExchangeConfig{Type: Fanout}), ErrConflict, "its Type is direct, not fanout"},
		"an exclusive queue":       {queue("mine", QueueConfig{Exclusive: true}), ErrLocked, "mine"},
		"a reserved queue":         {queue("amq.q", QueueConfig{}), ErrReserved, "amq."},
		"a reserved exchange":      {exchange("amq.x", ExchangeConfig{}), ErrReserved, "amq."},
		"another kind of ids":      {exchange("orders", ExchangeConfig{Dedup: Dedup{Enabled: true}}), ErrConflict, "its Dedup.Enabled is false, not true; its Dedup.Window is 0s, not 10m0s; its Dedup.Messages is 0, not 100000"},
		"another place for dead":   {queue("email", QueueConfig{DeadLetterRoutingKey: "dead"}), ErrConflict, `its DeadLetterRoutingKey is "", not "dead"`},
		"a predeclared one":        {exchange("amq.topic", ExchangeConfig{Type: Fanout}), ErrConflict, "its Type is topic"},
		"the default exchange":     {exchange("", ExchangeConfig{}), routing.ErrDefaultExchange, ""},
		"negative limits":          {queue("q", QueueConfig{MaxLength: -2, MaxHops: -1}), ErrInvalid, "MaxHops"},
		"a Factor that is none":    {queue("q", QueueConfig{Retry: QueueRetry{First: time.Second, Factor: math.NaN()}}), ErrInvalid, "a retry needs"},
		"a Jitter that is none":    {queue("q", QueueConfig{Retry: QueueRetry{First: time.Second, Jitter: math.NaN()}}), ErrInvalid, "a retry needs"},
		"GroupBy":                  {queue("q", QueueConfig{GroupBy: "header:"}), ErrInvalid, "GroupBy"},
		"nowhere to dead-letter":   {queue("q", QueueConfig{Overflow: RejectPublishDLX}), ErrInvalid, "DeadLetterExchange"},
		"a topic that is not":      {exchange("x", ExchangeConfig{Topic: "none"}), ErrNoTopic, "none"},
		"a topic of Troupe's":      {exchange("x", ExchangeConfig{Topic: "shard-1"}), ErrReserved, "shard-"},
		"a topic with partitions":  {exchange("x", ExchangeConfig{Topic: "t", Partitions: 3}), ErrInvalid, "Partitions"},
		"too long a name":          {queue(strings.Repeat("n", 256), QueueConfig{}), ErrOverLimit, "NameBytes"},
		"to bind a missing queue":  {s.Bind(ctx, Binding{Exchange: "orders", Queue: "none"}), ErrNoQueue, "none"},
		"to bind by a missing one": {s.Bind(ctx, Binding{Exchange: "none", Queue: "email"}), ErrNoExchange, "none"},
		"to bind the default":      {s.Bind(ctx, Binding{Queue: "email"}), routing.ErrDefaultExchange, ""},
		"to bind two":              {s.Bind(ctx, Binding{Exchange: "orders", Queue: "email", ToExchange: "amq.topic"}), ErrInvalid, "exactly one"},
		"to delete a predeclared":  {s.DeleteExchange(ctx, "amq.topic", false), ErrReserved, "always there"},
		"to delete a missing one":  {s.DeleteExchange(ctx, "none", false), ErrNoExchange, "none"},
		"to delete no queue":       {s.deleteQueue(ctx, "none", 0), ErrNoQueue, "none"},
	} {
		if !errors.Is(c.err, c.want) || !strings.Contains(fmt.Sprint(c.err), c.says) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	if err := queue("another", QueueConfig{}); err != nil { // none of them took the directory with it
		t.Error(err)
	}
}

func TestAnUnnamedQueueHasANameOfItsOwn(t *testing.T) {
	ctx, s := testContext(t), logSystem(t, storagefake.New())
	a := must[*queueInfo](t)(s.declareQueue(ctx, "", QueueConfig{}))
	b := must[*queueInfo](t)(s.declareQueue(ctx, "", QueueConfig{}))
	if a.name == b.name || !strings.HasPrefix(a.name, "amq.gen-") {
		t.Errorf("%q and %q", a.name, b.name)
	}
}

// stand is all that a directory holds, in a form that can be compared.
func stand(t testing.TB, d *queueDirectory) []string {
	t.Helper()
	var all []string
	for _, c := range d.commands() {
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c.op()+" "+string(data))
	}
	slices.Sort(all)
	return all
}

// openedAgain closes a system and opens the next over the same store.
func openedAgain(t testing.TB, s *System, store storage.Store) *System {
	t.Helper()
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return logSystem(t, store)
}

func TestTheDirectoryOutlastsItsProcess(t *testing.T) {
	ctx, store := testContext(t), storagefake.New()
	s := logSystem(t, store)
	topic := must[*Topic](t)(s.Declare(ctx, "clicks", TopicConfig{Partitions: 2}))
	must[*Exchange](t)(s.DeclareExchange(ctx, "orders", ExchangeConfig{Type: HeadersExchange, Alternate: "amq.fanout"}))
	email := must[*queueInfo](t)(s.declareQueue(ctx, "email", QueueConfig{Weights: []int{1, 2}, Retry: QueueRetry{First: time.Second}}))
	mustDo(t,
		s.Bind(ctx, Binding{Exchange: "orders", Queue: "email", RoutingKey: "k", Args: []MessageHeader{HeaderInt("n", -3), HeaderVoid("v")}}),
		s.Bind(ctx, Binding{Exchange: "orders", Topic: "clicks"}),
		s.Bind(ctx, Binding{Exchange: "orders", ToExchange: "amq.topic"}),
		s.BindTopic(ctx, "clicks", "email", FromEnd()))
	d := mustDirectory(t, s)
	log := must[*logInfo](t)(d.logOf(ctx, topic, 1))
	mustDo(t, d.follows(ctx, topic, log, email.shard))
	want := stand(t, d)
	s = openedAgain(t, s, store)
	if got := stand(t, mustDirectory(t, s)); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if next := must[*queueInfo](t)(s.declareQueue(ctx, "sms", QueueConfig{})); next.id <= email.id {
		t.Errorf("id %d comes after %d", next.id, email.id)
	}
}

func TestWhatIsTransientIsForgotten(t *testing.T) {
	ctx, store := testContext(t), storagefake.New()
	s := logSystem(t, store)
	must[*Exchange](t)(s.DeclareExchange(ctx, "orders", ExchangeConfig{}))
	must[*Exchange](t)(s.DeclareExchange(ctx, "fleeting", ExchangeConfig{Transient: true}))
	must[*queueInfo](t)(s.declareQueue(ctx, "email", QueueConfig{}))
	last := must[*queueInfo](t)(s.declareQueue(ctx, "mine", QueueConfig{Exclusive: true}))
	mustDo(t, s.Bind(ctx, Binding{Exchange: "orders", Queue: "mine"}), s.Bind(ctx, Binding{Exchange: "fleeting", Queue: "email"}))
	s = openedAgain(t, s, store)
	d := mustDirectory(t, s)
	if _, ok := d.queue("mine"); ok {
		t.Error("the exclusive queue is there")
	}
	if _, err := d.exchange("fleeting"); !errors.Is(err, ErrNoExchange) {
		t.Errorf("the transient exchange: %v", err)
	}
	if all := must[[]Binding](t)(s.Bindings(ctx, "")); len(all) != 0 {
		t.Errorf("bindings are left: %v", all)
	}
	if q := must[*queueInfo](t)(s.declareQueue(ctx, "new", QueueConfig{})); q.id <= last.id {
		t.Errorf("the id %d of a queue that is gone is given again", q.id)
	}
}

// watched notes what a subscriber hears.
type watched struct {
	mu  sync.Mutex
	all []string
}

func (w *watched) hear(c directoryChange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch c := c.(type) {
	case queueDeclared:
		w.all = append(w.all, "declared "+c.queue.name)
	case queueAltered:
		w.all = append(w.all, "altered "+c.queue.name)
	case queueDeleted:
		w.all = append(w.all, "deleted "+c.queue.name)
	case feedDeclared:
		w.all = append(w.all, fmt.Sprintf("feed %d from %d", c.feed.log, c.feed.from))
	case feedEnded:
		w.all = append(w.all, fmt.Sprintf("feed %d ended", c.feed.log))
	case logOrphaned:
		w.all = append(w.all, "orphaned "+c.log.topic)
	}
}

func (w *watched) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.all
	w.all = nil
	return all
}

func (w *watched) expect(t testing.TB, want ...string) {
	t.Helper()
	if got := w.heard(); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestSubscribersHearOfEveryChange(t *testing.T) {
	ctx, s := testContext(t), logSystem(t, storagefake.New())
	must[*queueInfo](t)(s.declareQueue(ctx, "a", QueueConfig{}))
	d := mustDirectory(t, s)
	var w watched
	end := d.subscribe(w.hear)
	w.expect(t, "declared a")
	altered := must[*queueInfo](t)(s.declareQueue(ctx, "b", QueueConfig{}))
	mustDo(t, s.alterQueue(ctx, altered, func(c *QueueConfig) { c.TTL = time.Minute }))
	if altered.config().TTL != time.Minute {
		t.Errorf("it has %+v", altered.config())
	}
	mustDo(t, s.deleteQueue(ctx, "a", 0))
	w.expect(t, "declared b", "altered b", "deleted a")
	end()
	mustDo(t, s.deleteQueue(ctx, "b", altered.id))
	w.expect(t)
}

// A message must not reach a queue of which its shard has not heard.
func TestShardsHearOfAQueueBeforeMessagesReachIt(t *testing.T) {
	ctx, s := testContext(t), logSystem(t, storagefake.New())
	d := mustDirectory(t, s)
	early := false
	d.subscribe(func(c directoryChange) {
		var out routing.Result
		err := d.table.Router().Route("", &routing.Message{Key: "q"}, &out)
		early = early || err != nil || len(out.Targets) > 0
	})
	must[*queueInfo](t)(s.declareQueue(ctx, "q", QueueConfig{}))
	var out routing.Result
	if err := d.table.Router().Route("", &routing.Message{Key: "q"}, &out); err != nil || len(out.Targets) != 1 || early {
		t.Errorf("%d targets, %v; reached before: %v", len(out.Targets), err, early)
	}
	if q, ok := out.Targets[0].Data.(*queueInfo); !ok || q.name != "q" {
		t.Error("the target does not lead to the queue")
	}
}

// ownLog makes the log of an exchange, as publishing does.
func ownLog(t testing.TB, s *System, x *Exchange) (*Topic, *logInfo) {
	t.Helper()
	topic := must[*Topic](t)(s.Declare(testContext(t), x.info.topic(false), TopicConfig{}))
	return topic, must[*logInfo](t)(x.d.logOf(testContext(t), topic, 0))
}

func TestTheLogOfAnExchangeStaysUntilQueuesHaveReleasedIt(t *testing.T) {
	ctx, s := testContext(t), logSystem(t, storagefake.New())
	x := must[*Exchange](t)(s.DeclareExchange(ctx, "orders", ExchangeConfig{}))
	topic, log := ownLog(t, s, x)
	q := must[*queueInfo](t)(s.declareQueue(ctx, "work", QueueConfig{}))
	stopShard(t, s, q.shard) // the queue does not say what it needs
	mustAppend(t, newProducer(t, topic, ProducerOptions{}), 0, "a")
	var w watched
	x.d.subscribe(w.hear)
	w.expect(t, "declared work")
	mustDo(t, x.d.follows(ctx, topic, log, q.shard), x.d.follows(ctx, topic, log, q.shard))
	mustDo(t, s.DeleteExchange(ctx, "orders", false))
	w.expect(t, "feed 1 from 1", "orphaned exchange-16")
	if _, err := s.Topic(ctx, topic.name); err != nil {
		t.Errorf("the log is gone: %v", err)
	}
	mustDo(t, x.d.forgetLog(ctx, log.id))
	w.expect(t, "feed 1 ended")
	if _, err := s.Topic(ctx, topic.name); !errors.Is(err, ErrNoTopic) {
		t.Errorf("the log is there still: %v", err)
	}
	again := must[*Exchange](t)(s.DeclareExchange(ctx, "orders", ExchangeConfig{}))
	if again.info.number == x.info.number {
		t.Error("the number of an exchange that is gone is given again")
	}
}

func TestALogThatNobodyReadsGoesWithItsExchange(t *testing.T) {
	ctx, store := testContext(t), storagefake.New()
	s := logSystem(t, store)
	x := must[*Exchange](t)(s.DeclareExchange(ctx, "orders", ExchangeConfig{}))
	topic, _ := ownLog(t, s, x)
	mustDo(t, s.DeleteExchange(ctx, "orders", false))
	if _, err := s.Topic(ctx, topic.name); !errors.Is(err, ErrNoTopic) {
		t.Errorf("the log is there still: %v", err)
	}
	y := must[*Exchange](t)(s.DeclareExchange(ctx, "fleeting", ExchangeConfig{Transient: true}))
	topic, _ = ownLog(t, s, y)
	s = openedAgain(t, s, store)
	mustDirectory(t, s)
	if _, err := s.Topic(ctx, topic.name); !errors.Is(err, ErrNoTopic) {
		t.Errorf("the log of a transient exchange is there still: %v", err)
	}
}

func TestDeletingATopicEndsItsBindings(t *testing.T) {
	ctx, s := testContext(t), logSystem(t, storagefake.New())
	must[*Topic](t)(s.Declare(ctx, "clicks", TopicConfig{}))
	must[*queueInfo](t)(s.declareQueue(ctx, "q", QueueConfig{}))
	mustDo(t, s.Bind(ctx, Binding{Exchange: "amq.fanout", Topic: "clicks"}), s.BindTopic(ctx, "clicks", "q", FromBeginning()))
	var w watched
	mustDirectory(t, s).subscribe(w.hear)
	w.expect(t, "declared q", "feed 1 from 0")
	mustDo(t, s.DeleteTopic(ctx, "clicks"))
	w.expect(t, "feed 1 ended")
	if all := must[[]Binding](t)(s.Bindings(ctx, "")); len(all) != 0 {
		t.Errorf("bindings are left: %v", all)
	}
}

func TestAQueueOfATopicHasThePartitionsThatAreAdded(t *testing.T) {
	ctx, s := testContext(t), logSystem(t, storagefake.New())
	must[*Topic](t)(s.Declare(ctx, "clicks", TopicConfig{}))
	must[*queueInfo](t)(s.declareQueue(ctx, "q", QueueConfig{}))
	mustDo(t, s.BindTopic(ctx, "clicks", "q", FromBeginning()))
	var w watched
	mustDirectory(t, s).subscribe(w.hear)
	w.expect(t, "declared q", "feed 1 from 0")
	must[*Topic](t)(s.AlterTopic(ctx, "clicks", func(c *TopicConfig) { c.Partitions = 2 }))
	w.expect(t, "feed 2 from 0")
	mustDo(t, s.UnbindTopic(ctx, "clicks", "q"))
	slices.Sort(w.all)
	w.expect(t, "feed 1 ended", "feed 2 ended")
}

func TestALogThatHasLostItsEndHasAnotherID(t *testing.T) {
	ctx, s := testContext(t), logSystem(t, storagefake.New())
	x := must[*Exchange](t)(s.DeclareExchange(ctx, "orders", ExchangeConfig{}))
	topic, log := ownLog(t, s, x)
	mustDo(t, x.d.follows(ctx, topic, log, 3))
	renewed := must[*logInfo](t)(x.d.renewLog(ctx, log.id))
	if renewed.id == log.id || !renewed.feeds(3) || renewed.feeds(4) {
		t.Errorf("log %d became %d, feeds 3: %v", log.id, renewed.id, renewed.feeds(3))
	}
	if found := must[*logInfo](t)(x.d.logOf(ctx, topic, 0)); found != renewed {
		t.Errorf("the partition is log %d", found.id)
	}
	if _, ok := x.d.log(log.id); ok {
		t.Error("the old log is there still")
	}
}

func TestADirectoryThatSomebodyElseHasTakenCanBeRead(t *testing.T) {
	ctx, store := testContext(t), storagefake.New()
	s := logSystem(t, store)
	must[*queueInfo](t)(s.declareQueue(ctx, "a", QueueConfig{}))
	other := must[*journal](t)(openJournal(ctx, store, directoryLog, []byte("other"), newQueueDirectory(&System{})))
	defer other.log.Close()
	if _, err := s.declareQueue(ctx, "b", QueueConfig{}); !errors.Is(err, errDirectoryLost) {
		t.Errorf("%v", err)
	}
	d := mustDirectory(t, s)
	await(t, s.Watch(d.pid), "the end of the directory's actor")
	if _, ok := d.queue("a"); !ok {
		t.Error("the queue is not found any more")
	}
	if _, ok := d.queue("b"); ok {
		t.Error("a queue is found that was not stored")
	}
	if _, err := s.declareQueue(ctx, "c", QueueConfig{}); !errors.Is(err, ErrStopped) {
		t.Errorf("%v", err)
	}
}

func drawCommand(t *rapid.T, next *ids) command {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	n := name.Draw(t, "name")
	id := func(most uint32) uint32 { return rapid.Uint32Range(1, max(most, 2)-1).Draw(t, "id") }
	to := routing.Destination{Kind: rapid.SampledFrom([]routing.Kind{routing.ToQueue, routing.ToTopic, routing.ToExchange}).Draw(t, "kind"), Name: name.Draw(t, "to")}
	b := routing.Binding{Source: n, Destination: to, Key: rapid.SampledFrom([]string{"", "k"}).Draw(t, "key")}
	topic := "exchange-1" + fmt.Sprint(rapid.IntRange(6, 9).Draw(t, "number"))
	all := []command{
		&declareExchange{Name: n, Config: ExchangeConfig{Type: Fanout, AutoDelete: rapid.Bool().Draw(t, "auto")}.withDefaults()},
		&deleteExchange{Name: n}, &deleteExchange{Name: n, IfUnused: true},
		&declareQueue{Name: n, Shard: shardOf(n), Config: QueueConfig{TTL: time.Duration(rapid.IntRange(0, 1).Draw(t, "ttl"))}.withDefaults()},
		&deleteQueue{Name: n}, &alterQueue{Name: n, Config: QueueConfig{TTL: 5}.withDefaults()},
		&bind{b}, &bind{b}, &unbind{b},
		&declareLog{Topic: topic, Incarnation: 1}, &renewLog{Old: id(next.Log)}, &forgetLog{id(next.Log)},
		&declareFeed{Log: id(next.Log), Shard: rapid.IntRange(0, 2).Draw(t, "shard"), From: 7},
		&bindTopic{Topic: n, Incarnation: 1, Queue: id(next.Queue), Logs: []declaredLog{{Partition: 0, From: 3}}},
		&unbindTopic{Topic: n, Queue: id(next.Queue)},
	}
	c := rapid.SampledFrom(all).Draw(t, "command")
	if n, ok := c.(numbered); ok {
		n.assign(next)
	}
	return c
}

// However the history is cut into entries and rounds, and whatever rounds were not
// finished, what is read is what was.
func TestAReadDirectoryIsTheOneThatWasWritten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d, next := newQueueDirectory(&System{}), firstIDs
		var entries [][]byte
		write := func(all []command, round uint64, last bool) {
			data, err := encodeCommands(all, round, last)
			if err != nil {
				rt.Fatal(err)
			}
			entries = append(entries, data)
		}
		for i := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1:
				if rapid.Bool().Draw(rt, "trimmed") && rapid.Bool().Draw(rt, "complete") {
					entries = nil
				}
				complete := entries == nil || rapid.Bool().Draw(rt, "complete")
				all := d.commands()
				for part := range slices.Chunk(all, 3) {
					all = all[len(part):]
					if complete || len(all) > 0 {
						write(part, uint64(i+1), len(all) == 0)
					}
				}
			default:
				var all []command
				for range rapid.IntRange(1, 3).Draw(rt, "commands") {
					all = append(all, drawCommand(rt, &next))
				}
				write(all, 0, false)
				d.applyAll(all)
			}
		}
		read := newQueueDirectory(&System{})
		for _, e := range entries {
			if err := read.replay(e); err != nil {
				rt.Fatal(err)
			}
		}
		if got, want := stand(t, read), stand(t, d); !slices.Equal(got, want) {
			rt.Fatalf("got  %q\nwant %q", got, want)
		}
	})
}

func TestAJournalThatGrowsIsReplaced(t *testing.T) {
	ctx, store := context.Background(), storagefake.New()
	s := logSystem(t, store)
	d := mustDirectory(t, s)
	for i := range 40 {
		var all []command
		for j := range 400 {
			all = append(all, &declareQueue{Name: fmt.Sprintf("q-%d-%d", i%2, j), Config: QueueConfig{}.withDefaults()})
		}
		d.changeAll(ctx, all) // most are there already, and that is no error
	}
	log := must[storage.Log](t)(store.OpenLog(ctx, directoryLog, storage.LogOptions{}))
	bounds := must[storage.Bounds](t)(log.Bounds(ctx))
	if bounds.First == 1 {
		t.Errorf("nothing was dropped: %+v", bounds)
	}
	want := stand(t, d)
	if got := stand(t, mustDirectory(t, openedAgain(t, s, store))); !slices.Equal(got, want) {
		t.Errorf("%d things were there, and are %d", len(want), len(got))
	}
}

func FuzzDirectoryReplay(f *testing.F) {
	d := newQueueDirectory(&System{})
	all, _ := encodeCommands(d.commands(), 1, true)
	f.Add(all)
	f.Add([]byte(`{"commands":[{"op":"renew-log","command":{"old":1}},{"op":"bind","command":{}},{"op":"declare-feed","command":{"shard":-1}}]}`))
	f.Fuzz(func(t *testing.T, entry []byte) { newQueueDirectory(&System{}).replay(entry) })
}
