package actor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Errors of requests and replies. Test for them with errors.Is.
var (
	// ErrNoReplyTo: the message does not say where a reply is to go.
	ErrNoReplyTo = errors.New("the message does not ask for a reply: it has no ReplyTo")
	// ErrNoRequester: nobody waits for the reply any more, or the process that did has
	// ended.
	ErrNoRequester = errors.New("nobody waits for the reply")
)

// directReply begins the addresses of requests that wait for their reply in a process. It
// is followed by the id of its system and a number.
const directReply = amq + "reply-to."

// requests are those that wait for a reply. A reply needs no queue: it is handed over to
// whoever waits for it, in memory, or refused if nobody does.
type requests struct {
	mu      sync.Mutex
	last    uint64
	waiting map[string]chan *Message
}

// open makes an address.
func (r *requests) open(system string) (address string, reply chan *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = map[string]chan *Message{}
	}
	r.last++
	address, reply = directReply+system+"."+strconv.FormatUint(r.last, 10), make(chan *Message, 1)
	r.waiting[address] = reply
	return address, reply
}

func (r *requests) close(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, address)
}

// answer hands a reply over. The first for a request counts.
func (r *requests) answer(address string, m *Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	reply := r.waiting[address]
	if reply == nil {
		return fmt.Errorf("%w: %s", ErrNoRequester, address)
	}
	delete(r.waiting, address)
	reply <- m
	return nil
}

// Request publishes a message and waits for the reply, within ctx. It needs no queue for
// replies: the reply comes straight to the caller, at most once, and only from this
// process. Whoever works on the message answers with QueueDelivery.Reply.
//
// The message has the ReplyTo of the request, and a CorrelationID if it has none. If ctx
// has a deadline and the message no TTL, it expires at the deadline: so nobody works on
// what nobody waits for. When no queue takes it, that is an ErrUnroutable at once,
// whatever the publisher does with such messages.
func (p *ExchangePublisher) Request(ctx context.Context, m *Message) (*Message, error) {
	fail := func(err error) (*Message, error) {
		return nil, fmt.Errorf("request to exchange %q: %w", p.Exchange(), err)
	}
	request := *m
	address, reply := p.sys.requests.open(p.sys.actors.ID)
	defer p.sys.requests.close(address)
	if request.ReplyTo = address; request.CorrelationID == "" {
		request.CorrelationID = address
	}
	if until, ok := ctx.Deadline(); ok && request.TTL == 0 {
		if request.TTL = time.Until(until) - request.Delay; request.TTL <= 0 {
			return fail(context.DeadlineExceeded)
		}
	}
	c, err := p.PublishSync(ctx, &request)
	if err == nil && c.Queues == 0 {
		err = ErrUnroutable
	}
	if err != nil {
		return fail(err)
	}
	select {
	case r := <-reply:
		return r, nil
	case <-ctx.Done():
		return fail(fmt.Errorf("no reply: %w", ctx.Err()))
	}
}

// Request is ExchangePublisher.Request for one request: who makes many keeps a publisher.
func (x *Exchange) Request(ctx context.Context, m *Message) (*Message, error) {
	p, err := x.NewPublisher(ctx, ExchangePublisherOptions{})
	if err != nil {
		return nil, err
	}
	r, err := p.Request(ctx, m)
	return r, errors.Join(err, p.Close(ctx))
}

// Reply answers a message that asks for it: to whoever waits in Request, or, where
// ReplyTo names a queue, by publishing to that. The reply has the CorrelationID of the
// message if it has none. The error is an ErrNoReplyTo if the message asks for none, and
// an ErrNoRequester if nobody waits any more. It settles nothing.
func (d *QueueDelivery) Reply(ctx context.Context, m *Message) error {
	to := d.ReplyTo()
	reply := *m
	if reply.CorrelationID == "" {
		reply.CorrelationID = d.CorrelationID()
	}
	switch {
	case to == "":
		return fmt.Errorf("queue %s: message %v: %w", d.consumer().queue, d.Ref, ErrNoReplyTo)
	case strings.HasPrefix(to, directReply):
		return d.consumer().sys.requests.answer(to, &reply)
	}
	reply.RoutingKey = to
	if err := d.consumer().sys.publishOwn(ctx, "", &reply); err != nil {
		return fmt.Errorf("reply to a message of queue %s: %w", d.consumer().queue, err)
	}
	return nil
}

// publishOwn publishes what the system itself has to say, and waits until it is durable.
func (s *System) publishOwn(ctx context.Context, exchange string, m *Message) error {
	d, err := s.directory(ctx)
	if err != nil {
		return err
	}
	p, err := d.inside(ctx, exchange)
	if err == nil {
		_, err = p.PublishSync(ctx, m)
	}
	return err
}
