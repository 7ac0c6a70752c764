package runtime_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
)

// What the lives of TestKillNineOfQueues do.
const (
	heldMax      = 60  // messages that a worker keeps before it acknowledges them
	lastMessages = 100 // that the last life publishes
	waitingMax   = 500 // messages that wait: the last life has to work on all of them
)

// openQueue opens the engine of a directory, and its queue of tasks.
func openQueue(ctx context.Context, dir string, config actor.QueueConfig) (*runtime.Engine, *actor.Queue, error) {
	e, err := runtime.Open(ctx, runtime.DataDir(filepath.Join(dir, "data")), runtime.Logger(quiet))
	if err != nil {
		return nil, nil, err
	}
	_, err = e.DeclareExchange(ctx, "shop", actor.ExchangeConfig{Type: actor.Fanout})
	q, declareErr := e.DeclareQueue(ctx, "tasks", config)
	if err = errors.Join(err, declareErr); err == nil {
		err = e.Bind(ctx, actor.Binding{Exchange: "shop", Queue: "tasks"})
	}
	if err != nil {
		return nil, nil, errors.Join(err, e.Close(ctx))
	}
	return e, q, nil
}

func shopPublisher(ctx context.Context, e *runtime.Engine) (*actor.ExchangePublisher, error) {
	x, err := e.Exchange(ctx, "shop")
	if err != nil {
		return nil, err
	}
	return x.NewPublisher(ctx, actor.ExchangePublisherOptions{WaitWhenFull: true})
}

// untilDone waits until a queue has nothing left.
func untilDone(ctx context.Context, q *actor.Queue) error {
	if err := q.CatchUp(ctx); err != nil {
		return err
	}
	for {
		s, err := q.Stats(ctx)
		if err = errors.Join(err, s.Err); err != nil || s.Live == 0 {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the queue has %+v: %w", s.QueueCounts, ctx.Err())
		}
	}
}

// A worker that is killed with messages in its hands: all of them come to the next one,
// flagged; of the others none is missing, and none comes again that was acknowledged.
func TestKillNineWithUnacknowledgedMessages(t *testing.T) {
	t.Parallel()
	const all, inHand, acked = 500, 200, 50
	dir := runtimetest.Dir(t)
	p := runtimetest.Spawn(t, func(ctx context.Context) error { return holdForEver(ctx, dir, all, inHand, acked) })
	p.Await(within(t), "held\n")
	p.Signal(syscall.SIGKILL)
	if status := p.Wait(); status != 128+int(syscall.SIGKILL) {
		t.Fatalf("status %d:\n%s", status, p.Output())
	}
	e, q, err := openQueue(within(t), dir, actor.QueueConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer closeEngine(t, e)
	c, err := q.Subscribe(within(t), actor.ConsumeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range all - acked {
		d, err := c.Next(within(t))
		if err != nil {
			t.Fatalf("after %d messages: %v", len(seen), err)
		}
		body := string(d.Body())
		n, err := strconv.Atoi(body)
		if err != nil || n < acked || n >= all || seen[body] {
			t.Errorf("%q comes: it was acknowledged, or comes twice (%v)", body, seen[body])
		}
		if n < inHand && !d.Redelivered() {
			t.Errorf("%s was in the hands of the worker that died, and is not flagged", body)
		}
		if seen[body] = true; d.Attempt() > 2 {
			t.Errorf("%s is at attempt %d", body, d.Attempt())
		}
		if err := d.AckSync(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(untilDone(within(t), q), c.Close(within(t))); err != nil {
		t.Error(err)
	}
	if s, err := q.Stats(within(t)); err != nil || s.Acked != all || s.Taken != all {
		t.Errorf("%+v, %v", s.QueueCounts, err)
	}
}

// holdForEver publishes messages, takes some of them, and acknowledges the first of those.
func holdForEver(ctx context.Context, dir string, all, inHand, acked int) error {
	e, q, err := openQueue(ctx, dir, actor.QueueConfig{})
	if err != nil {
		return err
	}
	p, err := shopPublisher(ctx, e)
	if err != nil {
		return err
	}
	for i := range all {
		if _, err := p.Publish(ctx, &actor.Message{Body: []byte(strconv.Itoa(i))}); err != nil {
			return err
		}
	}
	c, err := q.Subscribe(ctx, actor.ConsumeOptions{Prefetch: inHand})
	if err == nil {
		err = p.Flush(ctx)
	}
	for i := 0; i < inHand && err == nil; i++ {
		var d *actor.QueueDelivery
		if d, err = c.Next(ctx); err == nil && i < acked {
			err = d.AckSync(ctx)
		}
	}
	if err != nil {
		return err
	}
	fmt.Println("held")
	select {}
}

// TestKillNineOfQueues kills a process, over and over, that publishes to a queue and works
// on it. Each message that was confirmed must have been worked on; what was acknowledged
// must not have come again; and what came again must have been flagged.
func TestKillNineOfQueues(t *testing.T) {
	t.Parallel()
	dir := runtimetest.Dir(t)
	k := runtimetest.Kills{Count: 6, Within: 900 * time.Millisecond, Moments: 600}
	killed := runtimetest.KillLoop(t, k, func(ctx context.Context, l *runtimetest.Life) error { return queueLife(ctx, dir, l) })
	if killed < k.KillCount()*3/4 {
		t.Errorf("only %d of %d lives were ended by a kill", killed, k.KillCount())
	}
	judgeQueue(t, dir)
}

// queueLife publishes and works until it is killed; the last one until all is done.
func queueLife(ctx context.Context, dir string, l *runtimetest.Life) error {
	e, q, err := openQueue(ctx, dir, actor.QueueConfig{MaxLength: waitingMax, Overflow: actor.RejectPublish})
	if err != nil {
		return err
	}
	f, err := appendTo(dir, "events")
	if err != nil {
		return errors.Join(err, e.Close(ctx))
	}
	defer f.Close()
	var holds atomic.Bool
	c, err := hoard(ctx, q, f, l, &holds)
	if err == nil {
		err = publishTasks(ctx, e, f, l, &holds)
	}
	if err == nil {
		err = untilDone(ctx, q)
	}
	if err == nil {
		err = c.Close(ctx)
	}
	if err == nil {
		var s actor.QueueStats
		if s, err = q.Stats(ctx); s.Dead+s.Dropped+s.Lost+s.Expired > 0 || s.Taken != s.Acked {
			err = fmt.Errorf("the queue has lost messages: %+v", s.QueueCounts)
		}
	}
	return errors.Join(err, e.Close(ctx))
}

// hoard works on the messages: it keeps some for a while, so that there always are some
// to come again, once it holds any. What happens is written down in its order.
func hoard(ctx context.Context, q *actor.Queue, f *os.File, l *runtimetest.Life, holds *atomic.Bool) (*actor.QueueConsumer, error) {
	held := make(chan *actor.QueueDelivery, heldMax)
	var n atomic.Int64
	ack := func(d *actor.QueueDelivery) error {
		if err := d.AckSync(ctx); err != nil {
			return err
		}
		_, err := fmt.Fprintln(f, "acked", string(d.Body()), false)
		if holds.Load() {
			l.Moment()
		}
		return err
	}
	return q.Consume(ctx, actor.ConsumeOptions{Concurrency: 4, ManualAck: true}, func(_ context.Context, d *actor.QueueDelivery) error {
		if _, err := fmt.Fprintln(f, "handed", string(d.Body()), d.Redelivered()); err != nil {
			return err
		}
		if l.Last || d.Probation || n.Add(1)%3 > 0 {
			return ack(d)
		}
		holds.Store(true)
		for {
			select {
			case held <- d:
				return nil
			default:
			}
			select {
			case old := <-held:
				if err := ack(old); err != nil {
					return err
				}
			default:
			}
		}
	})
}

func publishTasks(ctx context.Context, e *runtime.Engine, f *os.File, l *runtimetest.Life, holds *atomic.Bool) error {
	p, err := shopPublisher(ctx, e)
	if err != nil {
		return err
	}
	for n := 0; !l.Last || n < lastMessages; n++ {
		body := fmt.Sprintf("%d-%06d", l.Number, n)
		err := p.PublishFunc(ctx, &actor.Message{Body: []byte(body)}, func(_ actor.Confirmation, err error) {
			if err == nil {
				_, err = fmt.Fprintln(f, "confirmed", body, false)
			}
			if err != nil {
				panic(err)
			}
			if holds.Load() {
				l.Moment()
			}
		})
		if err != nil {
			return err
		}
	}
	return p.Close(ctx)
}

func judgeQueue(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	confirmed, handed, acked := map[string]bool{}, map[string]bool{}, map[string]bool{}
	again := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var what, body string
		var flagged bool
		if _, err := fmt.Sscan(lines.Text(), &what, &body, &flagged); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		switch what {
		case "confirmed":
			confirmed[body] = true
		case "acked":
			acked[body] = true
		default:
			if acked[body] {
				t.Errorf("%s was acknowledged, and comes again", body)
			}
			if handed[body] {
				if again++; !flagged {
					t.Errorf("%s comes again, and is not flagged", body)
				}
			}
			handed[body] = true
		}
	}
	for body := range confirmed {
		if !handed[body] {
			t.Errorf("%s was confirmed, and is lost", body)
		}
	}
	if len(confirmed) <= lastMessages || again == 0 {
		t.Errorf("%d messages were confirmed and %d came again: the kills have hit nothing", len(confirmed), again)
	}
}

// A message whose handler ends the process, every time, is found out: the attempts are
// charged before the handler runs. It becomes a dead letter; those beside it do not, and no
// attempt of theirs is charged.
func TestPoisonThatEndsTheProcess(t *testing.T) {
	t.Parallel()
	const limit, innocent = 3, 20
	dir := runtimetest.Dir(t)
	lives := 0
	for status := exitStatus; status == exitStatus; lives++ {
		if lives > limit+1 {
			t.Fatalf("the poison has ended %d lives", lives)
		}
		p := runtimetest.Spawn(t, func(ctx context.Context) error { return poisonedLife(ctx, dir, limit, innocent) })
		if status = p.Wait(); status != 0 && status != exitStatus {
			t.Fatalf("status %d:\n%s", status, p.Output())
		}
	}
	if lives < limit+1 {
		t.Errorf("there were %d lives, and %d attempts allowed", lives, limit)
	}
	e, q, err := openQueue(within(t), dir, poisonConfig(limit))
	if err != nil {
		t.Fatal(err)
	}
	defer closeEngine(t, e)
	if s, err := q.Stats(within(t)); err != nil || s.Dead != 1 || s.Acked != innocent || s.Live != 0 {
		t.Errorf("%+v, %v", s.QueueCounts, err)
	}
	dead, err := e.Queue(within(t), "dead")
	if err != nil {
		t.Fatal(err)
	}
	letters, err := dead.Get(within(t), 2, time.Second)
	if err != nil || len(letters) != 1 || string(letters[0].Body()) != "poison" {
		t.Fatalf("%d dead letters, %v", len(letters), err)
	}
	if d := letters[0].Deaths()[0]; d.Reason != "delivery-limit" || d.Attempts != limit {
		t.Errorf("%+v", d)
	}
	judgeInnocent(t, dir, innocent)
}

const exitStatus = 7 // of a process that the poison has ended

func poisonConfig(limit int) actor.QueueConfig {
	return actor.QueueConfig{DeliveryLimit: limit, DeadLetterRoutingKey: "dead"}
}

// poisonedLife works on all there is. The first one publishes it before.
func poisonedLife(ctx context.Context, dir string, limit, innocent int) error {
	e, q, err := openQueue(ctx, dir, poisonConfig(limit))
	if err != nil {
		return err
	}
	f, err := appendTo(dir, "attempts")
	if err != nil {
		return err
	}
	if _, err = e.DeclareQueue(ctx, "dead", actor.QueueConfig{}); err != nil {
		return err
	}
	if s, err := q.Stats(ctx); err != nil {
		return err
	} else if at, err := f.Stat(); err != nil || at.Size() == 0 && s.Taken == 0 {
		if err := errors.Join(err, publishPoison(ctx, e, innocent)); err != nil {
			return err
		}
	}
	c, err := q.Consume(ctx, actor.ConsumeOptions{Prefetch: 10, Concurrency: 4}, func(_ context.Context, d *actor.QueueDelivery) error {
		_, err := fmt.Fprintln(f, d.Attempt(), string(d.Body()))
		if string(d.Body()) == "poison" {
			os.Exit(exitStatus)
		}
		return err
	})
	if err == nil {
		err = errors.Join(untilDone(ctx, q), c.Close(ctx))
	}
	return errors.Join(err, e.Close(ctx))
}

func publishPoison(ctx context.Context, e *runtime.Engine, innocent int) error {
	p, err := shopPublisher(ctx, e)
	for i := 0; i <= innocent && err == nil; i++ {
		body := "innocent-" + strconv.Itoa(i)
		if i == innocent/2 {
			body = "poison"
		}
		_, err = p.Publish(ctx, &actor.Message{Body: []byte(body)})
	}
	if err != nil {
		return err
	}
	return p.Close(ctx)
}

func judgeInnocent(t *testing.T, dir string, innocent int) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "attempts"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var attempt int
		var body string
		if _, err := fmt.Sscan(lines.Text(), &attempt, &body); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if body != "poison" && attempt != 1 {
			t.Errorf("%s was charged: attempt %d", body, attempt)
		}
		seen[body] = true
	}
	if len(seen) != innocent+1 {
		t.Errorf("%d messages were worked on, want %d", len(seen), innocent+1)
	}
}
