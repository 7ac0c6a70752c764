package actor

import (
	"context"
	"fmt"
	"slices"
)

// send publishes a draft. done may be nil.
func (p *ExchangePublisher) send(ctx context.Context, d *draft, done func(Confirmation, error)) (Receipt, error) {
	claim, known := p.claim(d, done)
	if known != nil {
		return *known, nil
	}
	r, err := p.sendNew(ctx, d, claim, done)
	if err != nil {
		p.settle(claim, Confirmation{}, err)
	}
	return r, err
}

// sendNew publishes a draft whose id is new.
func (p *ExchangePublisher) sendNew(ctx context.Context, d *draft, claim claim, done func(Confirmation, error)) (Receipt, error) {
	if err := p.route(ctx, d); err != nil {
		return Receipt{}, err
	}
	if len(d.queues)+len(d.topics)+len(d.full) > 0 {
		return p.dispatch(ctx, d, claim, done)
	}
	p.exchange.figures.unroutable.Add(1)
	if p.options.Unroutable == FailUnroutable {
		return Receipt{}, d.unroutable()
	}
	p.settle(claim, Confirmation{}, ErrUnroutable)
	p.dropped.Add(1)
	if done != nil {
		p.sys.guard(p.exchange.name, func() { done(Confirmation{}, nil) })
	}
	return Receipt{}, nil
}

func (d *draft) unroutable() error {
	err := fmt.Errorf("routing key %q: %w", d.message.Key, ErrUnroutable)
	if missing := d.result.MissingAlternate; missing != "" {
		err = fmt.Errorf("%w, and there is no alternate exchange %q", err, missing)
	}
	return err
}

// route finds out where a draft goes, and has all of its queues admit it. Where it waits
// for one of them, it has room in none, and begins anew.
func (p *ExchangePublisher) route(ctx context.Context, d *draft) error {
	for {
		if p.exchange.gone.Load() {
			return fmt.Errorf("it was deleted: %w", ErrNoExchange)
		}
		err := d.router.Route(p.exchange.name, &d.message, &d.result)
		if err != nil {
			return inUsersWords(err)
		}
		refused, err := d.admit()
		if err == nil {
			return nil
		}
		if err = p.await(ctx, refused, err, len(d.record.Value)); err != nil {
			return refused.named(err)
		}
	}
}

// admit sorts the targets of a draft, and reserves room in its queues: in all or in none.
func (d *draft) admit() (refused *admission, err error) {
	d.queues, d.topics, d.full = d.queues[:0], d.topics[:0], d.full[:0]
	for _, t := range d.result.Targets {
		q, ok := t.Data.(*queueInfo)
		if !ok {
			d.topics = append(d.topics, t.Name)
			continue
		}
		switch err := q.admission.admitFrom(d.message.Inside, len(d.record.Value)); {
		case err == nil:
			d.queues = append(d.queues, q)
		case err == ErrQueueFull && q.config().Overflow == RejectPublishDLX:
			d.full = append(d.full, q)
		case err != ErrNoQueue: // one that was deleted meanwhile is no target
			d.abandon()
			return q.admission, err
		}
	}
	return nil, nil
}

// abandon gives back the room that was reserved.
func (d *draft) abandon() {
	for _, q := range d.queues {
		q.admission.abandon(len(d.record.Value))
	}
	d.queues = d.queues[:0]
}

// await waits for room in a queue, if that is what was asked for.
func (p *ExchangePublisher) await(ctx context.Context, a *admission, err error, bytes int) error {
	switch {
	case err == errBehind && p.options.FailFast:
		return fmt.Errorf("%w: %w", ErrBackpressure, a.why(err))
	case err != errBehind && (!p.options.WaitWhenFull || !a.couldHold(bytes)):
		return err
	}
	if ended := a.await(ctx, bytes); ended != nil {
		return fmt.Errorf("%w: %w", a.why(err), ended)
	}
	return nil
}

// dispatch appends a draft wherever it goes. All that could go wrong before is tried
// before the first append.
func (p *ExchangePublisher) dispatch(ctx context.Context, d *draft, claim claim, done func(Confirmation, error)) (Receipt, error) {
	if len(d.topics) > 0 || len(d.full) > 0 {
		return p.dispatchAll(ctx, d, claim, done)
	}
	o, partition, err := p.prepare(ctx, d)
	if err != nil {
		d.abandon()
		return Receipt{}, err
	}
	conf := Confirmation{Queues: len(d.queues)}
	mail := p.mail(d, conf, claim, done, 1)
	f, err := o.publisher.publish(ctx, partition, d.forQueues(), mail.stored)
	if err != nil {
		mail.discard()
		d.abandon()
		return Receipt{}, err
	}
	return Receipt{conf: conf, future: f}, nil
}

// prepare opens the log that a draft goes to for its queues, and sees to it that their
// shards follow it.
func (p *ExchangePublisher) prepare(ctx context.Context, d *draft) (o *outlet, partition int, err error) {
	shard := 0
	if len(d.queues) > 0 {
		shard = d.queues[0].shard
	}
	if o, err = p.outlet(ctx, shard, d.envelope.Transient); err != nil {
		return nil, 0, err
	}
	if partition, err = o.partition(ctx, &d.record); err == nil {
		err = o.reach(ctx, partition, d.queues)
	}
	return o, partition, err
}

// forQueues is the record of a draft that names its queues.
func (d *draft) forQueues() *Record {
	ids := d.envelope.Queues[:0]
	for _, q := range d.queues {
		ids = append(ids, q.id)
	}
	slices.Sort(ids)
	d.envelope.Queues = ids
	return d.seal()
}

// forTopic is the record of a draft for a topic: it names no queue, for the topic may be
// read for queues, too.
func (d *draft) forTopic() *Record {
	d.envelope.Queues = d.envelope.Queues[:0]
	return d.seal()
}

// sending is one append of several.
type sending func(done func(Published, error)) (Receipt, error)

// dispatchAll is dispatch for several appends. When one of them cannot be begun, those
// before are under way: the message fails, but what has reached its log stays there.
func (p *ExchangePublisher) dispatchAll(ctx context.Context, d *draft, claim claim, done func(Confirmation, error)) (Receipt, error) {
	conf := Confirmation{Queues: len(d.queues), Topics: len(d.topics), DeadLettered: len(d.full)}
	steps, inQueues, err := p.steps(ctx, d)
	if err != nil {
		d.abandon()
		return Receipt{}, err
	}
	mail := p.mail(d, conf, claim, done, len(steps))
	r := Receipt{conf: conf}
	for i, begin := range steps {
		stored := mail.storedElsewhere
		if i == 0 && inQueues {
			stored = mail.stored
		}
		part, err := begin(stored)
		if err == nil {
			r.more = append(r.more, part)
			continue
		}
		if i == 0 {
			mail.discard()
			d.abandon()
			return Receipt{}, err
		}
		r.err = err
		for range steps[i:] {
			mail.storedElsewhere(Published{}, err)
		}
		break
	}
	return r, nil
}

// steps are the appends of a draft: first that for its queues, if it has any.
func (p *ExchangePublisher) steps(ctx context.Context, d *draft) (all []sending, inQueues bool, err error) {
	own := slices.Index(d.topics, p.exchange.config.Topic) // it is in its own log as it is
	if inQueues = len(d.queues) > 0 || own >= 0; inQueues {
		o, partition, err := p.prepare(ctx, d)
		if err != nil {
			return nil, false, err
		}
		all = append(all, func(done func(Published, error)) (Receipt, error) {
			f, err := o.publisher.publish(ctx, partition, d.forQueues(), done)
			return Receipt{future: f}, err
		})
	}
	for i, topic := range d.topics {
		if i == own {
			continue
		}
		o, err := p.bound(ctx, topic)
		if err != nil {
			return nil, false, err
		}
		all = append(all, func(done func(Published, error)) (Receipt, error) {
			f, err := o.publisher.publish(ctx, AnyPartition, d.forTopic(), done)
			return Receipt{future: f}, err
		})
	}
	for _, q := range d.full {
		letter, err := p.letter(ctx, d, q)
		if err != nil {
			return nil, false, err
		}
		all = append(all, letter)
	}
	return all, inQueues, nil
}
