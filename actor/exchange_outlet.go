package actor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// outlet is a topic that a publisher of an exchange appends to.
type outlet struct {
	d         *queueDirectory
	topic     *Topic
	publisher *Publisher

	mu   sync.Mutex
	logs atomic.Pointer[[]*logInfo] // by partition, nil where not asked for yet
}

// outlet returns the log of the exchange, which comes into being with its first message;
// shard is that of the default exchange whose queue the message is for.
func (p *ExchangePublisher) outlet(ctx context.Context, shard int, transient bool) (*outlet, error) {
	if p.exchange.number != 0 {
		shard = 0
	}
	which := 0
	if transient && p.exchange.config.Topic == "" {
		which = 1
	}
	slot := &p.own[shard][which]
	if o := slot.Load(); o != nil {
		return o, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := slot.Load(); o != nil {
		return o, nil
	}
	name := p.exchange.topic(which == 1)
	if p.exchange.number == 0 {
		name = ownTopic(shardPrefix, shard, which == 1)
	}
	t, err := p.logTopic(ctx, name, which == 1)
	if err != nil {
		return nil, err
	}
	o, err := p.open(ctx, t)
	if err == nil {
		slot.Store(o)
	}
	return o, err
}

// logTopic returns the topic that is a log of the exchange.
func (p *ExchangePublisher) logTopic(ctx context.Context, name string, transient bool) (*Topic, error) {
	t, err := p.sys.Topic(ctx, name)
	x := &p.exchange.config
	if err == nil || !errors.Is(err, ErrNoTopic) || x.Topic != "" {
		return t, err
	}
	c := TopicConfig{Partitions: x.Partitions, Retention: x.Retention}
	if transient {
		c.Durability = Interval
	}
	return p.sys.Declare(ctx, name, c)
}

// bound returns the outlet to a topic that the exchange leads to.
func (p *ExchangePublisher) bound(ctx context.Context, topic string) (*outlet, error) {
	if o, ok := p.topics.get(topic); ok && !o.topic.deleted.Load() {
		return o, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if o, ok := p.topics.get(topic); ok && !o.topic.deleted.Load() {
		return o, nil
	}
	t, err := p.sys.Topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	o, err := p.open(ctx, t)
	if err == nil {
		p.topics.put(topic, o)
	}
	return o, err
}

// open makes an outlet. The lock is held.
func (p *ExchangePublisher) open(ctx context.Context, t *Topic) (*outlet, error) {
	if p.closed {
		return nil, fmt.Errorf("the publisher: %w", ErrClosed)
	}
	publisher, err := t.NewPublisher(ctx, p.options.publisher())
	if err != nil {
		return nil, err
	}
	if publisher.meter == nil { // the log is of the exchange alone
		publisher.meter = p.sys.messaging.Topic(p.exchange.label())
	}
	o := &outlet{d: p.d, topic: t, publisher: publisher}
	o.logs.Store(new([]*logInfo))
	return o, nil
}

// partition chooses the partition of a record.
func (o *outlet) partition(ctx context.Context, r *Record) (int, error) {
	lanes, err := o.publisher.partitions(ctx)
	if err != nil || len(lanes) == 1 {
		return 0, err
	}
	return o.publisher.choose(AnyPartition, len(lanes), r)
}

// reach sees to it that the shards of all the queues follow a partition.
func (o *outlet) reach(ctx context.Context, partition int, queues []*queueInfo) error {
	var l *logInfo
	if logs := *o.logs.Load(); partition < len(logs) {
		l = logs[partition]
	}
	for _, q := range queues {
		if l == nil || !l.feeds(q.shard) {
			return o.register(ctx, partition, queues)
		}
	}
	return nil
}

// register has the shards follow the partition, and remembers its log.
func (o *outlet) register(ctx context.Context, partition int, queues []*queueInfo) error {
	l, err := o.d.logOf(ctx, o.topic, partition)
	if err != nil {
		return err
	}
	for _, q := range queues {
		if err := o.d.follows(ctx, o.topic, l, q.shard); err != nil {
			return err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	logs := append([]*logInfo(nil), *o.logs.Load()...)
	for len(logs) <= partition {
		logs = append(logs, nil)
	}
	logs[partition] = l
	o.logs.Store(&logs)
	return nil
}
