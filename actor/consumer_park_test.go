package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// publishKeyed publishes to partition 0 of orders: "k:a" is the value "k:a" of the key
// k, and ":a" has no key.
func publishKeyed(t testing.TB, s *System, texts ...string) {
	t.Helper()
	topic, err := s.Topic(context.Background(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	p := newProducer(t, topic, ProducerOptions{})
	var all []Record
	for _, text := range texts {
		r := Record{Value: []byte(text), Time: NoTime}
		if key, _, _ := strings.Cut(text, ":"); key != "" {
			r.Key = []byte(key)
		}
		all = append(all, r)
	}
	if _, err := p.Append(context.Background(), 0, all); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// sick is a handler of which some values fail for as long as they are in it.
type sick struct {
	diary
	mu  sync.Mutex
	bad map[string]bool
}

func newSick(bad ...string) *sick {
	s := &sick{bad: map[string]bool{}}
	s.set(true, bad...)
	return s
}

func (s *sick) set(bad bool, values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range values {
		s.bad[v] = bad
	}
}

func (s *sick) handle(ctx context.Context, d *Delivery) error {
	_ = s.diary.handle(ctx, d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad[string(d.Value)] {
		return errStamps
	}
	return nil
}

// parkedNow says what is parked: "k: 1 3 (failed: out of stamps)".
func parkedNow(t testing.TB, s *System) string {
	t.Helper()
	keys, err := testGroup(t, s).Parked(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, k := range keys {
		text := k.Key + ":"
		for _, r := range k.Records {
			text += fmt.Sprint(" ", r.Offset)
		}
		if k.Releasing {
			text += " releasing"
		}
		all = append(all, fmt.Sprintf("%s (%s: %s, %d)", text, k.Reason, k.Error, k.Attempts))
	}
	return strings.Join(all, "; ")
}

func expectParked(t testing.TB, s *System, want string) {
	t.Helper()
	if got := parkedNow(t, s); got != want {
		t.Errorf("parked is %q, want %q", got, want)
	}
}

func theParkedKey(t testing.TB, s *System) (*Group, ParkedKey) {
	t.Helper()
	g := testGroup(t, s)
	keys, err := g.Parked(context.Background())
	if err != nil || len(keys) == 0 {
		t.Fatalf("parked is %v, %v", keys, err)
	}
	return g, keys[0]
}

var parkingOptions = ConsumerOptions{OnFailure: ParkKey()}

// A record that fails holds its key and no other, and the commit goes on.
func TestParkAKey(t *testing.T) {
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *System) {
				declare(t, s, "orders", TopicConfig{})
				publishKeyed(t, s, "k:1", "l:1", "k:2", ":1", "l:2", "k:3")
				n := newSick("k:1")
				o := parkingOptions
				o.Concurrency = workers
				c := startConsumer(t, s, o, n.handle)
				synctest.Wait()
				if workers == 1 {
					n.expect(t, "k:1 l:1 :1 l:2")
				}
				expectParked(t, s, "k: 0 2 5 (failed: out of stamps, 1)")
				if err := c.Commit(context.Background()); err != nil {
					t.Fatal(err)
				}
				committedAt(t, s, 6)

				publishKeyed(t, s, "k:4", "l:3")
				synctest.Wait()
				n.set(false, "k:1")
				n.forget()
				g, k := theParkedKey(t, s)
				if err := g.Release(context.Background(), k); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				n.expect(t, "k:1 k:2 k:3 k:4")
				if got := n.causes(); got != "0 released 2, 2 released 1, 5 released 1, 6 released 1" {
					t.Errorf("it was told %s", got)
				}
				if d := n.seen[0]; d.LastError != "out of stamps" || string(d.Key) != "k" || len(d.Headers) != 0 || d.AppendTime != n.seen[1].AppendTime || d.AppendTime == 0 {
					t.Errorf("the first is %+v", d)
				}
				expectParked(t, s, "")
				n.forget()
				publishKeyed(t, s, "k:5")
				synctest.Wait()
				if got := n.causes(); got != "8 first 1" {
					t.Errorf("after that it was told %s", got)
				}
				closeConsumerOK(t, c)
				committedAt(t, s, 9)
			})
		})
	}
}

// A record without a key is parked alone.
func TestParkARecordWithoutAKey(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, ":1", ":2")
		n := newSick(":1")
		c := startConsumer(t, s, parkingOptions, n.handle)
		synctest.Wait()
		n.expect(t, ":1 :2")
		n.set(false, ":1")
		g, k := theParkedKey(t, s)
		if err := g.Release(context.Background(), k); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n.expect(t, ":1 :2 :1")
		expectParked(t, s, "")
		closeConsumerOK(t, c)
	})
}

// What fails again is parked again, with what is behind it; its attempts count on.
func TestAReleaseThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1", "k:2", "k:3")
		n := newSick("k:1", "k:3")
		c := startConsumer(t, s, ConsumerOptions{OnFailure: RetryInPlace(Backoff{Attempts: 2}, ParkKey())}, n.handle)
		time.Sleep(time.Minute)
		expectParked(t, s, "k: 0 1 2 (failed: out of stamps, 2)")
		g, k := theParkedKey(t, s)
		for range 2 {
			if err := g.Release(context.Background(), k); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		expectParked(t, s, "k: 0 1 2 (failed: out of stamps, 6)")
		n.set(false, "k:1")
		if err := g.Release(context.Background(), k); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		expectParked(t, s, "k: 2 (failed: out of stamps, 2)")
		n.expect(t, "k:1 k:1 k:1 k:1 k:1 k:1 k:1 k:2 k:3 k:3")
		if last := n.seen[6]; last.Attempt != 7 || last.Cause != Released {
			t.Errorf("the last attempt of the first is %+v", last)
		}
		closeConsumerOK(t, c)
	})
}

func TestSkipAParkedRecord(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1", "k:2")
		n := newSick("k:1")
		c := startConsumer(t, s, parkingOptions, n.handle)
		synctest.Wait()
		g, k := theParkedKey(t, s)
		if err := g.Skip(context.Background(), k); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n.expect(t, "k:1 k:2")
		if err := g.Skip(context.Background(), k); !errors.Is(err, ErrNotParked) {
			t.Errorf("skipped twice: %v", err)
		}
		publishKeyed(t, s, "k:3")
		synctest.Wait()
		n.expect(t, "k:1 k:2 k:3")
		expectParked(t, s, "")
		closeConsumerOK(t, c)
	})
}

func TestEditAParkedRecord(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1", "k:2")
		n := newSick("k:1")
		c := startConsumer(t, s, parkingOptions, n.handle)
		synctest.Wait()
		g, k := theParkedKey(t, s)
		if r, err := g.ParkedRecord(context.Background(), k, 0); err != nil || string(r.Value) != "k:1" || len(r.Headers) != 0 {
			t.Errorf("the record that failed is %+v, %v", r, err)
		}
		if err := g.Edit(context.Background(), k, []byte("k:mended")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n.expect(t, "k:1 k:mended k:2")
		if d := n.seen[1]; d.Offset != 0 || d.Attempt != 2 || string(d.Key) != "k" {
			t.Errorf("the mended record is %+v", d)
		}
		closeConsumerOK(t, c)
	})
}

// What is done to a parked key while nobody is there takes effect when somebody is;
// another owner, and a crash, change nothing.
func TestParkedKeysOutliveTheirConsumer(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *System, *Consumer){
		"close": func(t *testing.T, _ *System, c *Consumer) { closeConsumerOK(t, c) },
		"crash": func(_ *testing.T, s *System, c *Consumer) {
			s.Stop(c.pid)
			<-c.Ended()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *System) {
				declare(t, s, "orders", TopicConfig{})
				publishKeyed(t, s, "k:1", "k:2", "l:1")
				n := newSick("k:1", "l:1")
				c := startConsumer(t, s, parkingOptions, n.handle)
				synctest.Wait()
				end(t, s, c)
				n.forget()
				publishKeyed(t, s, "k:3", "m:1")
				c = startConsumer(t, s, parkingOptions, n.handle)
				time.Sleep(2 * DefaultSessionTimeout)
				n.expect(t, "m:1") // nothing of what is parked comes again
				expectParked(t, s, "k: 0 1 3 (failed: out of stamps, 1); l: 2 (failed: out of stamps, 1)")
				end(t, s, c)
				time.Sleep(2 * DefaultSessionTimeout)

				n.set(false, "k:1")
				n.forget()
				g := testGroup(t, s)
				keys, err := g.Parked(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(g.Release(context.Background(), keys[0]), g.Skip(context.Background(), keys[1])); err != nil {
					t.Fatal(err)
				}
				expectParked(t, s, "k: 0 1 3 releasing (failed: out of stamps, 1)")
				c = startConsumer(t, s, parkingOptions, n.handle)
				synctest.Wait()
				n.expect(t, "k:1 k:2 k:3")
				expectParked(t, s, "")
				closeConsumerOK(t, c)
				committedAt(t, s, 5)
			})
		})
	}
}

// A limit of the parking stalls the partition, and no longer than it is reached.
func TestParkingIsFull(t *testing.T) {
	for name, limits := range map[string]group.Limits{
		"ParkedKeys":   {ParkedKeys: 1},
		"ParkedPerKey": {ParkedPerKey: 2},
		"ParkedBytes":  {ParkedBytes: 100},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *System) {
				declare(t, s, "orders", TopicConfig{})
				publishKeyed(t, s, "k:1", "k:2", "k:3", "l:1", "m:1")
				n := newSick("k:1", "l:1")
				o := parkingOptions
				o.GroupConfig = group.Config{Limits: limits}
				c := startConsumer(t, s, o, n.handle)
				time.Sleep(time.Minute)
				if err := c.Commit(context.Background()); err != nil {
					t.Fatal(err)
				}
				d, err := testGroup(t, s).Describe(context.Background())
				if err != nil || d.Partitions[0].Next > 3 {
					t.Errorf("it has committed %d, %v", d.Partitions[0].Next, err)
				}
				if err := c.Parking(); !errors.Is(err[orders0], ErrParkingFull) {
					t.Errorf("it says of its parking: %v", err)
				}
				n.set(false, "k:1", "l:1")
				for parkedNow(t, s) != "" {
					g, k := theParkedKey(t, s)
					if err := g.Release(context.Background(), k); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
				}
				if err := c.Parking(); len(err) > 0 {
					t.Errorf("it still says of its parking: %v", err)
				}
				closeConsumerOK(t, c)
				committedAt(t, s, 5)
				got := n.texts()
				for _, once := range []string{"k:2", "k:3", "m:1"} {
					if strings.Count(got, once) != 1 {
						t.Errorf("it handled %q", got)
					}
				}
			})
		})
	}
}

// Somebody skips the last record of a key while another is on its way behind it: that
// one keeps its place, and the key goes on.
func TestAKeyBecomesFreeUnderARecord(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		store := storagefake.New()
		var full atomic.Bool
		store.OnAppend(func(a storagefake.Append) storagefake.Fault {
			if full.Load() && a.Log == partitionLog(parkedTopic("mailers"), 0) {
				return storagefake.Fault{Err: storage.ErrFull}
			}
			return storagefake.Fault{}
		})
		on(t, store, func(s *System) {
			declare(t, s, "orders", TopicConfig{})
			publishKeyed(t, s, "k:1")
			n := newSick("k:1")
			c := startConsumer(t, s, parkingOptions, n.handle)
			synctest.Wait()
			full.Store(true)
			publishKeyed(t, s, "k:2", "k:3")
			synctest.Wait()
			g, k := theParkedKey(t, s)
			if err := g.Skip(context.Background(), k); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			publishKeyed(t, s, "k:4")
			time.Sleep(time.Minute)
			n.expect(t, "k:1") // the order of the key stands
			full.Store(false)
			time.Sleep(time.Minute)
			n.expect(t, "k:1 k:2 k:3 k:4")
			expectParked(t, s, "")
			closeConsumerOK(t, c)
			committedAt(t, s, 4)
		})
		time.Sleep(time.Second)
	})
}

// What is dealt with leaves the parking topic, after a while; what is parked stays.
func TestTheParkingTopicIsSwept(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		n := newSick("k:1", "l:1")
		c := startConsumer(t, s, parkingOptions, n.handle)
		for _, text := range []string{"k:1", "l:1", "l:2"} {
			publishKeyed(t, s, text)
			synctest.Wait()
		}
		n.set(false, "k:1", "l:1")
		g, k := theParkedKey(t, s)
		if err := g.Release(context.Background(), k); err != nil {
			t.Fatal(err)
		}
		bodies := func(want string) {
			t.Helper()
			var all []string
			for _, r := range allOf(t, s, parkedTopic("mailers")) {
				all = append(all, string(r.Value))
			}
			if got := strings.Join(all, " "); got != want {
				t.Errorf("the parking topic holds %q, want %q", got, want)
			}
		}
		time.Sleep(parkFresh)
		bodies("k:1 l:1 l:2")
		time.Sleep(2 * parkSweep)
		bodies("l:1 l:2")
		closeConsumerOK(t, c)
		time.Sleep(DefaultRetention + time.Hour)
		bodies("l:1 l:2")
		c = startConsumer(t, s, parkingOptions, n.handle)
		g, k = theParkedKey(t, s)
		if err := g.Release(context.Background(), k); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * parkSweep)
		n.expect(t, "k:1 l:1 k:1 l:1 l:2")
		bodies("")
		closeConsumerOK(t, c)
		if err := s.DeleteGroup(context.Background(), "mailers"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Topic(context.Background(), parkedTopic("mailers")); !errors.Is(err, ErrNoTopic) {
			t.Errorf("the group is gone, and its parking topic: %v", err)
		}
	})
}

// A group that is moved back meets its parked keys again: what was before them is
// handled again, they are not.
func TestRewindWithParkedKeys(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1", "l:1", "k:2", "k:3", "l:2")
		n := newSick("k:2")
		c := startConsumer(t, s, parkingOptions, n.handle)
		synctest.Wait()
		n.forget()
		if err := testGroup(t, s).tell(context.Background(), group.Rewind{Positions: []group.Position{{Topic: "orders"}}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n.expect(t, "k:1 l:1 l:2")
		n.set(false, "k:2")
		g, k := theParkedKey(t, s)
		if err := g.Release(context.Background(), k); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n.expect(t, "k:1 l:1 l:2 k:2 k:3")
		closeConsumerOK(t, c)
		committedAt(t, s, 5)
	})
}

// A record from before what is parked, that comes again and fails, is parked in front, and
// those between follow it into their places.
func TestARecordFromBeforeWhatIsParkedFails(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1", "k:2", "l:1", "k:3", "k:4")
		n := newSick("k:3")
		c := startConsumer(t, s, parkingOptions, n.handle)
		synctest.Wait()
		expectParked(t, s, "k: 3 4 (failed: out of stamps, 1)")
		n.forget()
		n.set(true, "k:1")
		if err := testGroup(t, s).tell(context.Background(), group.Rewind{Positions: []group.Position{{Topic: "orders"}}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expectParked(t, s, "k: 0 1 3 4 (failed: out of stamps, 1)")
		n.expect(t, "k:1 l:1")
		n.set(false, "k:1", "k:3")
		g, k := theParkedKey(t, s)
		if err := g.Release(context.Background(), k); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n.expect(t, "k:1 l:1 k:1 k:2 k:3 k:4")
		closeConsumerOK(t, c)
		committedAt(t, s, 5)
	})
}

// A crash in the middle of a replay, before a commit: what was replayed comes again, in
// order, before the rest.
func TestACrashWhileAKeyIsReplayed(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1", "k:2", "k:3", "k:4")
		n := newSick("k:1")
		c := startConsumer(t, s, parkingOptions, func(ctx context.Context, d *Delivery) error {
			if string(d.Value) == "k:3" {
				<-ctx.Done()
				return ctx.Err()
			}
			return n.handle(ctx, d)
		})
		synctest.Wait()
		n.set(false, "k:1")
		g, k := theParkedKey(t, s)
		if err := g.Release(context.Background(), k); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expectParked(t, s, "k: 2 3 releasing (failed: out of stamps, 1)")
		s.Stop(c.pid)
		<-c.Ended()
		n.forget()
		next := startConsumer(t, s, parkingOptions, func(ctx context.Context, d *Delivery) error {
			time.Sleep(time.Second)
			return n.handle(ctx, d)
		})
		time.Sleep(2 * DefaultSessionTimeout)
		n.expect(t, "k:1 k:2 k:3 k:4")
		expectParked(t, s, "")
		closeConsumerOK(t, next)
	})
}

// With ManualAck, a record out of the parking is done when it was acknowledged.
func TestManualAckOfAReleasedRecord(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1", "k:2")
		n := newSick("k:1")
		o := parkingOptions
		o.ManualAck = true
		c := startConsumer(t, s, o, n.handle)
		synctest.Wait()
		n.set(false, "k:1")
		g, k := theParkedKey(t, s)
		if err := g.Release(context.Background(), k); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		n.expect(t, "k:1 k:1")
		failed, released := n.seen[0], n.seen[1]
		if failed.Ack() || !released.Ack() || released.Ack() {
			t.Error("a released record can be acknowledged once, and one that failed cannot")
		}
		synctest.Wait()
		n.expect(t, "k:1 k:1 k:2")
		n.seen[2].Ack()
		synctest.Wait()
		expectParked(t, s, "")
		closeConsumerOK(t, c)
		committedAt(t, s, 2)
	})
}

// A release that comes while a member asks its group what is parked is not lost: it is
// asked again.
func TestAReleaseWhileParkingIsLoaded(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publishKeyed(t, s, "k:1", "k:2")
		n := newSick("k:1")
		c := startConsumer(t, s, parkingOptions, n.handle)
		synctest.Wait()
		n.set(false, "k:1")
		n.forget()
		l := (*c.lanes.Load())[0]
		l.mu.Lock()
		f := &consumerFetch{lane: l, run: l.run, ctx: l.ctx}
		l.parking = nil
		l.mu.Unlock()
		mustDo(t, f.awaitTold())
		old := must[[]ParkedKey](t)(f.askParked())
		g, k := theParkedKey(t, s)
		mustDo(t, g.Release(context.Background(), k))
		synctest.Wait()
		if again := must[bool](t)(f.takeParking(old)); !again {
			t.Fatal("what was is taken for what is")
		}
		mustDo(t, f.loadParking())
		l.mu.Lock()
		l.handOut()
		l.mu.Unlock()
		synctest.Wait()
		n.expect(t, "k:1 k:2")
		closeConsumerOK(t, c)
	})
}
