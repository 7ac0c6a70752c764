package actor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// makeAnew deletes the topic orders and declares it again, with texts in partition 0.
func makeAnew(t *testing.T, s *System, c TopicConfig, texts ...string) {
	t.Helper()
	if err := s.DeleteTopic(context.Background(), "orders"); err != nil {
		t.Fatal(err)
	}
	declare(t, s, "orders", c)
	publish(t, s, 0, texts...)
}

// handled runs a consumer that handles what there is.
func handled(t *testing.T, s *System, want string) {
	t.Helper()
	var n diary
	c := startConsumer(t, s, ConsumerOptions{}, n.handle)
	synctest.Wait()
	n.expect(t, want)
	closeConsumerOK(t, c)
}

// What a group has committed in a topic says nothing of another topic of that name,
// that has as many records or more: also if the group did not run when the topic was
// deleted and made anew, and whether a consumer hears of it first or a handle.
func TestCommitsDoNotOutliveTheirTopic(t *testing.T) {
	for name, first := range map[string]func(t *testing.T, s *System){
		"a consumer": func(*testing.T, *System) {},
		"its lag": func(t *testing.T, s *System) {
			if lag := lagOf(t, s); lag.Records != 4 || len(lag.Partitions) != 1 || lag.Partitions[0].Committed {
				t.Errorf("the lag in the new topic is %+v", lag)
			}
		},
		"a dry run": func(t *testing.T, s *System) {
			plan, err := testGroup(t, s).Reset(context.Background(), MoveTo(FromEnd()), MoveOptions{DryRun: true})
			if err != nil || plan.Skipped != 4 || plan.Changes[0].Committed {
				t.Errorf("it would be %+v, %v", plan, err)
			}
		},
		"a job": func(t *testing.T, s *System) {
			if next, err := testGroup(t, s).Committed(context.Background(), "orders"); err != nil || len(next) != 0 {
				t.Errorf("committed is %v, %v", next, err)
			}
		},
	} {
		for _, down := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				inVirtualTime(t, func(t *testing.T) {
					store := storagefake.New()
					on(t, store, func(s *System) {
						declare(t, s, "orders", TopicConfig{Partitions: 2})
						publish(t, s, 0, "a", "b", "c")
						handled(t, s, "a b c")
						if !down {
							makeAnew(t, s, TopicConfig{}, "d", "e", "f", "g")
							first(t, s)
							handled(t, s, "d e f g")
						}
					})
					if down {
						on(t, store, func(s *System) { makeAnew(t, s, TopicConfig{}, "d", "e", "f", "g") })
						on(t, store, func(s *System) { first(t, s); handled(t, s, "d e f g") })
					}
					on(t, store, func(s *System) { handled(t, s, "") }) // what was committed since holds
					time.Sleep(time.Second)
				})
			})
		}
	}
}

// A consumer whose topic is deleted and made anew under its hands goes on with the new
// one, however many partitions that has, and what its handlers come to with the old
// one is not committed.
func TestAConsumerMeetsTheNewTopic(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{Partitions: 2})
		publish(t, s, 0, "a", "slow", "c")
		var n diary
		slow := make(chan struct{})
		c := startConsumer(t, s, ConsumerOptions{Concurrency: 1}, func(ctx context.Context, d *Delivery) error {
			if string(d.Value) == "slow" {
				<-slow
			}
			return n.handle(ctx, d)
		})
		synctest.Wait()
		n.expect(t, "a")
		makeAnew(t, s, TopicConfig{Partitions: 1}, "d", "e")
		close(slow)
		time.Sleep(consumerTopics + DefaultCommitInterval)
		synctest.Wait()
		if got := n.texts(); !strings.HasSuffix(got, "d e") {
			t.Errorf("it handled %q", got)
		}
		committedAt(t, s, 2)
		if got, err := c.Assigned(context.Background()); err != nil || len(got) != 1 {
			t.Errorf("it has %v, %v", got, err)
		}
		// And once more, with more partitions.
		if err := s.DeleteTopic(context.Background(), "orders"); err != nil {
			t.Fatal(err)
		}
		n.forget()
		declare(t, s, "orders", TopicConfig{Partitions: 3})
		publish(t, s, 2, "f")
		time.Sleep(consumerTopics)
		synctest.Wait()
		n.expect(t, "f")
		_ = c.Close(context.Background()) // that it could not read for a while is known
	})
}

// Keys that were parked went with their topic, and hold up nobody in the new one.
func TestParkedKeysDoNotOutliveTheirTopic(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1", "k:2", "l:1")
		o := ConsumerOptions{OnFailure: ParkKey()}
		bad := newSick("k:1")
		c := startConsumer(t, s, o, bad.handle)
		synctest.Wait()
		closeConsumerOK(t, c)
		g := testGroup(t, s)
		if parked, err := g.Parked(context.Background()); err != nil || len(parked) != 1 {
			t.Fatalf("parked are %v, %v", parked, err)
		}
		if err := s.DeleteTopic(context.Background(), "orders"); err != nil {
			t.Fatal(err)
		}
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:3", "k:4")
		if parked, err := g.Parked(context.Background()); err != nil || len(parked) != 0 {
			t.Errorf("parked are %v, %v", parked, err)
		}
		var n diary
		c = startConsumer(t, s, o, n.handle)
		synctest.Wait()
		n.expect(t, "k:3 k:4")
		closeConsumerOK(t, c)
	})
}

// Each declaration has an incarnation of its own, which lasts as long as the topic.
func TestIncarnationsAreNeverUsedTwice(t *testing.T) {
	store := storagefake.New()
	s := logSystem(t, store)
	seen := map[uint64]bool{}
	for range 3 {
		for _, name := range []string{"orders", "bills"} {
			topic := declare(t, s, name, TopicConfig{})
			if again := declare(t, s, name, TopicConfig{}); again.Incarnation() != topic.Incarnation() {
				t.Errorf("declared again it is %d, not %d", again.Incarnation(), topic.Incarnation())
			}
			altered, err := s.AlterTopic(testContext(t), name, func(c *TopicConfig) { c.Partitions++ })
			if err != nil || altered.Incarnation() != topic.Incarnation() {
				t.Errorf("altered it is %d, not %d: %v", altered.Incarnation(), topic.Incarnation(), err)
			}
			if i := topic.Incarnation(); i == 0 || seen[i] {
				t.Errorf("topic %s has the incarnation %d, after %v", name, i, seen)
			}
			seen[topic.Incarnation()] = true
			if err := s.DeleteTopic(testContext(t), name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A group that hears late of a topic from before does not take it for the new one.
func TestAnOldIncarnationIsOutdated(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		old := declare(t, s, "orders", TopicConfig{Partitions: 2}).said()
		makeAnew(t, s, TopicConfig{}, "a")
		handled(t, s, "a")
		if err := testGroup(t, s).tell(context.Background(), group.Resize{Topics: []group.Topic{old}}); err != nil {
			t.Fatal(err)
		}
		committedAt(t, s, 1)
	})
}

// What was in memory is gone with its process, and so are the offsets that a group had
// of it, which the topic gives again. A topic on the disk is what it was.
func TestCommitsInMemoryTopics(t *testing.T) {
	for durability, want := range map[Durability]string{Memory: "c d e", Interval: "e"} {
		inVirtualTime(t, func(t *testing.T) {
			store := storagefake.New()
			on(t, store, func(s *System) {
				declare(t, s, "orders", TopicConfig{Durability: durability})
				publish(t, s, 0, "a", "b")
				handled(t, s, "a b")
			})
			store = store.Restart()
			on(t, store, func(s *System) {
				if durability != Memory {
					publish(t, s, 0, "e")
				} else {
					publish(t, s, 0, "c", "d", "e")
				}
				if lag := lagOf(t, s); lag.Records != uint64(len(strings.Fields(want))) {
					t.Errorf("durability %d: the lag is %+v", durability, lag)
				}
				handled(t, s, want)
			})
			time.Sleep(time.Second)
		})
	}
}

// Handles on a topic that is deleted say so, at once and for good: none of them reaches
// another topic of that name, and no record waits for its DeliveryTimeout.
func TestHandlesOfADeletedTopic(t *testing.T) {
	s := logSystem(t, storagefake.New())
	ctx := testContext(t)
	topic := declare(t, s, "orders", TopicConfig{})
	publisher := newPublisher(t, topic, PublisherOptions{})
	appender := newProducer(t, topic, ProducerOptions{})
	for range 2 {
		if _, err := publisher.PublishSync(ctx, 0, record("old")); err != nil {
			t.Fatal(err)
		}
	}
	reader := openReader(t, topic, 0, FromEnd())
	read := make(chan error, 1)
	go func() {
		_, err := reader.Next(ctx)
		read <- err
	}()
	var futures []Future
	for range 100 {
		f, err := publisher.Publish(ctx, 0, record("under way"))
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	if err := s.DeleteTopic(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	for i, f := range futures {
		if at, err := f.Wait(ctx); err != nil && !errors.Is(err, ErrNoTopic) {
			t.Errorf("record %d went to %+v, %v", i, at, err)
		}
	}
	if err := publisher.Flush(ctx); err != nil {
		t.Errorf("flush: %v", err)
	}
	_ = await(t, read, "the reader") // it may have come upon what was under way
	next := declare(t, s, "orders", TopicConfig{Partitions: 2})
	mustAppend(t, newProducer(t, next, ProducerOptions{}), 0, "a", "b", "c", "d")
	for what, f := range map[string]func() error{
		"a publisher": func() error { _, err := publisher.PublishSync(ctx, 0, record("old")); return err },
		"an append":   func() error { _, err := appender.Append(ctx, 0, records("old")); return err },
		"the bounds":  func() error { _, err := topic.Bounds(ctx, 0); return err },
		"a purge":     func() error { return topic.Purge(ctx) },
		"a reader": func() error {
			for {
				if _, err := reader.Next(ctx); err != nil {
					return err
				}
			}
		},
		"another reader": func() error { _, err := topic.OpenReader(ctx, 0, FromBeginning()); return err },
	} {
		if err := f(); !errors.Is(err, ErrNoTopic) || !strings.Contains(err.Error(), "was deleted") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if b, err := next.Bounds(ctx, 0); err != nil || b.Next != 4 {
		t.Errorf("the new topic holds %+v, %v", b, err)
	}
}
