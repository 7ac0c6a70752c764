package actor

import (
	"context"
	"errors"
	"fmt"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/routing"
)

// Bind makes a binding. It may be made any number of times.
func (s *System) Bind(ctx context.Context, b Binding) error {
	return s.rebind(ctx, b, "bind", func(r routing.Binding) command { return &bind{r} })
}

// Unbind removes a binding: the very same, arguments included. There is nothing to do
// if it does not exist.
func (s *System) Unbind(ctx context.Context, b Binding) error {
	return s.rebind(ctx, b, "unbind", func(r routing.Binding) command { return &unbind{r} })
}

func (s *System) rebind(ctx context.Context, b Binding, verb string, of func(routing.Binding) command) error {
	r, err := b.routing()
	if err != nil {
		return fmt.Errorf("%s exchange %q: %w", verb, b.Exchange, err)
	}
	d, err := s.directory(ctx)
	if err == nil {
		err = d.ends(ctx, &b)
	}
	if err == nil {
		_, err = amend[done](ctx, d, of(r))
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, r, err)
	}
	return nil
}

// ends checks that what a binding leads from and to is there.
func (d *queueDirectory) ends(ctx context.Context, b *Binding) error {
	if b.Exchange == "" {
		return routing.ErrDefaultExchange
	}
	_, err := d.exchange(b.Exchange)
	if b.ToExchange != "" && err == nil {
		_, err = d.exchange(b.ToExchange)
	}
	if _, ok := d.queue(b.Queue); b.Queue != "" && !ok && err == nil {
		err = ErrNoQueue
	}
	if b.Topic != "" && err == nil {
		if err = CheckName(b.Topic); err == nil {
			_, err = d.sys.Topic(ctx, b.Topic)
		}
	}
	return err
}

// Bindings lists the bindings of an exchange, sorted; those of all exchanges if it is
// "". That the default exchange reaches every queue is not listed.
func (s *System) Bindings(ctx context.Context, exchange string) ([]Binding, error) {
	d, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := d.exchange(exchange); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Binding
	for _, x := range d.table.Exchanges() {
		if exchange != "" && x.Name != exchange {
			continue
		}
		for _, b := range d.table.From(x.Name) {
			all = append(all, bindingOf(b))
		}
	}
	return all, nil
}

// BindTopic makes every record of a topic, from a place on, a message of a queue. The
// topic stays what it is to everybody else. Doing it again changes nothing. It ends with
// UnbindTopic, the queue, or the topic.
func (s *System) BindTopic(ctx context.Context, topic, queue string, from From) error {
	fail := func(err error) error { return fmt.Errorf("bind queue %s to topic %s: %w", queue, topic, err) }
	if err := CheckName(topic); err != nil {
		return fail(err)
	}
	d, err := s.directory(ctx)
	if err != nil {
		return fail(err)
	}
	q, ok := d.queue(queue)
	if !ok {
		return fail(ErrNoQueue)
	}
	t, err := s.Topic(ctx, topic)
	if err != nil {
		return fail(err)
	}
	c := &bindTopic{Topic: topic, Incarnation: t.incarnation, Queue: q.id}
	for i := range t.partitions {
		at, err := (&Reader{topic: t, partition: i, ref: t.partitions[i]}).resolve(ctx, from)
		if err != nil {
			return fail(err)
		}
		c.Logs = append(c.Logs, declaredLog{Partition: i, From: at})
	}
	if err = t.hold(ctx); err != nil {
		return fail(err)
	}
	if _, err = amend[done](ctx, d, c); err != nil {
		return fail(err)
	}
	if err = s.feedsHear(ctx, q); err != nil {
		return fail(err)
	}
	return nil
}

// feedsHear waits until the feeds of a queue know what it takes: one that goes by what it
// took before would pass over what is appended from now on, or bring what is not for the
// queue any more once it is bound again. A feed that is not there, or has failed, looks
// when it begins.
func (s *System) feedsHear(ctx context.Context, q *queueInfo) error {
	shard := s.shards.of(q.shard)
	if shard == nil {
		return nil
	}
	var p queueProgress
	pid, err := Ask[*pactor.PID](ctx, s, shard, askQueuePID{q.id})
	if err == nil {
		p, err = Ask[queueProgress](ctx, s, pid, askQueueLogs{})
	}
	if err != nil {
		return ctx.Err()
	}
	for _, feed := range p.feeds {
		if _, err := Ask[feedHeard](ctx, s, feed, feedAltered{}); err != nil && ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// UnbindTopic ends what BindTopic began. What the topic has by then is in the queue, and
// stays there.
func (s *System) UnbindTopic(ctx context.Context, topic, queue string) error {
	d, err := s.directory(ctx)
	if err != nil {
		return err
	}
	q, ok := d.queue(queue)
	if !ok {
		return fmt.Errorf("unbind queue %s from topic %s: %w", queue, topic, ErrNoQueue)
	}
	ends, err := d.endsOf(ctx, topic)
	if err != nil {
		return fmt.Errorf("unbind queue %s from topic %s: %w", queue, topic, err)
	}
	for log, end := range ends {
		ends[log] = s.holds.limit(log, q.id, end)
	}
	if _, err = amend[done](ctx, d, &unbindTopic{topic, q.id, ends}); err != nil {
		for log := range ends {
			s.holds.unlimit(log, q.id)
		}
		return err
	}
	return s.feedsHear(ctx, q)
}

// endsOf returns where the logs of a topic end now; nil: there is no such topic.
func (d *queueDirectory) endsOf(ctx context.Context, topic string) (map[uint32]uint64, error) {
	t, err := d.sys.Topic(ctx, topic)
	if errors.Is(err, ErrNoTopic) {
		return nil, nil
	}
	ends := map[uint32]uint64{}
	for i := 0; err == nil && i < t.Partitions(); i++ {
		var b Bounds
		if id, ok := d.logIDs.get(logKey{topic, t.incarnation, i}); ok {
			b, err = t.Bounds(ctx, i)
			ends[id] = b.Next
		}
	}
	return ends, err
}
