package actor

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// replier is a queue "echo" whose handler replies with what it is asked, in capitals.
func replier(t *testing.T, s *System, h QueueHandler) *Exchange {
	t.Helper()
	q, err := s.DeclareQueue(testContext(t), "echo", QueueConfig{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := q.Consume(testContext(t), ConsumeOptions{Concurrency: 4}, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(testContext(t)) })
	x, err := s.Exchange(testContext(t), "")
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func capitals(ctx context.Context, d *QueueDelivery) error {
	return d.Reply(ctx, &Message{Body: []byte(strings.ToUpper(string(d.Body()))), Type: "reply"})
}

func TestRequest(t *testing.T) {
	s := logSystem(t, storagefake.New())
	x := replier(t, s, capitals)
	p, err := x.NewPublisher(testContext(t), ExchangePublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(testContext(t))
	for _, word := range []string{"a", "b", "c"} {
		r, err := p.Request(testContext(t), &Message{RoutingKey: "echo", Body: []byte(word)})
		if err != nil || string(r.Body) != strings.ToUpper(word) || r.Type != "reply" || r.CorrelationID == "" {
			t.Errorf("%s: %+v, %v", word, r, err)
		}
	}
	r, err := x.Request(testContext(t), &Message{RoutingKey: "echo", Body: []byte("once"), CorrelationID: "mine"})
	if err != nil || string(r.Body) != "ONCE" || r.CorrelationID != "mine" {
		t.Errorf("%+v, %v", r, err)
	}
	if n := len(s.requests.waiting); n != 0 {
		t.Errorf("%d requests are left", n)
	}
}

// A request that nobody takes fails at once; one that is not answered, in time. What
// nobody waits for any more is refused.
func TestRequestWithoutReply(t *testing.T) {
	s := logSystem(t, storagefake.New())
	late := make(chan error, 1)
	goOn := make(chan struct{})
	x := replier(t, s, func(ctx context.Context, d *QueueDelivery) error {
		<-goOn
		late <- capitals(ctx, d)
		return nil
	})
	if _, err := x.Request(testContext(t), &Message{RoutingKey: "nobody"}); !errors.Is(err, ErrUnroutable) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := x.Request(ctx, &Message{RoutingKey: "echo"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(goOn)
	if err := await(t, late, "the reply"); !errors.Is(err, ErrNoRequester) {
		t.Error(err)
	}
	over, cancel := context.WithDeadline(testContext(t), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := x.Request(over, &Message{RoutingKey: "echo"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// A reply can go to a queue, and a message that asks for none gets none.
func TestReplyToQueue(t *testing.T) {
	s := logSystem(t, storagefake.New())
	answered := make(chan error, 2)
	x := replier(t, s, func(ctx context.Context, d *QueueDelivery) error {
		answered <- capitals(ctx, d)
		return nil
	})
	replies, err := s.DeclareQueue(testContext(t), "replies", QueueConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := x.NewPublisher(testContext(t), ExchangePublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(testContext(t))
	for _, to := range []string{"replies", ""} {
		if _, err := p.PublishSync(testContext(t), &Message{RoutingKey: "echo", Body: []byte("hi"), CorrelationID: "c1", ReplyTo: to}); err != nil {
			t.Fatal(err)
		}
		if err := await(t, answered, "the reply"); errors.Is(err, ErrNoReplyTo) != (to == "") {
			t.Error(to, err)
		}
	}
	all, err := replies.Get(testContext(t), 1, time.Minute)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	m := all[0].Message()
	if string(m.Body) != "HI" || m.CorrelationID != "c1" || m.RoutingKey != "replies" || m.Type != "reply" {
		t.Errorf("%+v", m)
	}
	if err := all[0].Ack(); err != nil {
		t.Error(err)
	}
}

// What is published is what is delivered, to the last property.
func TestDeliveryMessage(t *testing.T) {
	s := logSystem(t, storagefake.New())
	if _, err := s.DeclareQueue(testContext(t), "work", QueueConfig{}); err != nil {
		t.Fatal(err)
	}
	x, err := s.Exchange(testContext(t), "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := x.NewPublisher(testContext(t), ExchangePublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(testContext(t))
	want := Message{RoutingKey: "work", Key: []byte("k"), Body: []byte("b"), Headers: []MessageHeader{HeaderText("a", "x"), HeaderInt("n", 7), HeaderBool("b", true)},
		Priority: 5, MessageID: "m1", CorrelationID: "c1", ReplyTo: "r1", ContentType: "text/plain", ContentEncoding: "identity", Type: "t", UserID: "u", AppID: "app",
		Timestamp: time.UnixMilli(1_700_000_000_000), CC: []string{"work"}}
	if _, err := p.PublishSync(testContext(t), &want); err != nil {
		t.Fatal(err)
	}
	q, err := s.Queue(testContext(t), "work")
	if err != nil {
		t.Fatal(err)
	}
	all, err := q.Get(testContext(t), 1, time.Minute)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	got := all[0].Message()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if len(all[0].Deaths()) != 0 {
		t.Errorf("deaths %+v", all[0].Deaths())
	}
	if err := all[0].Ack(); err != nil {
		t.Error(err)
	}
}
