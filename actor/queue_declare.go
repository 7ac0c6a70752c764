package actor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/queue"
)

// declareQueue returns the queue of that name, and makes it known when there is none.
// An empty name is given one that nobody else has.
func (s *System) declareQueue(ctx context.Context, name string, config QueueConfig) (*queueInfo, error) {
	if name == "" {
		name = amq + "gen-" + rand.Text()
	} else if err := checkOwnName("queue", name); err != nil {
		return nil, fmt.Errorf("declare %w", err)
	}
	fail := func(err error) (*queueInfo, error) { return nil, fmt.Errorf("declare queue %q: %w", name, err) }
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return fail(err)
	}
	d, err := s.directory(ctx)
	if err != nil {
		return fail(err)
	}
	if q, ok := d.queue(name); ok {
		if q.config().Exclusive {
			return fail(ErrLocked)
		}
		if err := differences(q.config(), &config); err != nil {
			return fail(err)
		}
		err := s.touchQueue(ctx, q)
		if err == nil {
			return q, nil
		}
		if !errors.Is(err, ErrNoQueue) { // or else it has expired meanwhile
			return fail(err)
		}
	}
	q, err := amend[*queueInfo](ctx, d, &declareQueue{Name: name, Shard: shardOf(name), Config: config})
	if err != nil {
		return fail(err)
	}
	return q, nil
}

// touchQueue tells a queue that would expire that it is used.
func (s *System) touchQueue(ctx context.Context, q *queueInfo) error {
	if q.config().Expires == 0 {
		return nil
	}
	return (&Queue{sys: s, info: q}).do(ctx, queue.Touch{})
}

// alterQueue changes the configuration of a queue: f is given what it is.
func (s *System) alterQueue(ctx context.Context, q *queueInfo, f func(*QueueConfig)) error {
	fail := func(err error) error { return fmt.Errorf("alter queue %q: %w", q.name, err) }
	d, err := s.directory(ctx)
	if err != nil {
		return fail(err)
	}
	for {
		if has, ok := d.queue(q.name); !ok || has != q {
			return fail(ErrNoQueue)
		}
		was := q.config()
		config := was.clone()
		f(&config)
		config = config.withDefaults()
		if err := config.check(); err != nil {
			return fail(err)
		}
		if config.GroupBy != was.GroupBy {
			return fail(fmt.Errorf("%w: GroupBy is for life, since what waits is in its groups: declare another queue, and move the messages there", ErrConflict))
		}
		_, err := amend[*queueInfo](ctx, d, &alterQueue{q.name, config, was})
		if err == nil {
			return nil
		}
		if !errors.Is(err, errAltered) {
			return fail(err)
		}
	}
}

// errAltered: the queue is not what it was when its new configuration was made.
var errAltered = errors.New("it was altered meanwhile")

// deleteQueue makes a queue unknown: that of an id, if that is not 0.
func (s *System) deleteQueue(ctx context.Context, name string, id uint32) error {
	d, err := s.directory(ctx)
	if err == nil {
		_, err = amend[done](ctx, d, &deleteQueue{name, id})
	}
	if err != nil {
		return fmt.Errorf("delete queue %q: %w", name, err)
	}
	return nil
}
