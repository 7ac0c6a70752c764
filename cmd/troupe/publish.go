package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
)

func publishVerbs() []*verb {
	const about = "publish each line of the standard input as a message"
	return []*verb{
		{name: "exchange publish", args: "NAME", takes: 1, about: about + " to an exchange", define: func(f *flag.FlagSet) action {
			p := newPublication(f)
			f.StringVar(&p.message.RoutingKey, "key", "", "the routing `key`")
			f.StringVar(&p.separator, "key-separator", "", "the routing key is what stands in front of the first `text`; a line without it has that of -key, or else is an error")
			f.BoolVar(&p.dropUnroutable, "drop-unroutable", false, "drop messages that nobody takes, and count them; otherwise one is an error")
			return func(ctx context.Context, s *session) error { return p.run(ctx, s, s.args[0]) }
		}},
		{name: "queue publish", args: "NAME", takes: 1, about: about + " to a queue, by the default exchange", define: func(f *flag.FlagSet) action {
			p := newPublication(f)
			return func(ctx context.Context, s *session) error {
				if _, err := s.queue(ctx, s.args[0]); err != nil { // it knows how full it is, then
					return err
				}
				p.message.RoutingKey = s.args[0]
				return p.run(ctx, s, "")
			}
		}},
	}
}

// publication is what `publish` is told, and what has become of it.
type publication struct {
	changes[actor.Message]
	message        actor.Message // what all have in common
	headers        typedHeaders
	body           *string
	recordKey      string
	separator      string // behind the routing key
	dropUnroutable bool

	mu    sync.Mutex
	went  publishedJSON
	lost  int
	first error // why the first of those was lost
}

// publishedJSON is what has become of messages.
type publishedJSON struct {
	Exchange     string `json:"exchange"`
	Messages     int    `json:"messages"` // confirmed
	Queues       int    `json:"queues"`   // that they have reached, summed
	Topics       int    `json:"topics"`
	DeadLettered int    `json:"dead_lettered"`
	Duplicates   int    `json:"duplicates"`
	Dropped      uint64 `json:"dropped"`
}

func newPublication(f *flag.FlagSet) *publication {
	p := new(publication)
	m := &p.message
	f.Func("body", "publish one message, this `text`, and do not read the standard input", func(text string) error {
		p.body = &text
		return nil
	})
	f.Var(&p.headers, "header", "a header, as `name=value`, which is a text, or name:int=, :float=, :bool=, :void=; may be given again")
	f.StringVar(&p.recordKey, "record-key", "", "the `key` of the record: order, and group, of messages")
	f.BoolVar(&m.Transient, "transient", false, "confirm before it is on the disk")
	f.DurationVar(&m.Delay, "delay", 0, "after which `time` they are due")
	lasting(&p.changes, f, "ttl", "how long they may wait, a `time`, or at-once: unless they can be delivered at once", "at-once", actor.ExpireAtOnce,
		func(m *actor.Message, d time.Duration) { m.TTL = d })
	f.Func("priority", "the `priority`, 0 to 31", func(text string) (err error) {
		m.Priority, err = priorityOf(text)
		return err
	})
	f.Func("timestamp", "a `time` of the application's: 2026-11-22T08:00:00Z", func(text string) (err error) {
		m.Timestamp, err = time.Parse(time.RFC3339Nano, text)
		return err
	})
	p.properties(f)
	return p
}

// properties declares what is only passed on.
func (p *publication) properties(f *flag.FlagSet) {
	m := &p.message
	for name, to := range map[string]*string{"message-id": &m.MessageID, "correlation-id": &m.CorrelationID, "reply-to": &m.ReplyTo, "content-type": &m.ContentType,
		"content-encoding": &m.ContentEncoding, "type": &m.Type, "user-id": &m.UserID, "app-id": &m.AppID} {
		f.StringVar(to, name, "", "the property `"+strings.ReplaceAll(name, "-", "_")+"`")
	}
	for name, to := range map[string]*[]string{"cc": &m.CC, "bcc": &m.BCC} {
		f.Func(name, "one more routing `key`; may be given again", func(text string) error {
			*to = append(*to, text)
			return nil
		})
	}
}

// run publishes to an exchange. What was read is published to the end, also when there is
// to be no more.
func (p *publication) run(ctx context.Context, s *session, exchange string) error {
	p.applyTo(&p.message)
	p.message.Headers, p.went.Exchange = p.headers, exchange
	if p.recordKey != "" {
		p.message.Key = []byte(p.recordKey)
	}
	in := lines(ctx, s.in)
	switch {
	case p.body != nil:
		in = lines(ctx, strings.NewReader(*p.body+"\n"))
	case p.message.MessageID != "":
		return mistakef("-message-id is for one message: say -body, too")
	}
	x, err := s.sys.Exchange(ctx, exchange)
	if err != nil {
		return err
	}
	o := actor.ExchangePublisherOptions{}
	if p.dropUnroutable {
		o.Unroutable = actor.DropUnroutable
	}
	publisher, err := x.NewPublisher(ctx, o)
	if err != nil {
		return err
	}
	err = p.publish(ctx, publisher, in)
	err = errors.Join(err, publisher.Close(context.WithoutCancel(ctx)))
	p.went.Dropped = publisher.Stats().Dropped
	if p.lost > 0 {
		err = errors.Join(err, fmt.Errorf("not published: %d of the messages: %w", p.lost, p.first))
	}
	return errors.Join(p.show(s), err)
}

// publish publishes lines until there are no more, or ctx ends.
func (p *publication) publish(ctx context.Context, to *actor.ExchangePublisher, in <-chan line) error {
	return eachLine(ctx, in, func(text []byte) error {
		m, err := p.messageOf(text)
		if err != nil {
			return err
		}
		return to.PublishFunc(ctx, &m, p.settled)
	})
}

// messageOf makes a message of a line.
func (p *publication) messageOf(text []byte) (actor.Message, error) {
	m := p.message
	m.Body = text
	if p.separator == "" {
		return m, nil
	}
	key, body, found := bytes.Cut(text, []byte(p.separator))
	switch {
	case found:
		m.RoutingKey, m.Body = string(key), body
	case m.RoutingKey == "":
		return m, fmt.Errorf("there is no %q in it, in front of which the routing key would stand: -key has one for such lines", p.separator)
	}
	return m, nil
}

func (p *publication) settled(c actor.Confirmation, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.lost++; p.first == nil {
			p.first = err
		}
		return
	}
	p.went.Messages++
	p.went.Queues += c.Queues
	p.went.Topics += c.Topics
	p.went.DeadLettered += c.DeadLettered
	if c.Duplicate {
		p.went.Duplicates++
	}
}

// show says what has become of the messages.
func (p *publication) show(s *session) error {
	v := &p.went
	if s.json {
		return s.printJSON(v)
	}
	return table(s.out, row("MESSAGES", "TO QUEUES", "TO TOPICS", "DEAD-LETTERED", "DUPLICATES", "DROPPED"),
		row(v.Messages, v.Queues, v.Topics, v.DeadLettered, v.Duplicates, v.Dropped))
}
