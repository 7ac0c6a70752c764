package actor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// shardBed is a shard whose logs are made by the test.
type shardBed struct {
	testing.TB
	sys   *System
	infos []*queueInfo
	shard *pactor.PID
	feeds int
}

// shardMessages is how many messages log 7 has at most.
const shardMessages = 1500

func infoOf(id uint32, name string, c QueueConfig) *queueInfo {
	c = c.withDefaults()
	q := &queueInfo{id: id, name: name, shard: 3, admission: newAdmission(name, &c)}
	q.settings.Store(&c)
	return q
}

func newShardBed(t testing.TB, store storage.Store, infos ...*queueInfo) *shardBed {
	t.Helper()
	b := &shardBed{TB: t, sys: NewSystem(store), infos: infos}
	b.sys.pages.add(mustPage(t, 7, messageBatch(t, shardMessages, 1, 2))) // what a restored queue loads
	pid, err := b.sys.Spawn("queue-shard/3", func() pactor.Actor {
		return &shard{sys: b.sys, config: shardConfig{number: 3, roundBytes: 2048, watch: func(f func(directoryChange)) func() {
			for _, q := range infos {
				f(queueDeclared{q})
			}
			return func() {}
		}, intake: func(_, queue uint32) (intake, uint64, bool) { return intake{queue: queue}, 0, true }}}
	}, asService(rankQueues))
	if err != nil {
		t.Fatal(err)
	}
	b.shard = pid
	return b
}

func (b *shardBed) close() {
	b.Helper()
	if err := b.sys.Close(testContext(b)); err != nil {
		b.Fatalf("close: %v", err)
	}
}

// kill ends the system without letting queues say good-bye.
func (b *shardBed) kill() {
	b.Helper()
	b.sys.root.Stop(b.shard)
	await(b, b.sys.Watch(b.shard), "the end of the shard")
	b.close()
}

func (b *shardBed) queue(id uint32) *pactor.PID {
	b.Helper()
	pid, err := Ask[*pactor.PID](testContext(b), b.sys, b.shard, askQueuePID{id})
	if err != nil {
		b.Fatal(err)
	}
	return pid
}

func (b *shardBed) counts(id uint32) queue.Counts {
	b.Helper()
	c, err := Ask[queue.Counts](testContext(b), b.sys, b.queue(id), askQueue{func(q *queue.Queue) any { return q.Counts() }})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// feed gives a queue a log with messages 0 to n-1, whose bodies say their offsets.
func (b *shardBed) feed(id, log uint32, n int) {
	b.Helper()
	taken := make(chan struct{}, 16)
	b.feeds++
	feed := spawn(b, b.sys, fmt.Sprintf("feed-%d", b.feeds), func(ctx pactor.Context) {
		switch m := ctx.Message().(type) {
		case follow:
			b.sys.Send(m.pid, b.fed(ctx.Self(), m, log, n))
		case fedTaken:
			if m.next != uint64(n) {
				b.Errorf("the queue reads on at %d, want %d", m.next, n)
			}
			taken <- struct{}{}
		}
	})
	b.sys.Send(b.queue(id), feedStarted{log, feed})
	await(b, taken, "the queue to take what it is fed")
}

func (b *shardBed) fed(feed *pactor.PID, m follow, log uint32, n int) fed {
	p := mustPage(b, log, messageBatch(b, n, 1, 2))
	b.sys.pages.add(p)
	f := fed{run: m.run, log: log, page: p, next: uint64(n), feed: feed}
	for o := m.next; o < uint64(n); o++ {
		f.entries = append(f.entries, queue.Entry{Ref: queue.Ref{Log: log, Offset: o}, Arrived: 1000, Bytes: 3})
	}
	return f
}

// messageBatch stores messages "0", "1", … for queues.
func messageBatch(t testing.TB, n int, queues ...uint32) []byte {
	t.Helper()
	var s codec.Section
	header := codec.Header{Key: envelope.Key, Value: envelope.Append(nil, &envelope.Envelope{Queues: queues})}
	for i := range n {
		s.Add(&codec.Record{Value: strconv.AppendInt(nil, int64(i), 10), Time: codec.NoTime, Headers: []codec.Header{header}})
	}
	b, err := codec.AppendBatch(nil, &codec.BatchInfo{AppendTime: 1000}, []codec.Section{s})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// probe is a consumer's actor that hands on what it hears.
type probe struct {
	*shardBed
	name  string
	pid   *pactor.PID
	queue *pactor.PID
	heard chan any
	got   chan delivered
	seq   uint64
}

func (b *shardBed) consume(id uint32, name string, prefetch int) *probe {
	b.Helper()
	p := &probe{shardBed: b, name: name, queue: b.queue(id), heard: make(chan any, 10_000), got: make(chan delivered, 10_000)}
	p.pid = spawn(b, b.sys, "probe-"+name, func(ctx pactor.Context) {
		switch m := ctx.Message().(type) {
		case delivered:
			p.got <- m
		case deliveriesSettled, consumerEnded, queue.Charged, queue.Recalled, queue.Cancelled, queue.Pulled, queue.Active:
			p.heard <- m
		}
	})
	_, err := Ask[queueDone](testContext(b), b.sys, p.queue, subscribe{queue.Subscribe{Consumer: name, Prefetch: prefetch}, p.pid})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// hearsOf waits for a message of a type, and drops others before it.
func hearsOf[M any](p *probe) M {
	p.Helper()
	for {
		if m, ok := await(p, p.heard, fmt.Sprintf("a %T for %s", *new(M), p.name)).(M); ok {
			return m
		}
	}
}

// gets waits for n deliveries, and checks that each has its body.
func (p *probe) gets(n int) []arrival {
	p.Helper()
	var all []arrival
	for len(all) < n {
		all = append(all, await(p, p.got, "deliveries for "+p.name).deliveries...)
	}
	if len(all) != n {
		p.Fatalf("%s was given %d messages, want %d", p.name, len(all), n)
	}
	for _, a := range all {
		var r codec.Record
		if a.page == nil || !a.page.record(a.Body.Offset, &r) || string(r.Value) != fmt.Sprint(a.Offset) {
			p.Fatalf("message %v came without its body, but with %q", a.Ref, r.Value)
		}
	}
	return all
}

func (p *probe) settles(m settle) []error {
	p.Helper()
	p.seq++
	m.consumer, m.seq = p.name, p.seq
	p.sys.Send(p.queue, m)
	done := hearsOf[deliveriesSettled](p)
	if done.seq != p.seq {
		p.Fatalf("answer %d to settlement %d", done.seq, p.seq)
	}
	return done.refused
}

func tagsOf(all []arrival) (tags []uint64) {
	for _, a := range all {
		tags = append(tags, a.Tag)
	}
	return tags
}

func TestShardKeepsWhatWasSettled(t *testing.T) {
	for _, end := range []string{"in order", "by a kill"} {
		t.Run(end, func(t *testing.T) {
			store := storagefake.New()
			infos := []*queueInfo{infoOf(1, "one", QueueConfig{}), infoOf(2, "two", QueueConfig{})}
			b := newShardBed(t, store, infos...)
			b.feed(1, 7, 100)
			b.feed(2, 7, 100)
			p := b.consume(1, "p", 60)
			got := p.gets(60)
			if refused := p.settles(settle{acks: tagsOf(got[:40])}); refused != nil {
				t.Fatal(refused)
			}
			if end == "in order" {
				b.close()
			} else {
				b.kill()
			}
			b = newShardBed(t, store.Restart(), infos...)
			defer b.close()
			if end == "by a kill" { // the log is read again, there was no snapshot
				b.feed(1, 7, 100)
				b.feed(2, 7, 100)
			}
			if c := b.counts(1); c.Acked != 40 || c.Ready != 60 || c.Taken != 100 {
				t.Errorf("queue one has %+v", c)
			}
			if c := b.counts(2); c.Acked != 0 || c.Ready != 100 {
				t.Errorf("queue two has %+v", c)
			}
			if end == "in order" {
				b.feed(1, 7, 100) // to no avail
			}
			next := b.consume(1, "p2", 100)
			if end == "by a kill" { // one at a time, for it may be what has killed the process
				first := next.gets(1)[0]
				if first.Offset != 40 || !first.Probation || first.Cause != queue.CauseCrash {
					t.Errorf("after a kill the first message is %+v", first)
				}
				return
			}
			for i, a := range next.gets(60) {
				if a.Offset != uint64(40+i) || !a.Redelivered || a.Cause != queue.CauseReturned || a.Probation {
					t.Fatalf("message %d is %v, redelivered %v for %q, on probation %v", i, a.Ref, a.Redelivered, a.Cause, a.Probation)
				}
			}
		})
	}
}

func TestQueueRefusesWhatWasSettled(t *testing.T) {
	b := newShardBed(t, storagefake.New(), infoOf(1, "one", QueueConfig{}))
	defer b.close()
	b.feed(1, 7, 3)
	p := b.consume(1, "p", 10)
	tags := tagsOf(p.gets(3))
	if refused := p.settles(settle{acks: tags}); refused != nil {
		t.Fatal(refused)
	}
	refused := p.settles(settle{acks: tags[:1], nacks: []queue.Nack{{Tags: []uint64{99}}}})
	if len(refused) != 2 || !errors.Is(refused[0], queue.ErrSettled) || !errors.Is(refused[1], queue.ErrUnknownTag) {
		t.Errorf("late and unknown settlements: %v", refused)
	}
}

func TestDeadConsumerGivesBack(t *testing.T) {
	b := newShardBed(t, storagefake.New(), infoOf(1, "one", QueueConfig{}))
	defer b.close()
	b.feed(1, 7, 10)
	p := b.consume(1, "p", 10)
	p.gets(10)
	b.sys.Stop(p.pid)
	other := b.consume(1, "other", 10)
	for i, a := range other.gets(10) {
		if a.Offset != uint64(i) || !a.Redelivered {
			t.Errorf("message %d is %+v", i, a.Delivery)
		}
	}
}

// A queue that panics is started again; the other one does not notice.
func TestQueueFailsAlone(t *testing.T) {
	b := newShardBed(t, storagefake.New(), infoOf(1, "one", QueueConfig{}), infoOf(2, "two", QueueConfig{}))
	defer b.close()
	b.feed(1, 7, 10)
	b.feed(2, 7, 10)
	p, other := b.consume(1, "p", 10), b.consume(2, "other", 10)
	tags := tagsOf(p.gets(10))
	p.settles(settle{acks: tags[:4]})
	_, err := Ask[int](testContext(t), b.sys, p.queue, askQueue{func(*queue.Queue) any { panic("on purpose") }})
	if err == nil || !strings.Contains(err.Error(), "on purpose") {
		t.Errorf("a question that panics is answered with %v", err)
	}
	if ended := hearsOf[consumerEnded](p); !errors.Is(ended.err, ErrQueueFailed) {
		t.Errorf("its consumer hears %v", ended.err)
	}
	b.feed(1, 7, 10) // from the beginning: there was no snapshot
	if c := b.counts(1); c.Acked != 4 || c.Ready != 6 {
		t.Errorf("the queue that failed has %+v", c)
	}
	tags = tagsOf(other.gets(10))
	if refused := other.settles(settle{acks: tags}); refused != nil {
		t.Errorf("its neighbour: %v", refused)
	}
}

// The journal is as long as what is outstanding, not as what ever passed; and a restart in
// the midst of its rewriting finds all.
func TestShardJournalIsRewritten(t *testing.T) {
	const messages = shardMessages
	store := storagefake.New()
	infos := []*queueInfo{infoOf(1, "one", QueueConfig{}), infoOf(2, "two", QueueConfig{})}
	b := newShardBed(t, store, infos...)
	b.feed(1, 7, messages)
	b.feed(2, 7, messages)
	p, idle := b.consume(1, "p", 100), b.consume(2, "idle", 10)
	idle.settles(settle{acks: tagsOf(idle.gets(10))})
	settled := 0
	for settled < messages-100 {
		all := await(p, p.got, "deliveries").deliveries
		for _, a := range all { // singly, and every third is kept for later
			if a.Offset%3 != 0 {
				p.settles(settle{acks: []uint64{a.Tag}})
			} else {
				p.settles(settle{nacks: []queue.Nack{{Tags: []uint64{a.Tag}, Requeue: true, Delay: 1 << 50}}})
			}
			settled++
		}
	}
	log, err := store.OpenLog(testContext(t), "shard_3_journal", storage.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bounds, err := log.Bounds(testContext(t))
	if err != nil || bounds.First < bounds.Last/2 {
		t.Errorf("the journal has the entries from %d to %d: %v", bounds.First, bounds.Last, err)
	}
	counts := b.counts(1)
	b.kill()
	b = newShardBed(t, store.Restart(), infos...)
	defer b.close()
	b.feed(1, 7, messages)
	b.feed(2, 7, messages)
	if c := b.counts(1); c.Acked != counts.Acked || c.Live != messages-int(counts.Acked) || c.Taken != messages {
		t.Errorf("queue one has %+v, and had %+v", c, counts)
	}
	if c := b.counts(2); c.Acked != 10 || c.Live != messages-10 {
		t.Errorf("queue two has %+v", c)
	}
}
