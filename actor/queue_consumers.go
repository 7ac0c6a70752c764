package actor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// queueConsumers are those that are open.
type queueConsumers struct {
	mu   sync.Mutex
	open map[*QueueConsumer]struct{}
}

func (s *queueConsumers) add(c *QueueConsumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*QueueConsumer]struct{}{}
	}
	s.open[c] = struct{}{}
}

func (s *queueConsumers) remove(c *QueueConsumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *queueConsumers) all() []*QueueConsumer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.open))
}

// closeQueueConsumers has what they have settled be durable, and gives back what they
// have not. Why one had ended before, or that its Close was cut short, its user has heard;
// of a queue that has stopped, there is nothing to close.
func (s *System) closeQueueConsumers(ctx context.Context) error {
	return sideBySide(s.queueConsumers.all(), func(c *QueueConsumer) error {
		had := c.Err()
		err := c.Close(ctx)
		cut := ctx.Err() == nil && errors.Is(err, context.Canceled)
		if had != nil || cut || errors.Is(err, ErrStopped) {
			return nil
		}
		return err
	})
}
