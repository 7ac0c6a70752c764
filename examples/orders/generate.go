package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime"
)

// publish publishes what the topic does not have yet, at so many orders a second; 0: as
// fast as it goes. How far an earlier run has come is what the topic holds: the orders of
// a partition are published in the order of their numbers, each once.
func (s shop) publish(ctx context.Context, e *runtime.Engine, rate float64) (err error) {
	p, err := bus.NewProducer(ctx, e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close(context.WithoutCancel(ctx))) }()
	has, err := s.published(ctx, e)
	if err != nil {
		return err
	}
	last := map[int]actor.Future{} // by partition
	pace := pace{rate: rate}
	for i := range s.orders {
		o := s.order(i)
		at := o.partition()
		if has[at] > 0 {
			has[at]--
			continue
		}
		if err := pace.wait(ctx); err != nil {
			return err
		}
		m := topics.Message[Order]{Key: strconv.AppendInt(nil, int64(o.Card), 10), Value: o, Time: o.time()}
		sent, err := p.PublishTo(ctx, at, m)
		if err != nil {
			return err
		}
		last[at] = sent
	}
	if err := p.Flush(ctx); err != nil {
		return err
	}
	return s.complete(ctx, e, last)
}

// published is how many orders each partition has. Their last one must be the order that
// it should be: then so are those in front of it.
func (s shop) published(ctx context.Context, e *runtime.Engine) (has [partitions]uint64, err error) {
	if has, err = published(ctx, e); err != nil {
		return has, err
	}
	r, err := bus.NewReader(ctx, e)
	if err != nil {
		return has, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var count [partitions]uint64
	for i := range s.orders {
		o := s.order(i)
		at := o.partition()
		if count[at]++; count[at] != has[at] {
			continue
		}
		last, err := r.At(ctx, at, has[at]-1)
		if err != nil {
			return has, err
		}
		if last.Value != o {
			return has, fmt.Errorf("partition %d of the topic holds other orders: begin anew with another -data", at)
		}
	}
	return has, nil
}

// complete says that the topic has every order, or why it has not.
func (s shop) complete(ctx context.Context, e *runtime.Engine, last map[int]actor.Future) error {
	has, err := published(ctx, e)
	if err != nil || has == s.ends() {
		return err
	}
	for _, f := range last {
		if _, failed := f.Wait(ctx); failed != nil {
			err = errors.Join(err, failed)
		}
	}
	return errors.Join(fmt.Errorf("the topic has %d orders by partition, and should have %d", has, s.ends()), err)
}

// published is how many orders were published, by partition.
func published(ctx context.Context, e *runtime.Engine) (has [partitions]uint64, err error) {
	topic, err := e.Topic(ctx, bus.TopicName())
	if err != nil {
		return has, err
	}
	for i := range has {
		b, err := topic.Bounds(ctx, i)
		if err != nil {
			return has, err
		}
		has[i] = b.Next
	}
	return has, nil
}

// pace spreads what is done over time.
type pace struct {
	rate  float64 // a second; 0: without bound
	begun time.Time
	done  int
}

// wait waits until the next may be done.
func (p *pace) wait(ctx context.Context) error {
	if p.rate == 0 {
		return ctx.Err()
	}
	if p.begun.IsZero() {
		p.begun = time.Now()
	}
	due := p.begun.Add(time.Duration(float64(p.done) / p.rate * float64(time.Second)))
	p.done++
	select {
	case <-time.After(time.Until(due)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
