package actor

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// faultyBubble is bubble with a store whose group journal follows a script.
func faultyBubble(t *testing.T, f func(t *testing.T, s *System, store *storagefake.Store, plan *script)) {
	inVirtualTime(t, func(t *testing.T) {
		store, plan := storagefake.New(), &script{}
		store.OnAppend(func(a storagefake.Append) storagefake.Fault {
			if a.Log != groupLog("mailers") {
				return storagefake.Fault{}
			}
			a.Log = ordersLog // the script is about that one
			return plan.onAppend(a)
		})
		on(t, store, func(s *System) { f(t, s, store, plan) })
		time.Sleep(time.Second)
	})
}

// A commit whose answer is lost is found in the journal.
func TestACommitWhoseAnswerIsLost(t *testing.T) {
	for name, fault := range map[string]storagefake.Fault{"reply": {LoseReply: true}, "request": {LoseRequest: true}} {
		t.Run(name, func(t *testing.T) {
			faultyBubble(t, func(t *testing.T, s *System, _ *storagefake.Store, plan *script) {
				declare(t, s, "orders", TopicConfig{})
				publish(t, s, 0, "a", "b")
				var n diary
				c := startConsumer(t, s, ConsumerOptions{}, n.handle)
				synctest.Wait()
				plan.expect(storage.Data, fault)
				if err := c.Commit(context.Background()); err != nil {
					t.Fatal(err)
				}
				committedAt(t, s, 2)
				closeConsumerOK(t, c)
				n.expect(t, "a b")
			})
		})
	}
}

// A group whose journal fails forgets its members: they come back, and go on
// where the journal says.
func TestAGroupThatLosesItsJournal(t *testing.T) {
	faultyBubble(t, func(t *testing.T, s *System, _ *storagefake.Store, plan *script) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b")
		var n diary
		var told chronicle
		c := startConsumer(t, s, ConsumerOptions{Listener: told.listener()}, n.handle)
		synctest.Wait()
		if err := c.Commit(context.Background()); err != nil {
			t.Fatal(err)
		}
		publish(t, s, 0, "c")
		synctest.Wait()
		plan.expect(storage.Data, storagefake.Fault{Err: storage.ErrFenced})
		time.Sleep(time.Minute)
		synctest.Wait()
		told.expect(t, "assigned 0; lost 0; assigned 0")
		n.expect(t, "a b c c")
		closeConsumerOK(t, c)
		committedAt(t, s, 3)
	})
}

// A full disk stops commits, and neither the work nor the membership.
func TestAFullDisk(t *testing.T) {
	faultyBubble(t, func(t *testing.T, s *System, store *storagefake.Store, _ *script) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b", "c")
		var n diary
		var told chronicle
		c := startConsumer(t, s, ConsumerOptions{Listener: told.listener()}, func(ctx context.Context, d *Delivery) error {
			time.Sleep(time.Minute)
			return n.handle(ctx, d)
		})
		time.Sleep(time.Second)
		store.SetFull(true)
		time.Sleep(5 * time.Minute)
		n.expect(t, "a b c")
		store.SetFull(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		committedAt(t, s, 3)
		told.expect(t, "assigned 0")
		closeConsumerOK(t, c)
	})
}

// A group that answers too late has let several attempts to join come true: all but
// the last one are taken back at once.
func TestLateMembershipsAreDeclined(t *testing.T) {
	faultyBubble(t, func(t *testing.T, s *System, store *storagefake.Store, _ *script) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a")
		g := testGroup(t, s)
		if _, err := g.Describe(context.Background()); err != nil {
			t.Fatal(err)
		}
		store.SetFull(true)
		var n diary
		joined := make(chan *Consumer)
		go func() { joined <- startConsumer(t, s, ConsumerOptions{SessionTimeout: 10 * time.Minute}, n.handle) }()
		time.Sleep(4 * consumerAsk)
		store.SetFull(false)
		c := <-joined
		time.Sleep(time.Second)
		synctest.Wait()
		d, err := g.Describe(context.Background())
		if err != nil || len(d.Members) != 1 || d.Members[0].ID != c.ID() {
			t.Errorf("the members are %+v, %v", d.Members, err)
		}
		n.expect(t, "a")
		closeConsumerOK(t, c)
	})
}

// What the user wants to be told may panic.
func TestFunctionsThatPanic(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{Partitions: 2})
		publish(t, s, 0, "bad")
		publish(t, s, 1, "a")
		var n diary
		c := startConsumer(t, s, ConsumerOptions{Listener: Listener{
			Stopped: func(TopicPartition, error) { panic("stopped") },
		}}, func(ctx context.Context, d *Delivery) error {
			if string(d.Value) == "bad" {
				return errors.New("bad")
			}
			return n.handle(ctx, d)
		})
		synctest.Wait()
		c.CommitAsync(func(error) { panic("committed") })
		synctest.Wait()
		publish(t, s, 1, "b")
		synctest.Wait()
		n.expect(t, "a b")
		err := c.Close(context.Background())
		for _, says := range []string{"bad", "stopped", "committed"} {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("it ended with %v, which does not say %q", err, says)
			}
		}
	})
}

// Damage stops its partition, loudly, and no other.
func TestDamageStopsThePartition(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		store := storagefake.New()
		on(t, store, func(s *System) {
			declare(t, s, "orders", TopicConfig{Partitions: 2})
			publish(t, s, 0, "a")
			publish(t, s, 0, "b")
			publish(t, s, 1, "x")
		})
		store = store.Restart()
		log, err := store.OpenLog(context.Background(), partitionLog("orders", 0), storage.LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var second uint64 // the entry that holds the record b
		for seq, found := uint64(1), 0; found < 2; {
			entries, err := log.Read(context.Background(), seq, 1)
			if err != nil || len(entries) == 0 {
				t.Fatal(entries, err)
			}
			if entries[0].Kind == storage.Data {
				second = entries[0].Seq
				found++
			}
			seq = entries[0].Seq + 1
		}
		if err := store.Corrupt(partitionLog("orders", 0), second, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }); err != nil {
			t.Fatal(err)
		}
		on(t, store, func(s *System) {
			declare(t, s, "orders", TopicConfig{Partitions: 2})
			var n diary
			c := startConsumer(t, s, ConsumerOptions{}, n.handle)
			synctest.Wait()
			if got := n.texts(); len(n.seen) != 2 || !strings.Contains(got, "a") || !strings.Contains(got, "x") {
				t.Errorf("it handled %s", got)
			}
			if err := c.Close(context.Background()); !errors.Is(err, ErrCorrupt) {
				t.Errorf("it ended with %v", err)
			}
			committedAt(t, s, 1)
		})
		time.Sleep(time.Second)
	})
}

// A topic that is deleted under a consumer stops its partitions.
func TestATopicIsDeletedUnderAConsumer(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		ctx := context.Background()
		declare(t, s, "orders", TopicConfig{})
		declare(t, s, "bills", TopicConfig{})
		var n diary
		c := startConsumer(t, s, ConsumerOptions{Topics: []string{"orders", "bills"}}, n.handle)
		synctest.Wait()
		if err := s.DeleteTopic(ctx, "bills"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		publish(t, s, 0, "a")
		synctest.Wait()
		n.expect(t, "a")
		if err := c.Err(); !errors.Is(err, ErrNoTopic) {
			t.Errorf("it says %v", err)
		}
		if err := testGroup(t, s).tell(ctx, group.Forget{Topic: "bills", Force: true}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		all, err := c.Assigned(ctx)
		if err != nil || len(all) != 1 || all[0] != orders0 {
			t.Errorf("it has %v, %v", all, err)
		}
		closeConsumerOK(t, c)
	})
}

// The system closes while handlers are at work, and nobody has closed the consumer:
// that is a crash to the group, and a clean end to the process.
func TestSystemClosesUnderAConsumer(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		var n diary
		var told atomic.Int32
		on(t, storagefake.New(), func(s *System) {
			declare(t, s, "orders", TopicConfig{})
			publish(t, s, 0, "a", "b")
			startConsumer(t, s, ConsumerOptions{Concurrency: 4, OnFailure: retries{3, time.Second}}, func(ctx context.Context, d *Delivery) error {
				<-ctx.Done()
				told.Add(1)
				return ctx.Err()
			})
			synctest.Wait()
		})
		if told.Load() != 2 {
			t.Error("the handlers were not told")
		}
		n.expect(t, "")
		time.Sleep(time.Second)
	})
}

// Several topics, assigned by range: equal partitions are together.
func TestTwoTopicsByRange(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{Partitions: 3})
		declare(t, s, "bills", TopicConfig{Partitions: 3})
		o := ConsumerOptions{Topics: []string{"orders", "bills"}, Assignor: group.Range}
		var n diary
		a := startConsumer(t, s, o, n.handle)
		b := startConsumer(t, s, o, n.handle)
		synctest.Wait()
		owned := map[int]int{}
		for _, c := range []*Consumer{a, b} {
			all, err := c.Assigned(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			owned[len(all)]++
			for i, p := range all[:len(all)/2] {
				if p.Topic != "bills" || all[len(all)/2+i] != (TopicPartition{"orders", p.Partition}) {
					t.Errorf("one has %v", all)
				}
			}
		}
		if owned[4] != 1 || owned[2] != 1 {
			t.Errorf("they have %v", owned)
		}
		if _, err := s.NewConsumer(context.Background(), ConsumerOptions{Group: "mailers", Topics: o.Topics, Assignor: group.RoundRobin}, n.handle); !errors.Is(err, group.ErrConflict) {
			t.Errorf("another assignor: %v", err)
		}
		closeConsumerOK(t, a)
		closeConsumerOK(t, b)
	})
}
