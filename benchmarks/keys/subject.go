package keys

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
)

// subject is a topic of one partition, and how it is worked on.
type subject struct {
	plan    plan
	engine  *runtime.Engine
	topic   string
	perKey  int // records
	workers int
	runs    int
}

// publish deals perKey records to each key in turn. The value of a record is its
// number among those of its key.
func (s *subject) publish(ctx context.Context) error {
	t, err := s.engine.Declare(ctx, s.topic, actor.TopicConfig{})
	if err != nil {
		return err
	}
	p, err := t.NewPublisher(ctx, actor.PublisherOptions{})
	if err != nil {
		return err
	}
	for i := range s.perKey * s.plan.keys {
		r := actor.Record{Key: binary.BigEndian.AppendUint32(nil, uint32(i%s.plan.keys)), Time: actor.NoTime,
			Value: binary.BigEndian.AppendUint32(nil, uint32(i/s.plan.keys))}
		if _, err := p.Publish(ctx, actor.AnyPartition, &r); err != nil {
			return err
		}
	}
	if err := p.Close(ctx); err != nil {
		return err
	}
	b, err := t.Bounds(ctx, 0)
	if err == nil && b.Next != uint64(s.perKey*s.plan.keys) {
		err = fmt.Errorf("%d records were published to topic %s, it has %d", s.perKey*s.plan.keys, s.topic, b.Next)
	}
	return err
}

// consume has a new group work on all records once.
func (s *subject) consume(ctx context.Context) (records int64, _ uint64, err error) {
	s.runs++
	l := newLedger(s.plan.keys, s.perKey)
	c, err := s.engine.System().NewConsumer(ctx, actor.ConsumerOptions{
		Group: fmt.Sprintf("%s-%d", s.topic, s.runs), Topics: []string{s.topic}, Concurrency: s.workers,
		Listener: actor.Listener{Stopped: func(_ actor.TopicPartition, err error) { l.fail(err) }},
	}, func(ctx context.Context, d *actor.Delivery) error { return l.handle(ctx, d, s.plan.work) })
	if err != nil {
		return 0, 0, err
	}
	err = l.await(ctx)
	err = errors.Join(err, c.Close(context.WithoutCancel(ctx)))
	return int64(s.perKey * s.plan.keys), 0, err
}
