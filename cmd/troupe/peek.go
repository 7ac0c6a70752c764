package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/troupestream/troupe/actor"
)

// peekMost is how many messages are shown unless it is said.
const peekMost = 100

func peekVerbs() []*verb {
	return []*verb{
		{name: "queue peek", args: "NAME", takes: 1, about: "look at messages of a queue, and leave them there",
			define: func(f *flag.FlagSet) action { return definePeek(f, nil, peekedLine) }},
		{name: "queue dlq list", args: "NAME", takes: 1, about: "look at the dead letters in a queue, with where and why they died",
			define: func(f *flag.FlagSet) action {
				return definePeek(f, func(m *actor.QueueMessage) bool { return m.Origin != "" }, deadLine)
			}},
	}
}

// definePeek shows those of a queue's messages that are meant; nil: all.
func definePeek(f *flag.FlagSet, meant func(*actor.QueueMessage) bool, line func(*actor.QueueMessage) string) action {
	var like filters
	most := f.Int("n", peekMost, "show so many `messages` at most")
	defineFilter(f, &like)
	return func(ctx context.Context, s *session) error {
		if *most < 1 || *most > actor.PeekMax {
			return mistakef("-n %d: it must be 1 to %d", *most, actor.PeekMax)
		}
		q, err := s.queue(ctx, s.args[0])
		if err != nil {
			return err
		}
		n := *most
		if like != nil || meant != nil {
			n = actor.PeekMax
		}
		all, err := q.Peek(ctx, n)
		shown := 0
		for _, m := range all {
			if err != nil || shown == *most {
				break
			}
			if !like.match(m) || meant != nil && !meant(m) {
				continue
			}
			shown++
			if s.json {
				err = s.printJSON(peekedOf(m))
			} else {
				_, err = fmt.Fprintln(s.out, line(m))
			}
		}
		return err
	}
}

func defineFilter(f *flag.FlagSet, like *filters) {
	f.Var(like, "filter", "only messages with `name=text`, or name~text, which is that it contains it; the name is "+filterForms+". May be given again: then all must be so")
}

// peekedJSON is a message that was looked at in its queue.
type peekedJSON struct {
	messageJSON
	Status    string `json:"status"`             // ready, delayed, in flight, dying; acked and others
	Consumer  string `json:"consumer,omitempty"` // that has it, or acknowledged it
	Settled   string `json:"settled,omitempty"`  // when it ended, if that is remembered
	Attempts  int    `json:"attempts"`           // that failed
	Published string `json:"published"`
	Due       string `json:"due,omitempty"`
	Expires   string `json:"expires,omitempty"`
	Origin    string `json:"origin,omitempty"` // the queue that it died in first
	Reason    string `json:"reason,omitempty"` // why it was dead-lettered last
	Error     string `json:"error,omitempty"`  // that ended it then
	Hops      int    `json:"hops,omitempty"`   // how often it was dead-lettered
}

func peekedOf(m *actor.QueueMessage) peekedJSON {
	v := peekedJSON{Status: m.Status.String(), Consumer: m.Consumer, Attempts: m.Attempts, Published: moment(m.Published), Due: moment(m.Due), Expires: moment(m.Expires),
		Origin: m.Origin, Reason: m.Died, Error: m.Error, Hops: m.Hops}
	if m.Status > actor.QueueStatusDying {
		v.Settled = moment(m.At())
	}
	v.messageJSON = messageJSON{Position: m.Position.String(), Time: moment(m.Timestamp), Exchange: m.Exchange, RoutingKey: m.RoutingKey, Priority: m.Priority,
		Headers: headersOf(plain(m.Headers)), MessageID: m.MessageID, CorrelationID: m.CorrelationID, ReplyTo: m.ReplyTo, ContentType: m.ContentType, Type: m.Type}
	v.Key, v.KeyBase64 = stringOf(m.Key)
	v.Body, v.BodyBase64 = stringOf(m.Body)
	return v
}

// plain is headers as records have them: with the texts of their values.
func plain(all []actor.MessageHeader) (list []actor.Header) {
	for _, v := range typedOf(all) {
		list = append(list, actor.Header{Key: v.Name, Value: []byte(v.Value)})
	}
	return list
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return clock(t.UnixMilli())
}

func peekedLine(m *actor.QueueMessage) string {
	return fmt.Sprintf("%v\t%v\t%s\t%s", m.Position, m.Status, moment(m.Published), contentText(m))
}

func deadLine(m *actor.QueueMessage) string {
	return fmt.Sprintf("%v\t%s\t%s\t%s\t%s\t%s", m.Position, m.Origin, m.Died, cmp.Or(text([]byte(m.Error)), "-"), moment(m.Published), contentText(m))
}

// contentText is what a message says: routing key, headers, body.
func contentText(m *actor.QueueMessage) string {
	return fmt.Sprintf("%s\t%s\t%s", cmp.Or(text([]byte(m.RoutingKey)), "-"), headersText(plain(m.Headers)), bodyText(m.Body))
}
