package actor

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func bodiesOf(all []*QueueDelivery) (bodies []string) {
	for _, d := range all {
		bodies = append(bodies, string(d.Body()))
	}
	return bodies
}

func (b *bed) peek(q *Queue, n int) (bodies []string) {
	b.Helper()
	for _, m := range must[[]*QueueMessage](b)(q.Peek(b.ctx, n)) {
		bodies = append(bodies, string(m.Body))
	}
	return bodies
}

// waits waits until a queue has indexed so many messages.
func (b *bed) waits(q *Queue, n int) {
	b.Helper()
	b.settles(q, "as full as it should be", func(s QueueStats) bool { return s.Ready+s.Delayed == n })
}

func TestPeekTakesNothing(t *testing.T) {
	b := runningBed(t, storagefake.New())
	q := b.running("q", QueueConfig{})
	p := b.publisher("", ExchangePublisherOptions{})
	b.publish(p, &Message{RoutingKey: "q", Body: []byte("later"), Delay: time.Hour, Headers: []MessageHeader{HeaderInt("n", 7)}})
	b.send("q", "one", "two", "three")
	b.waits(q, 4)
	one := b.get(q, 1)[0]
	all := must[[]*QueueMessage](t)(q.Peek(b.ctx, 10))
	if len(all) != 4 {
		t.Fatalf("%d messages, want 4", len(all))
	}
	for i, want := range []queue.Status{queue.StatusDelayed, queue.StatusInFlight, queue.StatusReady, queue.StatusReady} {
		if all[i].Status != want {
			t.Errorf("message %d, %q, is %v, want %v", i, all[i].Body, all[i].Status, want)
		}
	}
	if m := all[0]; m.RoutingKey != "q" || !slices.Equal(m.Headers, []MessageHeader{HeaderInt("n", 7)}) || time.Until(m.Due) < time.Minute {
		t.Errorf("the delayed one is %+v", m)
	}
	mustDo(t, one.AckSync(b.ctx))
	if got := b.peek(q, 2); !slices.Equal(got, []string{"later", "two"}) {
		t.Errorf("the first two are %v", got)
	}
	if s := b.settles(q, "untouched", func(QueueStats) bool { return true }); s.Ready != 2 || s.Delayed != 1 || s.Acked != 1 {
		t.Errorf("%+v", s.QueueCounts)
	}
}

// What is due later is so after a restart as well, when the queue has not read it again.
func TestWhatIsDelayedIsSoAfterARestart(t *testing.T) {
	store := storagefake.New()
	b := &bed{t, NewSystem(store), testContext(t)}
	q := b.running("q", QueueConfig{})
	b.publish(b.publisher("", ExchangePublisherOptions{}), &Message{RoutingKey: "q", Body: []byte("later"), Delay: time.Hour})
	b.waits(q, 1)
	mustDo(t, b.Close(b.ctx))
	b = runningBed(t, store.Restart())
	q = b.running("q", QueueConfig{})
	b.waits(q, 1)
	m := must[[]*QueueMessage](t)(q.Peek(b.ctx, 1))[0]
	if m.Status != queue.StatusDelayed || !m.At().Equal(m.Due) {
		t.Errorf("it is %v at %v, and due at %v", m.Status, m.At(), m.Due)
	}
	if o := must[queue.Outcome](t)(q.Outcome(b.ctx, m.Position)); o.Status != queue.StatusDelayed || !o.At().Equal(m.At()) {
		t.Errorf("its outcome is %+v", o)
	}
}

func TestMoveMovesWhatMatches(t *testing.T) {
	b := runningBed(t, storagefake.New())
	from, to := b.running("from", QueueConfig{}), b.running("to", QueueConfig{})
	b.send("from", numbers(0, 600)...)
	b.waits(from, 600)
	even := func(m *QueueMessage) bool { n, _ := strconv.Atoi(string(m.Body)); return n%2 == 0 }
	if got := must[QueueMoved](t)(from.Move(b.ctx, "to", QueueMove{Filter: even, DryRun: true})); got != (QueueMoved{Matched: 300}) {
		t.Errorf("a dry run: %+v", got)
	}
	double := func(m *Message) { m.Body = append(slices.Clone(m.Body), m.Body...) }
	if got := must[QueueMoved](t)(from.Move(b.ctx, "to", QueueMove{Filter: even, Edit: double, Limit: 290})); got != (QueueMoved{290, 290}) {
		t.Errorf("%+v", got)
	}
	b.waits(to, 290)
	if s := b.settles(from, "left", func(QueueStats) bool { return true }); s.Moved != 290 || s.Ready != 310 {
		t.Errorf("%+v", s.QueueCounts)
	}
	moved := b.get(to, 3)
	if got := bodiesOf(moved); !slices.Equal(got, []string{"00", "22", "44"}) {
		t.Errorf("moved were %v", got)
	}
	if key := moved[0].RoutingKey(); key != "from" {
		t.Errorf("what was published with the routing key from has %q now", key)
	}
	if _, err := from.Move(b.ctx, "from", QueueMove{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("to itself: %v", err)
	}
	if got, err := from.Move(b.ctx, "nowhere", QueueMove{Limit: 5}); !errors.Is(err, ErrUnroutable) || got.Moved != 0 {
		t.Errorf("to a queue that is not there: %+v, %v", got, err)
	}
	if s := b.settles(from, "as it was", func(QueueStats) bool { return true }); s.Ready != 310 {
		t.Errorf("%+v", s.QueueCounts)
	}
}

func TestRedriveBringsDeadLettersBack(t *testing.T) {
	b := runningBed(t, storagefake.New())
	one, two := b.running("one", QueueConfig{DeadLetterRoutingKey: "dlq"}), b.running("two", QueueConfig{DeadLetterRoutingKey: "dlq"})
	dlq := b.running("dlq", QueueConfig{})
	b.exchange("x", ExchangeConfig{})
	b.bind(Binding{Exchange: "x", Queue: "one", RoutingKey: "orders"})
	b.publish(b.publisher("x", ExchangePublisherOptions{}), &Message{RoutingKey: "orders", CC: []string{"copies"}, Body: []byte("a")})
	b.send("two", "b")
	b.send("dlq", "never died")
	mustDo(t, b.get(one, 1)[0].Reject())
	mustDo(t, b.get(two, 1)[0].Reject())
	b.waits(dlq, 3)
	if got := must[QueueMoved](t)(dlq.Redrive(b.ctx, QueueMove{Rate: 1000})); got != (QueueMoved{2, 2}) {
		t.Errorf("%+v", got)
	}
	for q, body := range map[*Queue]string{one: "a", two: "b"} {
		d := b.get(q, 1)[0]
		want := []string{"", "two"}
		if q == one {
			want = []string{"x", "orders", "copies"}
		}
		if got := append([]string{d.Exchange(), d.RoutingKey()}, d.Message().CC...); !slices.Equal(got, want) {
			t.Errorf("queue %s has a message back that came by %q, and now says %q", q.Name(), want, got)
		}
		if string(d.Body()) != body || d.said().Hops != 0 || len(d.said().Deaths) != 1 {
			t.Errorf("queue %s has %q back: %+v", q.Name(), d.Body(), d.said())
		}
		mustDo(t, d.AckSync(b.ctx))
	}
	if got := b.peek(dlq, 5); !slices.Equal(got, []string{"never died"}) {
		t.Errorf("left are %v", got)
	}
}

func TestReplayDeliversWhatWasAcknowledged(t *testing.T) {
	store := storagefake.New()
	b := runningBed(t, store)
	q := b.running("q", QueueConfig{})
	b.send("q", numbers(0, 100)...)
	for _, d := range b.get(q, 90) {
		mustDo(t, d.Ack())
	}
	b.settles(q, "nearly done", func(s QueueStats) bool { return s.Acked == 90 })
	c := must[*QueueConsumer](t)(q.Subscribe(b.ctx, ConsumeOptions{Prefetch: 20}))
	told := make(chan error, 1)
	go func() {
		n, err := q.Replay(b.ctx, c, QueueReplay{Filter: func(m *QueueMessage) bool { return len(m.Body) == 2 }, Limit: 50})
		if n != 50 && err == nil {
			err = errors.New(strconv.Itoa(n) + " were replayed")
		}
		told <- err
	}()
	var again, new []string
	for len(again) < 50 || len(new) < 10 {
		d := must[*QueueDelivery](t)(c.Next(b.ctx))
		if d.Cause() == queue.CauseReplay {
			again = append(again, string(d.Body()))
		} else {
			new = append(new, string(d.Body()))
		}
		mustDo(t, d.Ack())
	}
	mustDo(t, await(t, told, "the end of the replay"))
	if !slices.Equal(again, numbers(10, 60)) || !slices.Equal(new, numbers(90, 100)) {
		t.Errorf("replayed were %v; new were %v", again, new)
	}
	if s := b.settles(q, "done", func(s QueueStats) bool { return s.Acked == 100 }); s.Live != 0 {
		t.Errorf("%+v", s.QueueCounts)
	}
	mustDo(t, c.Close(b.ctx))
}

// Replayed is what was acknowledged, and with All what has ended in other ways, too.
func TestPastSaysWhatBecameOfMessages(t *testing.T) {
	b := runningBed(t, storagefake.New())
	q := b.running("q", QueueConfig{History: 4})
	b.send("q", "forgotten", "acked", "rejected", "dropped", "acked, too", "waits")
	all := b.get(q, 5)
	for _, d := range []*QueueDelivery{all[0], all[1], all[4]} {
		mustDo(t, d.AckSync(b.ctx))
	}
	mustDo(t, all[2].Reject())
	mustDo(t, all[3].Requeue())
	b.settles(q, "as told", func(s QueueStats) bool { return s.Acked == 3 && s.Dropped == 1 && s.Ready == 2 })
	mustDo(t, q.Drop(b.ctx, all[3].Position()))
	past := func(o QueueReplay) (texts []string) {
		for m, err := range q.Past(b.ctx, o) {
			mustDo(t, err)
			if m.Status == queue.StatusAcked && (m.Consumer == "" || m.At().IsZero()) {
				t.Errorf("%q was acknowledged by %q at %v", m.Body, m.Consumer, m.At())
			}
			texts = append(texts, string(m.Body)+": "+m.Status.String())
		}
		return texts
	}
	requireTexts(t, past(QueueReplay{}), "forgotten: gone", "acked: acked", "acked, too: acked")
	requireTexts(t, past(QueueReplay{Limit: 1}), "forgotten: gone")
	requireTexts(t, past(QueueReplay{From: time.Now().Add(time.Hour)}))
	requireTexts(t, past(QueueReplay{To: time.Now().Add(-time.Hour)}))
	dropped := func(m *QueueMessage) bool { return m.Status == queue.StatusDropped }
	requireTexts(t, past(QueueReplay{All: true, Filter: dropped}), "rejected: dropped", "dropped: dropped")
	requireTexts(t, past(QueueReplay{All: true}), "forgotten: gone", "acked: acked", "rejected: dropped", "dropped: dropped", "acked, too: acked")
	for m, err := range q.Past(b.ctx, QueueReplay{}) {
		mustDo(t, err)
		if string(m.Body) != "forgotten" {
			t.Errorf("after a break comes %q", m.Body)
		}
		break
	}
	must[int](t)(q.Purge(b.ctx))
	requireTexts(t, past(QueueReplay{}), "forgotten: gone", "acked: acked", "acked, too: acked", "waits: gone")
}
