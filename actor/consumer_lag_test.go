package actor

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func lagOf(t testing.TB, s *System) Lag {
	t.Helper()
	lag, err := testGroup(t, s).Lag(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return lag
}

// Lag is told in records and in seconds, with an estimate of when it will be gone.
func TestLag(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		ctx := context.Background()
		topic := declare(t, s, "orders", TopicConfig{Partitions: 2})
		p := newProducer(t, topic, ProducerOptions{})
		defer func() {
			if err := p.Close(ctx); err != nil {
				t.Error(err)
			}
		}()
		work := 10 * time.Millisecond
		c := startConsumer(t, s, ConsumerOptions{}, func(context.Context, *Delivery) error {
			time.Sleep(work)
			return nil
		})
		each := func(seconds int) {
			for i := range seconds {
				mustAppend(t, p, 0, fmt.Sprint(i))
				time.Sleep(time.Second)
			}
		}
		each(30)
		lag := lagOf(t, s)
		if lag.Records != 0 || lag.Age != 0 || lag.CatchUp != 0 || len(lag.Partitions) != 2 {
			t.Errorf("caught up, it is %+v", lag)
		}
		if err := c.Pause(ctx, orders0); err != nil {
			t.Fatal(err)
		}
		each(120)
		lag = lagOf(t, s)
		if one := lag.Partitions[0]; lag.Records != 120 || lag.Age.Round(time.Second) != 2*time.Minute || one.Next != 30 || one.End != 150 || one.Owner != c.ID() {
			t.Errorf("two minutes behind, it is %+v", lag)
		}
		if lag.CatchUp != Unknown {
			t.Errorf("nobody works, and it will be caught up in %v", lag.CatchUp)
		}
		work = time.Second / 4 // four a second, and one comes in
		if err := c.Resume(ctx, orders0); err != nil {
			t.Fatal(err)
		}
		each(30)
		lag = lagOf(t, s)
		left := 120 - 30*3
		if off := lag.CatchUp - time.Duration(left/3)*time.Second; int(lag.Records) < left-5 || int(lag.Records) > left+5 || off.Abs() > 5*time.Second {
			t.Errorf("it will be caught up in %v: %+v", lag.CatchUp, lag)
		}
		each(30)
		if lag = lagOf(t, s); lag.Records > 1 {
			t.Errorf("in the end it is %+v", lag)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		closeConsumerOK(t, c)

		// Nobody is there: the commits say it.
		each(20)
		lag = lagOf(t, s)
		if lag.Records != 20 || lag.Age.Round(time.Second) != 20*time.Second || lag.CatchUp != Unknown || lag.Partitions[0].Owner != "" || !lag.Partitions[0].Committed {
			t.Errorf("without members it is %+v", lag)
		}
		if _, err := topic.Trim(ctx, 0, 215); err != nil { // 210 are done
			t.Fatal(err)
		}
		if lag = lagOf(t, s); lag.Records != 15 || lag.Partitions[0].Next != 215 || lag.Age.Round(time.Second) != 15*time.Second {
			t.Errorf("after a trim it is %+v", lag)
		}
	})
}

// A member that does not say where it stands is taken by what it has committed.
func TestLagOfASilentMember(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "b")
		m := newMember(t, testGroup(t, s), "a")
		m.join(1)
		synctest.Wait()
		if lag := lagOf(t, s); lag.Records != 2 || lag.Partitions[0].Committed || lag.Partitions[0].Owner != "a" {
			t.Errorf("it is %+v", lag)
		}
	})
}
