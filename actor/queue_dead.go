package actor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/envelope"
)

// deadPublishing is the publishing of dead letters of a queue.
type deadPublishing struct {
	sys     *System
	info    *queueInfo
	errs    []error
	pending int
	ended   chan deadEnded
}

type deadEnded struct {
	i   int
	err error
}

// publishDead publishes dead letters to the dead-letter exchange of a queue, and says
// which are not durable. A message whose log has lost it is not, and never will be: it is
// let go. So is one that was dead-lettered too often.
func (s *System) publishDead(ctx context.Context, info *queueInfo, dead []deadMessage) []error {
	p := deadPublishing{sys: s, info: info, errs: make([]error, len(dead)), ended: make(chan deadEnded, len(dead))}
	c := info.config()
	exchange, key, ok := c.deadLetters()
	if !ok {
		return p.errs // it was altered: they are dropped now
	}
	to, err := p.inside(ctx, exchange)
	lost, circling := 0, 0
	for i := range dead {
		switch e, known := envelopeOfDead(&dead[i]); {
		case !known:
			lost++
		case e.Hops >= c.MaxHops:
			circling++
		case err != nil:
			p.errs[i] = err
		default:
			p.publish(ctx, to, i, e.died(info, &dead[i], key), &dead[i].record)
		}
	}
	if lost+circling > 0 {
		s.log.Warn("dead letters are dropped", "queue", info.name, "circling", circling, "lost", lost, "MaxHops", c.MaxHops)
	}
	p.await(ctx)
	return p.errs
}

func (p *deadPublishing) inside(ctx context.Context, exchange string) (*ExchangePublisher, error) {
	d, err := p.sys.directory(ctx)
	if err != nil {
		return nil, err
	}
	to, err := d.inside(ctx, exchange)
	if err != nil {
		return nil, fmt.Errorf("dead-letter exchange of queue %s: %w", p.info.name, err)
	}
	return to, nil
}

func (p *deadPublishing) publish(ctx context.Context, to *ExchangePublisher, i int, e *envelope.Envelope, r *Record) {
	p.pending++
	_, err := to.publishInside(ctx, e, r, func(_ Confirmation, err error) { p.ended <- deadEnded{i, err} })
	if err != nil {
		p.pending--
		p.errs[i] = err
	}
}

// await waits for all that are under way. At the end of ctx it is not known what became
// of the rest: it is written again.
func (p *deadPublishing) await(ctx context.Context) {
	for known := make([]bool, len(p.errs)); p.pending > 0; p.pending-- {
		select {
		case m := <-p.ended:
			p.errs[m.i], known[m.i] = m.err, true
		case <-ctx.Done():
			for i := range p.errs {
				if !known[i] {
					p.errs[i] = errors.Join(p.errs[i], ctx.Err())
				}
			}
			return
		}
	}
}

// deadEnvelope is what a dead letter says of itself.
type deadEnvelope struct{ envelope.Envelope }

// envelopeOfDead is that of the message; empty, if it was published to a topic.
func envelopeOfDead(m *deadMessage) (e *deadEnvelope, ok bool) {
	e = &deadEnvelope{}
	if !m.found {
		return e, false
	}
	if b := envelopeOf(&m.record); b != nil {
		return e, e.Decode(b) == nil
	}
	return e, true
}

// died makes the envelope that of the dead letter.
func (e *deadEnvelope) died(info *queueInfo, m *deadMessage, key string) *envelope.Envelope {
	now := time.Now().UnixMilli()
	death := envelope.Death{Queue: info.name, Reason: uint8(m.Reason), Count: 1, First: now, Last: now, Exchange: e.Exchange,
		RoutingKeys: append([]string{e.RoutingKey}, e.CC...), Attempts: m.Attempts, Error: m.Error}
	e.Died(death, envelope.Origin{Queue: info.name, Exchange: e.Exchange, RoutingKey: e.RoutingKey, Log: m.Log, Offset: m.Offset})
	e.Queues, e.Expires, e.Due = nil, 0, 0
	if key != "" {
		e.RoutingKey, e.CC = key, nil
	}
	return &e.Envelope
}
