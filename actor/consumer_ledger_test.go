package actor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/group"
)

// account is what was published, and what became of it.
type account struct {
	t    *testing.T
	mu   sync.Mutex
	sick bool            // handlers fail now and then
	want map[string]int  // records, by key
	done map[string]int  // how many of a key were handled, in order
	seen map[string]bool // "k/3" was handled
	keys int

	unordered bool                                     // order of keys is given up
	atWork    map[string]map[*Delivery]context.Context // by key
	rnd       *rand.Rand
}

func newAccount(t *testing.T, seed uint64) *account {
	return &account{t: t, sick: true, want: map[string]int{}, done: map[string]int{}, seen: map[string]bool{}, atWork: map[string]map[*Delivery]context.Context{}, keys: 2 + int(seed%2)*10, rnd: rand.New(rand.NewPCG(seed, 1))}
}

func (l *account) number(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rnd.IntN(n)
}

// alone says that a record of a key is at work, and that no other is meanwhile, but for
// those that were told to end.
func (l *account) alone(ctx context.Context, d *Delivery) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := string(d.Key)
	for other, ctx := range l.atWork[key] {
		if ctx.Err() == nil && !l.unordered {
			l.t.Errorf("key %s: record %s (offset %d, %v, attempt %d) and record %s (offset %d, %v, attempt %d) at a time", key,
				d.Value, d.Offset, d.Cause, d.Attempt, other.Value, other.Offset, other.Cause, other.Attempt)
		}
	}
	if l.atWork[key] == nil {
		l.atWork[key] = map[*Delivery]context.Context{}
	}
	l.atWork[key][d] = ctx
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.atWork[key], d)
	}
}

// handle fails at random. A record whose predecessor was not handled is out of order.
func (l *account) handle(ctx context.Context, d *Delivery) error {
	defer l.alone(ctx, d)()
	if err := sleep(ctx, time.Duration(l.number(20))*time.Millisecond); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sick && l.rnd.IntN(10) == 0 {
		return errStamps
	}
	key, n := string(d.Key), 0
	if _, err := fmt.Sscanf(string(d.Value), "%d", &n); err != nil {
		return err
	}
	l.seen[key+"/"+string(d.Value)] = true
	switch {
	case n == l.done[key]:
		l.done[key]++
	case n > l.done[key] && !l.unordered:
		l.t.Errorf("key %s: record %d (offset %d, %v, attempt %d) before record %d", key, n, d.Offset, d.Cause, d.Attempt, l.done[key])
	}
	return nil
}

// publish publishes some records of random keys.
func (l *account) publish(s *System, count int) {
	topic, err := s.Topic(context.Background(), "orders")
	if err != nil {
		l.t.Error(err)
		return
	}
	p, err := topic.NewPublisher(context.Background(), PublisherOptions{})
	if err != nil {
		l.t.Error(err)
		return
	}
	for range count {
		key := fmt.Sprint("key-", l.number(l.keys))
		r := Record{Key: []byte(key), Value: fmt.Append(nil, l.want[key]), Time: NoTime}
		l.want[key]++
		if _, err := p.Publish(context.Background(), AnyPartition, &r); err != nil {
			l.t.Error(err)
		}
	}
	if err := p.Close(context.Background()); err != nil {
		l.t.Error(err)
	}
}

// release releases everything that is parked.
func (l *account) release(g *Group) (any bool) {
	keys, err := g.Parked(context.Background())
	if err != nil {
		l.t.Error(err)
	}
	for _, k := range keys {
		if l.number(3) > 0 {
			_ = g.Release(context.Background(), k) // it may be free by now, or be replayed
		} else if r, err := g.ParkedRecord(context.Background(), k, 0); err == nil {
			_ = g.Edit(context.Background(), k, r.Value)
		}
	}
	return len(keys) > 0
}

// check says what was lost.
func (l *account) check() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, n := range l.want {
		for i := range n {
			if !l.seen[fmt.Sprintf("%s/%d", key, i)] {
				l.t.Errorf("key %s: record %d of %d was lost", key, i, n)
			}
		}
	}
}

// rewind moves the group back, by up to 20 records in each partition.
func (l *account) rewind(g *Group) {
	ctx := context.Background()
	lag, err := g.Lag(ctx)
	if err != nil {
		l.t.Error(err)
	}
	var to []group.Position
	for _, p := range lag.Partitions {
		to = append(to, group.Position{Topic: p.Topic, Partition: p.Partition, Next: p.Next - min(p.Next, uint64(l.number(20)))})
	}
	if err := g.tell(ctx, group.Rewind{Positions: to}); err != nil {
		l.t.Error(err)
	}
}

// Handlers fail, keys are parked and released, the group is moved back, consumers crash,
// close and come back: nothing is lost, each key keeps its order, and no two records of it
// are at work at a time.
func TestLedgerOfParking(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *System) {
				l := newAccount(t, seed)
				declare(t, s, "orders", TopicConfig{Partitions: 3})
				o := ConsumerOptions{SessionTimeout: 2 * time.Second, HeartbeatInterval: 200 * time.Millisecond, CommitInterval: 300 * time.Millisecond,
					DrainTimeout: 100 * time.Millisecond, Concurrency: 1 + int(seed%3)*3,
					OnFailure: RetryInPlace(Backoff{Attempts: 2, Base: 5 * time.Millisecond}, ParkKey())}
				consumers := []*Consumer{startConsumer(t, s, o, l.handle), startConsumer(t, s, o, l.handle)}
				g := testGroup(t, s)
				for range 60 {
					l.publish(s, l.number(30))
					time.Sleep(time.Duration(l.number(500)) * time.Millisecond)
					switch l.number(7) {
					case 0:
						i := l.number(len(consumers))
						s.Stop(consumers[i].pid)
						<-consumers[i].Ended()
						consumers[i] = startConsumer(t, s, o, l.handle)
					case 1:
						i := l.number(len(consumers))
						closeConsumerOK(t, consumers[i])
						consumers[i] = startConsumer(t, s, o, l.handle)
					case 2, 3:
						l.release(g)
					case 4:
						l.rewind(g)
					}
				}
				l.mu.Lock()
				l.sick = false
				l.mu.Unlock()
				time.Sleep(10 * time.Second)
				for round := 0; l.release(g); round++ {
					if time.Sleep(10 * time.Second); round == 20 {
						t.Fatalf("there is no end of it: %s", parkedNow(t, s))
					}
				}
				synctest.Wait()
				for _, c := range consumers {
					closeConsumerOK(t, c)
				}
				l.check()
				if lag, err := g.Lag(context.Background()); err != nil || lag.Records != 0 {
					t.Errorf("%d records are left, %v", lag.Records, err)
				}
			})
		})
	}
}

// What is retried later is handled some time, or ends in a letter, whatever becomes of
// the consumers.
func TestLedgerOfDelays(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *System) {
				l := newAccount(t, seed)
				l.unordered = true
				declare(t, s, "orders", TopicConfig{Partitions: 2})
				o := ConsumerOptions{SessionTimeout: 2 * time.Second, HeartbeatInterval: 200 * time.Millisecond, CommitInterval: 300 * time.Millisecond,
					DrainTimeout: 100 * time.Millisecond, Concurrency: 4,
					OnFailure: RetryLater([]time.Duration{100 * time.Millisecond, time.Second}, DeadLetter("lost-letters"))}
				c := startConsumer(t, s, o, l.handle)
				for range 30 {
					l.publish(s, l.number(30))
					time.Sleep(time.Duration(l.number(500)) * time.Millisecond)
					if l.number(4) == 0 {
						s.Stop(c.pid)
						<-c.Ended()
						c = startConsumer(t, s, o, l.handle)
					}
				}
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				closeConsumerOK(t, c)
				for _, r := range allOf(t, s, "lost-letters") {
					l.seen[string(r.Key)+"/"+string(r.Value)] = true
				}
				l.check()
				if lag, err := testGroup(t, s).Lag(context.Background()); err != nil || lag.Records != 0 {
					t.Errorf("%d records are left, %v", lag.Records, err)
				}
			})
		})
	}
}
