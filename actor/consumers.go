package actor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/troupestream/troupe/internal/telemetry"
)

// consumers are those of a system, and what those that have ended have counted.
type consumers struct {
	mu   sync.Mutex
	open map[*Consumer]struct{}
	past map[string]ConsumerStats // by group
}

func (s *consumers) add(c *Consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open, s.past = map[*Consumer]struct{}{}, map[string]ConsumerStats{}
	}
	s.open[c] = struct{}{}
}

func (s *consumers) ended(c *Consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	past := s.past[c.options.Group]
	past.add(c.Stats())
	past.RetriesWaiting = 0
	s.past[c.options.Group] = past
}

func (s *consumers) all() []*Consumer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.open))
}

// totals are the counts of each group, by all consumers that this process has had.
func (s *consumers) totals() map[string]ConsumerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := maps.Clone(s.past)
	for c := range s.open {
		sum := all[c.options.Group]
		sum.add(c.Stats())
		all[c.options.Group] = sum
	}
	return all
}

// CloseConsumers closes all consumers of the system in good order: see
// Consumer.Close. It returns what went wrong with any of them.
func (s *System) CloseConsumers(ctx context.Context) error {
	return sideBySide(s.consumers.all(), func(c *Consumer) error { return c.Close(ctx) })
}

// sideBySide calls f for all at the same time, and returns all their errors.
func sideBySide[T any](all []T, f func(T) error) error {
	errs := make([]error, len(all))
	var calls sync.WaitGroup
	for i, v := range all {
		calls.Go(func() { errs[i] = f(v) })
	}
	calls.Wait()
	return errors.Join(errs...)
}

// MeasureConsumers adds the figures of the system's consumers to a snapshot.
func (s *System) MeasureConsumers(to *telemetry.Snapshot) {
	for name, n := range s.consumers.totals() {
		to.Groups = append(to.Groups, telemetry.GroupStats{Group: name, Retries: n.Retries + n.RetriesLater, Waiting: n.RetriesWaiting,
			DeadLetters: n.DeadLetters, Skipped: n.Skipped, Parked: n.Parked, Replayed: n.Replayed})
	}
	for _, c := range s.consumers.all() {
		for _, l := range *c.lanes.Load() {
			to.Consumed = append(to.Consumed, l.measure())
		}
	}
}

// measure says how a lane stands. How far it is behind is as of the last heartbeat.
func (l *consumerLane) measure() telemetry.ConsumedStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := telemetry.ConsumedStats{Group: l.consumer.options.Group, Topic: l.Topic, Lag: -1}
	if l.parking != nil {
		s.ParkedKeys = int64(len(l.parking.keys) + len(l.parking.alone))
		s.Stalled = l.parking.stalled != nil
	}
	if l.began && l.end > 0 {
		s.Lag = int64(max(l.end, l.window.Position()) - l.window.Position())
	}
	return s
}

// sound asks for the ends of the partitions that the consumer has.
func (c *Consumer) sound(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, consumerAsk)
	defer cancel()
	for _, l := range *c.lanes.Load() {
		t, err := c.topic(ctx, l.TopicPartition, false)
		if err != nil {
			continue
		}
		if b, err := t.Bounds(ctx, l.Partition); err == nil {
			l.mu.Lock()
			l.end = b.Next
			l.mu.Unlock()
		}
	}
}
