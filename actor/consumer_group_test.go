package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// chronicle is a listener that notes what it is told.
type chronicle struct {
	mu     sync.Mutex
	events []string
}

func (n *chronicle) note(what string) func(context.Context, []TopicPartition) {
	return func(_ context.Context, p []TopicPartition) {
		n.mu.Lock()
		defer n.mu.Unlock()
		var numbers []string
		for _, one := range p {
			numbers = append(numbers, fmt.Sprint(one.Partition))
		}
		n.events = append(n.events, what+" "+strings.Join(numbers, ","))
	}
}

func (n *chronicle) listener() Listener {
	return Listener{Assigned: n.note("assigned"), Revoked: n.note("revoked"), Lost: n.note("lost")}
}

// take returns what was noted since it was asked last.
func (n *chronicle) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	text := strings.Join(n.events, "; ")
	n.events = nil
	return text
}

func (n *chronicle) expect(t testing.TB, want string) {
	t.Helper()
	if got := n.take(); got != want {
		t.Errorf("it was told %q, want %q", got, want)
	}
}

// Only what moves stops, in good order: handlers finish, their work is committed,
// and the next owner goes on behind it.
func TestARebalanceMovesWhatMustMove(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{Partitions: 2})
		publish(t, s, 0, "a0", "a1")
		publish(t, s, 1, "b0", "b1", "b2")
		gate := make(chan struct{})
		var first, second diary
		var told, told2 chronicle
		a := startConsumer(t, s, ConsumerOptions{Listener: told.listener()}, func(ctx context.Context, d *Delivery) error {
			if d.Offset == 1 {
				<-gate // both partitions are at work
			}
			return first.handle(ctx, d)
		})
		synctest.Wait()
		told.expect(t, "assigned 0,1")
		b := startConsumer(t, s, ConsumerOptions{Listener: told2.listener()}, second.handle)
		synctest.Wait()
		told2.expect(t, "")
		close(gate)
		synctest.Wait()
		told.expect(t, "revoked 1")
		told2.expect(t, "assigned 1")
		second.expect(t, "b2")
		publish(t, s, 0, "a2")
		publish(t, s, 1, "b3")
		synctest.Wait()
		second.expect(t, "b2 b3")
		if got := first.texts(); strings.Contains(got, "b2") || !strings.Contains(got, "a2") {
			t.Errorf("the first handled %s", got)
		}
		if got := second.causes(); got != "2 first 1, 3 first 1" {
			t.Errorf("the second was told %s", got)
		}
		closeConsumerOK(t, b)
		synctest.Wait()
		told2.expect(t, "revoked 1")
		told.expect(t, "assigned 1")
		all, err := a.Assigned(context.Background())
		if err != nil || len(all) != 2 {
			t.Errorf("the first has %v, %v", all, err)
		}
		closeConsumerOK(t, a)
		told.expect(t, "revoked 0,1")
	})
}

// A handler that does not come to its end is abandoned after DrainTimeout. What it
// does later is ignored, its neighbour goes on all the time, and the next owner gets
// its record.
func TestARebalanceDoesNotWaitForEver(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{Partitions: 2})
		publish(t, s, 1, "slow")
		var first, second diary
		let := make(chan struct{})
		var told error
		a := startConsumer(t, s, ConsumerOptions{DrainTimeout: 7 * time.Second}, func(ctx context.Context, d *Delivery) error {
			if d.Partition == 1 {
				<-ctx.Done()
				told = ctx.Err()
				<-let
			}
			return first.handle(ctx, d)
		})
		synctest.Wait()
		b := startConsumer(t, s, ConsumerOptions{}, second.handle)
		time.Sleep(7*time.Second - time.Millisecond)
		publish(t, s, 0, "quick")
		synctest.Wait()
		first.expect(t, "quick")
		second.expect(t, "")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if second.causes() != "0 rebalance 2" || told == nil {
			t.Errorf("the second was told %q, the first %v", second.causes(), told)
		}
		close(let)
		closeConsumerOK(t, a)
		closeConsumerOK(t, b)
	})
}

// While a partition is being taken away, what is acknowledged and committed counts.
func TestRevokedCanCommit(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b", "c")
		var n diary
		var c *Consumer
		o := ConsumerOptions{ManualAck: true, ManualCommit: true, Listener: Listener{Revoked: func(ctx context.Context, _ []TopicPartition) {
			n.seen[0].Ack()
			n.seen[1].Ack()
			if err := c.Commit(ctx); err != nil {
				t.Error(err)
			}
			n.seen[2].Ack()
		}}}
		c = startConsumer(t, s, o, n.handle)
		synctest.Wait()
		closeConsumerOK(t, c)
		committedAt(t, s, 2)
	})
}

// A handler may take as long as it likes.
func TestASlowHandlerKeepsItsPartition(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b")
		var n diary
		var told chronicle
		c := startConsumer(t, s, ConsumerOptions{Listener: told.listener()}, func(ctx context.Context, d *Delivery) error {
			for range 20 {
				time.Sleep(time.Minute)
				d.Progress()
			}
			return n.handle(ctx, d)
		})
		time.Sleep(25 * time.Minute)
		g := testGroup(t, s)
		d, err := g.Describe(context.Background())
		if err != nil || len(d.Members) != 1 || d.Members[0].Stuck || d.Members[0].InFlight != 1 {
			t.Errorf("after 25 minutes: %+v, %v", d, err)
		}
		if age := time.Since(time.UnixMilli(d.Members[0].Progressed)); age > 2*time.Minute {
			t.Errorf("the last progress was %v ago", age)
		}
		time.Sleep(20 * time.Minute)
		n.expect(t, "a b")
		told.expect(t, "assigned 0")
		closeConsumerOK(t, c)
		committedAt(t, s, 2)
	})
}

// One that hangs is found, though its consumer is alive.
func TestAHangingHandlerIsFound(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a")
		c := startConsumer(t, s, ConsumerOptions{GroupConfig: group.Config{ProgressTimeout: time.Minute}},
			func(ctx context.Context, _ *Delivery) error { <-ctx.Done(); return ctx.Err() })
		time.Sleep(2 * time.Minute)
		d, err := testGroup(t, s).Describe(context.Background())
		if err != nil || len(d.Members) != 1 || !d.Members[0].Stuck {
			t.Errorf("after two minutes: %+v, %v", d, err)
		}
		closeConsumerOK(t, c)
	})
}

// A consumer that dies before it has committed: what was after the last commit
// comes again, no more and no less.
func TestAKilledConsumer(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b", "c")
		var first, second diary
		block := make(chan struct{})
		c := startConsumer(t, s, ConsumerOptions{}, func(ctx context.Context, d *Delivery) error {
			if d.Offset == 5 {
				<-block
			}
			return first.handle(ctx, d)
		})
		synctest.Wait()
		if err := c.Commit(context.Background()); err != nil {
			t.Fatal(err)
		}
		publish(t, s, 0, "d", "e", "f", "g")
		synctest.Wait()
		first.expect(t, "a b c d e")
		s.Stop(c.pid) // it says nothing to anybody
		<-c.Ended()
		began := time.Now()
		next := startConsumer(t, s, ConsumerOptions{}, second.handle)
		synctest.Wait()
		second.expect(t, "")
		time.Sleep(DefaultSessionTimeout)
		synctest.Wait()
		second.expect(t, "d e f g")
		close(block)
		synctest.Wait()
		if took := time.Since(began); took != DefaultSessionTimeout {
			t.Errorf("it was taken over after %v", took)
		}
		closeConsumerOK(t, next)
		committedAt(t, s, 7)
	})
}

// The same when the whole process goes. What the last commit says of records that
// were handed out is told to the next owner.
func TestAKilledProcess(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		store := storagefake.New()
		var n diary
		on(t, store, func(s *System) {
			declare(t, s, "orders", TopicConfig{})
			publish(t, s, 0, "a", "b", "c", "d")
			startConsumer(t, s, ConsumerOptions{}, func(ctx context.Context, d *Delivery) error {
				if d.Offset == 2 {
					<-ctx.Done() // it hangs over the commit
				}
				return n.handle(ctx, d)
			})
			time.Sleep(DefaultCommitInterval)
			synctest.Wait()
			n.expect(t, "a b")
		})
		n.forget()
		on(t, store.Restart(), func(s *System) {
			c := startConsumer(t, s, ConsumerOptions{}, n.handle)
			synctest.Wait()
			if got := n.causes(); got != "2 crash 2, 3 first 1" {
				t.Errorf("the next process is told %s", got)
			}
			closeConsumerOK(t, c)
		})
		time.Sleep(time.Second)
	})
}

// A consumer that is shut out hears that its partitions are lost, commits nothing,
// and comes back by itself.
func TestAFencedConsumerJoinsAgain(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b")
		var n diary
		var told chronicle
		c := startConsumer(t, s, ConsumerOptions{Listener: told.listener()}, n.handle)
		synctest.Wait()
		before := c.ID()
		if err := testGroup(t, s).tell(context.Background(), group.Evict{Member: before, Reason: "a test"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		told.expect(t, "assigned 0; lost 0; assigned 0")
		n.expect(t, "a b a b")
		if c.ID() == before {
			t.Error("it has its old id")
		}
		closeConsumerOK(t, c)
		committedAt(t, s, 2)
	})
}

// A group that has lost its members notices when they next say something.
func TestAConsumerOutlivesItsGroupsActor(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a")
		var n diary
		var told chronicle
		c := startConsumer(t, s, ConsumerOptions{Listener: told.listener()}, n.handle)
		synctest.Wait()
		g := testGroup(t, s)
		s.Stop(g.pid)
		<-s.Watch(g.pid)
		time.Sleep(time.Minute)
		synctest.Wait()
		told.expect(t, "assigned 0; lost 0; assigned 0")
		publish(t, s, 0, "b")
		synctest.Wait()
		closeConsumerOK(t, c)
		committedAt(t, s, 2)
	})
}

// A static member that comes back in time has its partitions again, and the others
// hear nothing of it.
func TestAStaticConsumerComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{Partitions: 2})
		var n diary
		var told, told2 chronicle
		a := startConsumer(t, s, ConsumerOptions{Instance: "one", Listener: told.listener()}, n.handle)
		b := startConsumer(t, s, ConsumerOptions{Instance: "two", Listener: told2.listener()}, n.handle)
		synctest.Wait()
		told.expect(t, "assigned 0,1; revoked 1")
		told2.expect(t, "assigned 1")
		closeConsumerOK(t, b)
		time.Sleep(30 * time.Second)
		publish(t, s, 1, "x")
		synctest.Wait()
		n.expect(t, "")
		b = startConsumer(t, s, ConsumerOptions{Instance: "two", Listener: told2.listener()}, n.handle)
		synctest.Wait()
		n.expect(t, "x")
		told.expect(t, "")
		told2.expect(t, "revoked 1; assigned 1")

		// Of two with the same instance, the younger stays, for good.
		c := startConsumer(t, s, ConsumerOptions{Instance: "two"}, n.handle)
		<-b.Ended()
		if !errors.Is(b.Err(), ErrReplaced) {
			t.Errorf("the older one ended with %v", b.Err())
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		all, err := c.Assigned(context.Background())
		if err != nil || !slices.Equal(all, []TopicPartition{{"orders", 1}}) {
			t.Errorf("the younger one has %v, %v", all, err)
		}
		closeConsumerOK(t, a)
		closeConsumerOK(t, c)
	})
}

// Partitions that are added to a topic find their consumers.
func TestAConsumerFollowsAGrowingTopic(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		var n diary
		c := startConsumer(t, s, ConsumerOptions{}, n.handle)
		if _, err := s.AlterTopic(context.Background(), "orders", func(c *TopicConfig) { c.Partitions = 3 }); err != nil {
			t.Fatal(err)
		}
		publish(t, s, 2, "new")
		time.Sleep(consumerTopics)
		synctest.Wait()
		n.expect(t, "new")
		closeConsumerOK(t, c)
	})
}

// An online rewind: the owner goes back, and is told that it is a replay.
func TestAConsumerFollowsARewind(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b", "c")
		var n diary
		c := startConsumer(t, s, ConsumerOptions{}, n.handle)
		synctest.Wait()
		if err := c.Commit(context.Background()); err != nil {
			t.Fatal(err)
		}
		err := testGroup(t, s).tell(context.Background(), group.Rewind{Positions: []group.Position{{Topic: "orders", Next: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		publish(t, s, 0, "d")
		synctest.Wait()
		n.expect(t, "a b c b c d")
		if got := n.causes(); !strings.HasSuffix(got, "1 replay 1, 2 replay 1, 3 first 1") {
			t.Errorf("it was told %s", got)
		}
		closeConsumerOK(t, c)
		committedAt(t, s, 4)
	})
}
