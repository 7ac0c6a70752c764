package actor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/group"
)

// worked leaves a group that has processed ten records of partition 0, which came
// a minute apart, and none of partition 1, which has one.
func worked(t *testing.T, s *System) *Group {
	t.Helper()
	declare(t, s, "orders", TopicConfig{Partitions: 2})
	for i := range 10 {
		publish(t, s, 0, fmt.Sprint(i))
		time.Sleep(time.Minute)
	}
	var n diary
	c := startConsumer(t, s, ConsumerOptions{}, n.handle)
	synctest.Wait()
	closeConsumerOK(t, c)
	publish(t, s, 1, "late")
	return testGroup(t, s)
}

// told is what a plan says: "orders/0 10>3 -7", by partition.
func (p OffsetPlan) told() string {
	var all []string
	for _, c := range p.Changes {
		all = append(all, fmt.Sprintf("%s/%d %d>%d %+d", c.Topic, c.Partition, c.Old, c.New, c.Records))
	}
	return strings.Join(all, ", ")
}

func TestReset(t *testing.T) {
	for name, c := range map[string]struct {
		to     Move
		of     MoveOptions
		want   string
		causes string // of what is delivered then
	}{
		"earliest": {MoveTo(FromBeginning()), MoveOptions{}, "orders/0 10>2 -8, orders/1 0>0 +0",
			"2 replay 1, 3 replay 1, 4 replay 1, 5 replay 1, 6 replay 1, 7 replay 1, 8 replay 1, 9 replay 1, 0 first 1"},
		"latest":         {MoveTo(FromEnd()), MoveOptions{}, "orders/0 10>10 +0, orders/1 0>1 +1", ""},
		"offset":         {MoveTo(FromOffset(8)), MoveOptions{Partitions: []TopicPartition{orders0}}, "orders/0 10>8 -2", "8 replay 1, 9 replay 1, 0 first 1"},
		"trimmed offset": {MoveTo(FromOffset(1)), MoveOptions{Partitions: []TopicPartition{orders0}, DryRun: true}, "orders/0 10>2 -8", "0 first 1"},
		"beyond the end": {MoveTo(FromOffset(99)), MoveOptions{Topics: []string{"orders"}, DryRun: true}, "orders/0 10>10 +0, orders/1 0>1 +1", "0 first 1"},
		"ago":            {MoveAgo(150 * time.Second), MoveOptions{}, "orders/0 10>8 -2, orders/1 0>0 +0", "8 replay 1, 9 replay 1, 0 first 1"},
		"time":           {MoveTo(FromTime(time.Date(2000, 1, 1, 0, 6, 30, 0, time.UTC))), MoveOptions{}, "orders/0 10>7 -3, orders/1 0>0 +0", "7 replay 1, 8 replay 1, 9 replay 1, 0 first 1"},
		"back":           {MoveBy(-1), MoveOptions{}, "orders/0 10>9 -1, orders/1 0>0 +0", "9 replay 1, 0 first 1"},
		"far back":       {MoveBy(math.MinInt64), MoveOptions{DryRun: true}, "orders/0 10>2 -8, orders/1 0>0 +0", "0 first 1"},
		"on":             {MoveBy(1), MoveOptions{}, "orders/0 10>10 +0, orders/1 0>1 +1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *System) {
				g, ctx := worked(t, s), context.Background()
				topic, err := s.Topic(ctx, "orders")
				if err == nil {
					_, err = topic.Trim(ctx, 0, 2)
				}
				if err != nil {
					t.Fatal(err)
				}
				plan, err := g.Reset(ctx, c.to, c.of)
				if err != nil || plan.told() != c.want {
					t.Errorf("the plan is %s, %v; want %s", plan.told(), err, c.want)
				}
				var n diary
				next := startConsumer(t, s, ConsumerOptions{}, n.handle)
				synctest.Wait()
				slices.SortStableFunc(n.seen, func(a, b *Delivery) int { return a.Partition - b.Partition })
				if got := n.causes(); got != c.causes {
					t.Errorf("then it was told %s, want %s", got, c.causes)
				}
				closeConsumerOK(t, next)
				committedAt(t, s, 10)
			})
		})
	}
}

// A reset of what was reset knows of all that was handed out before.
func TestAResetIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		g, ctx := worked(t, s), context.Background()
		for range 2 { // again, from where the first has moved to
			if _, err := g.Reset(ctx, MoveBy(-2), MoveOptions{Partitions: []TopicPartition{orders0}}); err != nil {
				t.Fatal(err)
			}
		}
		var n diary
		c := startConsumer(t, s, ConsumerOptions{}, func(ctx context.Context, d *Delivery) error {
			if d.TopicPartition == orders0 {
				return n.handle(ctx, d)
			}
			return nil
		})
		synctest.Wait()
		if got, want := n.causes(), "6 replay 1, 7 replay 1, 8 replay 1, 9 replay 1"; got != want {
			t.Errorf("it was told %s, want %s", got, want)
		}
		closeConsumerOK(t, c)
	})
}

func TestResetIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		g, ctx := worked(t, s), context.Background()
		var n diary
		c := startConsumer(t, s, ConsumerOptions{}, n.handle)
		_, err := g.Reset(ctx, MoveTo(FromBeginning()), MoveOptions{})
		var who *GroupActiveError
		if !errors.Is(err, ErrGroupActive) || !errors.As(err, &who) || !slices.Equal(who.Members, []string{c.ID()}) || !strings.Contains(err.Error(), c.ID()) {
			t.Errorf("with a member it was refused with %v", err)
		}
		closeConsumerOK(t, c)
		committedAt(t, s, 10)
		if err := g.tell(ctx, group.Reset{}); err != nil {
			t.Error(err)
		}
		if _, err := g.Reset(ctx, MoveTo(FromEnd()), MoveOptions{Topics: []string{"refunds"}}); !errors.Is(err, ErrNoTopic) {
			t.Errorf("a topic that there is not: %v", err)
		}
		if _, err := g.Reset(ctx, MoveTo(FromEnd()), MoveOptions{Partitions: []TopicPartition{{"orders", 2}}}); err == nil || !strings.Contains(err.Error(), "no partition 2") {
			t.Errorf("a partition that there is not: %v", err)
		}
		if _, err := g.Reset(ctx, MoveAgo(-time.Hour), MoveOptions{}); err == nil || !strings.Contains(err.Error(), "MoveAgo: -1h0m0s lies ahead") {
			t.Errorf("a time to come: %v", err)
		}
	})
}

// A group can be given a place before it has begun, and outlives its topics.
func TestResetOfWhatAGroupDoesNotKnow(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		g, ctx := worked(t, s), context.Background()
		declare(t, s, "refunds", TopicConfig{})
		plan, err := g.Reset(ctx, MoveTo(FromEnd()), MoveOptions{Topics: []string{"refunds"}})
		if err != nil || plan.told() != "refunds/0 0>0 +0" {
			t.Errorf("the plan is %s, %v", plan.told(), err)
		}
		if err := s.DeleteTopic(ctx, "refunds"); err != nil {
			t.Fatal(err)
		}
		plan, err = g.Reset(ctx, MoveBy(-1), MoveOptions{})
		if err != nil || plan.told() != "orders/0 10>9 -1, orders/1 0>0 +0" || plan.Again != 1 || plan.Skipped != 0 {
			t.Errorf("the plan is %+v, %v", plan, err)
		}
		lag := lagOf(t, s)
		if n := len(lag.Partitions); n != 3 || !lag.Partitions[2].Deleted || lag.Records != 2 {
			t.Errorf("the lag is %+v", lag)
		}
	})
}

// What waits for another try in a delay topic stays where it is, unless it is named.
func TestResetLeavesDelayTopics(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		g, ctx := worked(t, s), context.Background()
		c := startConsumer(t, s, ConsumerOptions{OnFailure: RetryLater([]time.Duration{time.Hour}, Skip())}, func(_ context.Context, d *Delivery) error {
			if d.Attempt == 1 {
				return errors.New("not now")
			}
			return nil
		})
		synctest.Wait()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		closeConsumerOK(t, c)
		for want, o := range map[string]MoveOptions{
			"orders/0 10>0 -10, orders/1 1>0 -1": {DryRun: true},
			"retry-mailers-1h/0 1>0 -1":          {DryRun: true, Topics: []string{"retry-mailers-1h"}},
		} {
			if plan, err := g.Reset(ctx, MoveTo(FromBeginning()), o); err != nil || plan.told() != want {
				t.Errorf("the plan is %s, %v; want %s", plan.told(), err, want)
			}
		}
	})
}

// A rewind moves those who are at work, one partition of one group; the others go
// on, and what was under way counts no more.
func TestRewind(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		g, ctx := worked(t, s), context.Background()
		var n, others diary
		stuck := make(chan struct{})
		c := startConsumer(t, s, ConsumerOptions{}, func(ctx context.Context, d *Delivery) error {
			if err := n.handle(ctx, d); err != nil || string(d.Value) != "slow" || d.Cause != First {
				return err
			}
			close(stuck)
			<-ctx.Done() // the rewind ends it, and it says that all is well
			return nil
		})
		other := startConsumer(t, s, ConsumerOptions{Group: "auditors"}, others.handle)
		publish(t, s, 0, "slow")
		<-stuck
		synctest.Wait()
		n.forget()
		others.forget()

		dry, err := g.Rewind(ctx, MoveBy(-3), MoveOptions{Partitions: []TopicPartition{orders0}, DryRun: true})
		if err != nil || dry.told() != "orders/0 10>7 -3" || dry.Changes[0].Owner != c.ID() || dry.Again != 3 {
			t.Errorf("the plan is %+v, %v", dry, err)
		}
		synctest.Wait()
		n.expect(t, "")
		plan, err := g.Rewind(ctx, MoveBy(-3), MoveOptions{Partitions: []TopicPartition{orders0}})
		if err != nil || plan.told() != dry.told() {
			t.Errorf("the plan is %+v, %v", plan, err)
		}
		synctest.Wait()
		if got, want := n.causes(), "7 replay 1, 8 replay 1, 9 replay 1, 10 replay 1"; got != want {
			t.Errorf("it was told %s, want %s", got, want)
		}
		if err := c.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		committedAt(t, s, 11)

		// Forwards is over what has not come yet.
		publish(t, s, 0, "x")
		synctest.Wait()
		if plan, err = g.Rewind(ctx, MoveTo(FromEnd()), MoveOptions{}); err != nil || plan.Again != 0 || plan.Skipped != 0 {
			t.Errorf("the plan is %+v, %v", plan, err)
		}
		synctest.Wait()
		others.expect(t, "x")
		closeConsumerOK(t, other)
		closeConsumerOK(t, c)
		committedAt(t, s, 12)
	})
}

// A rewind works without members, too, and its note survives them.
func TestRewindWithoutMembers(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		g := worked(t, s)
		if _, err := g.Rewind(context.Background(), MoveTo(FromOffset(9)), MoveOptions{}); err != nil {
			t.Fatal(err)
		}
		var n diary
		c := startConsumer(t, s, ConsumerOptions{}, n.handle)
		synctest.Wait()
		if got := n.causes(); !strings.Contains(got, "9 replay 1") {
			t.Errorf("it was told %s", got)
		}
		closeConsumerOK(t, c)
	})
}

func TestShiftStaysWithin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint64Range(0, math.MaxInt64).Draw(t, "first")
		next := rapid.Uint64Range(first, math.MaxInt64).Draw(t, "next")
		at := rapid.Uint64Range(first, next).Draw(t, "at")
		by := rapid.Int64().Draw(t, "by")
		got := shift(at, by, Bounds{First: first, Next: next})
		want := float64(at) + float64(by)
		switch {
		case got < first || got > next:
			t.Fatalf("%d is not within %d and %d", got, first, next)
		case want > float64(first) && want < float64(next) && int64(got-at) != by:
			t.Fatalf("from %d by %d came to %d", at, by, got)
		case by < 0 && got > at || by > 0 && got < at:
			t.Fatalf("from %d by %d came to %d", at, by, got)
		}
	})
}
