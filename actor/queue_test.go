package actor

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// queueBed is a system with queues, from end to end.
type queueBed struct {
	testing.TB
	sys *System
}

func newQueueBed(t testing.TB, store storage.Store, opts ...Option) *queueBed {
	t.Helper()
	return &queueBed{t, NewSystem(store, opts...)}
}

func (b *queueBed) close() {
	b.Helper()
	if err := b.sys.Close(testContext(b)); err != nil {
		b.Fatalf("close: %v", err)
	}
}

func (b *queueBed) declare(name string, c QueueConfig) *queueInfo {
	b.Helper()
	info, err := b.sys.declareQueue(testContext(b), name, c)
	if err != nil {
		b.Fatal(err)
	}
	return info
}

// publish appends messages with these bodies to the log of the first queue's shard, for
// all of these queues.
func (b *queueBed) publish(bodies []string, to ...*queueInfo) {
	b.Helper()
	if err := b.tryPublish(testContext(b), bodies, to...); err != nil {
		b.Fatal(err)
	}
}

func (b *queueBed) tryPublish(ctx context.Context, bodies []string, to ...*queueInfo) error {
	t, err := b.sys.Declare(ctx, ownTopic(shardPrefix, to[0].shard, false), TopicConfig{})
	if err != nil {
		return err
	}
	d, err := b.sys.directory(ctx)
	if err != nil {
		return err
	}
	log, err := d.logOf(ctx, t, 0)
	if err != nil {
		return err
	}
	var e envelope.Envelope
	for _, q := range to {
		e.Queues = append(e.Queues, q.id)
		if err := d.follows(ctx, t, log, q.shard); err != nil {
			return err
		}
	}
	header := codec.Header{Key: envelope.Key, Value: envelope.Append(nil, &e)}
	all := records(bodies...)
	for i := range all {
		all[i].Headers = []codec.Header{header}
	}
	p, err := t.NewProducer(ProducerOptions{})
	if err == nil {
		_, err = p.Append(ctx, 0, all)
	}
	return err
}

func numbers(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

// queueAt is where a queue is.
type queueAt struct {
	sys  *System
	info *queueInfo
}

func (q queueAt) address(ctx context.Context) (*pactor.PID, error) {
	return q.sys.queueActor(ctx, q.info)
}
func (q queueAt) settleTimeout() time.Duration { return q.info.config().SettleTimeout }

// subscribe makes a consumer whose messages are fetched.
func (b *queueBed) subscribe(info *queueInfo, prefetch int) *QueueConsumer {
	b.Helper()
	c, err := b.sys.newQueueConsumer(testContext(b), info.name, queueAt{b.sys, info}, ConsumeOptions{Prefetch: prefetch}, nil, false)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func (b *queueBed) next(c *QueueConsumer, n int) (all []*QueueDelivery) {
	b.Helper()
	for len(all) < n {
		d, err := c.Next(testContext(b))
		if err != nil {
			b.Fatalf("after %d of %d messages: %v", len(all), n, err)
		}
		all = append(all, d)
	}
	return all
}

func (b *queueBed) ack(all ...*QueueDelivery) {
	b.Helper()
	for _, d := range all {
		if err := d.AckSync(testContext(b)); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *queueBed) stats(info *queueInfo) QueueStats {
	b.Helper()
	pid, err := b.sys.queueActor(testContext(b), info)
	if err != nil {
		b.Fatal(err)
	}
	s, err := Ask[QueueStats](testContext(b), b.sys, pid, askQueueStats{})
	if err != nil {
		b.Fatal(err)
	}
	if s.Err != nil {
		b.Errorf("queue %s: %v", info.name, s.Err)
	}
	return s
}

// Messages that were acknowledged never come again, and all others do, in order.
func TestQueueOutlastsItsSystem(t *testing.T) {
	store := storagefake.New()
	b := newQueueBed(t, store)
	one, two := b.declare("one", QueueConfig{}), b.declare("two", QueueConfig{})
	if one.shard == two.shard {
		t.Fatal("the queues were to be of two shards")
	}
	b.publish(numbers(0, 100), one, two)
	c := b.subscribe(one, 40)
	got := b.next(c, 60-20)
	for i, d := range got {
		if string(d.Body()) != strconv.Itoa(i) || d.Redelivered() {
			t.Fatalf("message %d is %q, redelivered %v", i, d.Body(), d.Redelivered())
		}
	}
	b.ack(got[:30]...)
	b.close()

	b = newQueueBed(t, store.Restart())
	defer b.close()
	one, two = b.declare("one", QueueConfig{}), b.declare("two", QueueConfig{})
	for i, d := range b.next(b.subscribe(one, 100), 70) {
		if string(d.Body()) != strconv.Itoa(30+i) {
			t.Fatalf("message %d of queue one is %q", i, d.Body())
		}
		b.ack(d)
	}
	for i, d := range b.next(b.subscribe(two, 100), 100) {
		if string(d.Body()) != strconv.Itoa(i) || d.Redelivered() {
			t.Fatalf("message %d of queue two is %q, redelivered %v", i, d.Body(), d.Redelivered())
		}
	}
	if s := b.stats(one); s.Acked != 100 || s.Live != 0 {
		t.Errorf("queue one has %+v", s.QueueCounts)
	}
}

// The process ends with any of its appends, before or after it was stored. Whatever was
// confirmed by then holds: published messages come, and acknowledged ones do not.
func TestQueueLosesNothingWhereverItIsKilled(t *testing.T) {
	for n := 1; ; n++ {
		stored, last := n%2 == 0, false
		t.Run(fmt.Sprintf("append %d", n), func(t *testing.T) { last = killedAt(t, n, stored) })
		if last || t.Failed() {
			return
		}
	}
}

// killedAt is true if all went well before append n.
func killedAt(t *testing.T, n int, stored bool) (survived bool) {
	store := storagefake.New()
	b := newQueueBed(t, store)
	q := b.declare("q", QueueConfig{})
	ctx, kill := context.WithCancel(testContext(t))
	defer kill()
	var appends atomic.Int64
	store.OnAppend(func(storagefake.Append) storagefake.Fault {
		switch at := appends.Add(1); {
		case at < int64(n):
			return storagefake.Fault{}
		case at == int64(n) && stored:
			kill()
			return storagefake.Fault{LoseReply: true}
		}
		kill()
		return storagefake.Fault{Err: storage.ErrClosed}
	})
	published, acked := b.work(ctx, q)
	survived = ctx.Err() == nil
	kill()
	next := newQueueBed(t, store.Restart())
	b.close()
	defer next.close()
	next.finds(published, acked)
	return survived
}

// work publishes messages and acknowledges some, and says what was confirmed.
func (b *queueBed) work(ctx context.Context, q *queueInfo) (published, acked map[string]bool) {
	published, acked = map[string]bool{}, map[string]bool{}
	for i := range 4 {
		if b.tryPublish(ctx, numbers(2*i, 2*i+2), q) != nil {
			return
		}
		published[strconv.Itoa(2*i)], published[strconv.Itoa(2*i+1)] = true, true
	}
	c, err := b.sys.newQueueConsumer(ctx, q.name, queueAt{b.sys, q}, ConsumeOptions{Prefetch: 3}, nil, false)
	if err != nil {
		return
	}
	for range 5 {
		d, err := c.Next(ctx)
		if err != nil {
			return
		}
		if d.AckSync(ctx) != nil {
			delete(published, string(d.Body())) // it may come again, or not
			return
		}
		acked[string(d.Body())] = true
	}
	return
}

// finds checks that the queue has what was published, but not what was acknowledged.
func (b *queueBed) finds(published, acked map[string]bool) {
	b.Helper()
	q := b.declare("q", QueueConfig{})
	b.publish([]string{"last"}, q)
	c, seen := b.subscribe(q, 100), map[string]bool{}
	for !seen["last"] {
		d := b.next(c, 1)[0]
		body := string(d.Body())
		if acked[body] || seen[body] {
			b.Errorf("message %s comes again (acknowledged: %v)", body, acked[body])
		}
		seen[body] = true
		b.ack(d)
	}
	for body := range published {
		if !seen[body] && !acked[body] {
			b.Errorf("message %s is lost", body)
		}
	}
	if s := b.stats(q); s.Live != 0 {
		b.Errorf("the queue has %+v", s.QueueCounts)
	}
}
