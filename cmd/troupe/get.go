package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/troupestream/troupe/actor"
)

func getVerb() *verb {
	return &verb{name: "queue get", args: "NAME", takes: 1, about: "get messages of a queue, print them, and settle them", define: func(f *flag.FlagSet) action {
		g := new(getting)
		f.IntVar(&g.most, "n", 1, "get so many `messages` at most")
		f.DurationVar(&g.wait, "wait", 0, "wait this `time` for them")
		f.BoolVar(&g.ack, "ack", false, "acknowledge them once they are printed;")
		f.BoolVar(&g.requeue, "requeue", false, "or give them back to their places;")
		f.BoolVar(&g.reject, "reject", false, "or reject them, so that they are dead-lettered, or dropped")
		return g.run
	}}
}

// getting is what `queue get` is told.
type getting struct {
	most                 int
	wait                 time.Duration
	ack, requeue, reject bool
}

func (g *getting) run(ctx context.Context, s *session) error {
	fates := map[bool]int{}
	for _, fate := range []bool{g.ack, g.requeue, g.reject} {
		fates[fate]++
	}
	switch {
	case g.most < 1 || g.most > actor.PrefetchMax:
		return mistakef("-n %d: it must be 1 to %d", g.most, actor.PrefetchMax)
	case g.wait < 0:
		return mistakef("-wait %v: it cannot be negative", g.wait)
	case fates[true] != 1:
		return mistakef("what is to become of the messages? Say one of -ack, -requeue and -reject")
	}
	q, err := s.queue(ctx, s.args[0])
	if err != nil {
		return err
	}
	all, err := q.Get(ctx, g.most, g.wait)
	if err == nil && len(all) == 0 {
		return s.sayPaused(ctx, q)
	}
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := s.printDelivery(d); err != nil {
			return err
		}
	}
	for _, d := range all {
		err = errors.Join(err, g.settle(d))
	}
	if err = errors.Join(err, all[0].Settled(context.WithoutCancel(ctx))); err != nil || !g.reject {
		return err
	}
	return s.buried(ctx, q)
}

// sayPaused says that a queue delivers nothing, if that is so.
func (s *session) sayPaused(ctx context.Context, q *actor.Queue) error {
	stats, err := q.Stats(ctx)
	if err == nil && stats.DeliveryPaused {
		_, err = fmt.Fprintf(s.errs, "troupe: queue %s is paused, and delivers nothing: troupe queue resume ends that\n", q.Name())
	}
	return err
}

// How long a verb waits for the dead letters that it has given rise to, and how often it
// looks.
const (
	burial     = 10 * time.Second
	burialLook = 10 * time.Millisecond
)

// buried waits until the dead letters of a queue are where they belong. If there is no
// such place now, the queue keeps them.
func (s *session) buried(ctx context.Context, q *actor.Queue) error {
	look := time.NewTicker(burialLook)
	defer look.Stop()
	until := time.Now().Add(burial)
	for {
		stats, err := q.Stats(ctx)
		switch {
		case err != nil || stats.Dying == 0:
			return err
		case time.Now().After(until):
			_, err := fmt.Fprintf(s.errs, "troupe: %s cannot be dead-lettered now: queue %s keeps what it cannot, and tries again when it is used\n", messages(stats.Dying), q.Name())
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *getting) settle(d *actor.QueueDelivery) error {
	switch {
	case g.ack:
		return d.Ack()
	case g.reject:
		return d.Reject()
	}
	return d.Requeue()
}

// queueOpens is how long a queue may take to read what was published to it since it was
// used last.
const queueOpens = 5 * time.Minute

// queue opens a queue, and has it take in all that was published to it.
func (s *session) queue(ctx context.Context, name string) (*actor.Queue, error) {
	q, err := s.sys.Queue(ctx, name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, queueOpens)
	defer cancel()
	return q, q.CatchUp(ctx)
}

// deliveredJSON is a message that was delivered.
type deliveredJSON struct {
	messageJSON
	Attempt     int    `json:"attempt"`
	Redelivered bool   `json:"redelivered"`
	Cause       string `json:"cause"` // why it is delivered again
}

// messageJSON is a message of a queue. What is no text is in Base64; a body or key that
// is not there is null in both forms.
type messageJSON struct {
	Position      string       `json:"position"`       // of its log, and its offset there
	Time          string       `json:"time,omitempty"` // of the event
	Exchange      string       `json:"exchange"`
	RoutingKey    string       `json:"routing_key"`
	Priority      uint8        `json:"priority"`
	Key           *string      `json:"key"`
	KeyBase64     []byte       `json:"key_base64,omitempty"`
	Headers       []headerJSON `json:"headers"`
	MessageID     string       `json:"message_id,omitempty"`
	CorrelationID string       `json:"correlation_id,omitempty"`
	ReplyTo       string       `json:"reply_to,omitempty"`
	ContentType   string       `json:"content_type,omitempty"`
	Type          string       `json:"type,omitempty"`
	Body          *string      `json:"body"`
	BodyBase64    []byte       `json:"body_base64,omitempty"`
}

func deliveredOf(d *actor.QueueDelivery) deliveredJSON {
	r := d.Record()
	v := deliveredJSON{Attempt: d.Attempt(), Redelivered: d.Redelivered(), messageJSON: messageJSON{Position: d.Position().String(),
		Exchange: d.Exchange(), RoutingKey: d.RoutingKey(), Priority: d.Priority(), Headers: headersOf(r.Headers), MessageID: d.MessageID(),
		CorrelationID: d.CorrelationID(), ReplyTo: d.ReplyTo(), ContentType: d.ContentType(), Type: d.Type()}}
	if d.Redelivered() {
		v.Cause = d.Cause().String()
	}
	if r.Time != actor.NoTime {
		v.Time = clock(r.Time)
	}
	v.Key, v.KeyBase64 = stringOf(r.Key)
	v.Body, v.BodyBase64 = stringOf(r.Value)
	return v
}

// printDelivery prints a message. For people: where it is, the number of the attempt,
// routing key, headers and body, with tabs in between.
func (s *session) printDelivery(d *actor.QueueDelivery) error {
	if s.json {
		return s.printJSON(deliveredOf(d))
	}
	r := d.Record()
	_, err := fmt.Fprintf(s.out, "%v\t%d\t%s\t%s\t%s\n", d.Position(), d.Attempt(), cmp.Or(text([]byte(d.RoutingKey())), "-"), headersText(r.Headers), bodyText(r.Value))
	return err
}

// bodyText is the body of a message, or value of a record, for people.
func bodyText(b []byte) string {
	if b == nil {
		return "(tombstone)"
	}
	return text(b)
}
