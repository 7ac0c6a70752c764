package actor

import (
	"math"
	"time"

	"github.com/troupestream/troupe/internal/queue"
)

// QueueStats is how a queue does.
type QueueStats struct {
	Name string
	// QueueCounts are the messages by what became of them.
	QueueCounts
	Bytes     int64 // of the bodies that wait
	Consumers int
	OldestAge time.Duration // of what waits, to about a chunk of messages; 0: nothing waits

	DeliveryPaused, PublishingPaused bool

	// Rates of the last 10 seconds or so, in messages a second.
	InRate, OutRate float64
	// ToFull is in how long the queue reaches MaxLength or MaxBytes, and ToDrain in how
	// long it is empty, if all goes on as it does. 0: never.
	ToFull, ToDrain time.Duration
	// Err says that messages were lost or counted twice. It is a mistake of ours.
	Err error
}

// Growth is how many messages more wait after a second.
func (s *QueueStats) Growth() float64 { return s.InRate - s.OutRate }

// QueueWarning says that a queue is about to reach a limit.
type QueueWarning struct {
	Queue string
	// Messages and Bytes that wait, and the limits; Unlimited for none.
	Messages, MaxLength int
	Bytes, MaxBytes     int64
	// ToFull is how long it takes if all goes on as it does; 0: it does not grow.
	ToFull time.Duration
}

// When a queue warns: when it is so full, or will be full so soon. It warns again after
// it was less full than queueCalm.
const (
	queueFull   = 0.8
	queueSoon   = 5 * time.Minute
	queueCalm   = 0.7
	queueSample = time.Second      // how often it looks, at most
	queueWindow = 10 * time.Second // of the rates
)

// WithOnQueueWarning sets a function that is told when a queue is full to four fifths, or
// will be full within five minutes if it goes on to grow as it does. It is told again after
// the queue was less full than seven tenths. It is called by the queue, and must not block.
func WithOnQueueWarning(f func(QueueWarning)) Option {
	return func(s *System) { s.onQueueWarning = f }
}

// askQueueStats is answered with QueueStats.
type askQueueStats struct{}

// queueMeter measures what goes into a queue and out of it.
type queueMeter struct {
	at              int64 // Unix ms of the last sample; 0: none yet
	in, out         uint64
	inRate, outRate float64
	warned          bool
	warnedAt        int64 // Unix ms
}

// sample looks at the counts, if the last look is long enough ago.
func (m *queueMeter) sample(now int64, c queue.Counts) {
	in, out := c.Taken, c.Taken-uint64(c.Live)
	elapsed := time.Duration(now-m.at) * time.Millisecond
	if m.at != 0 && elapsed < queueSample {
		return
	}
	if m.at != 0 {
		share := 1 - math.Exp(-elapsed.Seconds()/queueWindow.Seconds())
		m.inRate += share * (float64(in-m.in)/elapsed.Seconds() - m.inRate)
		m.outRate += share * (float64(out-m.out)/elapsed.Seconds() - m.outRate)
	}
	m.at, m.in, m.out = now, in, out
}

// stats measures and says how the queue does.
func (q *queueActor) stats() QueueStats {
	now := q.now()
	counts, waiting, paused := q.core.Counts(), q.core.Waiting(), q.core.Paused()
	q.meter.sample(now, counts)
	s := QueueStats{Name: q.info.name, QueueCounts: counts, Bytes: waiting.Bytes, Consumers: len(q.consumers),
		DeliveryPaused: paused.Delivery, PublishingPaused: paused.Publishing,
		InRate: q.meter.inRate, OutRate: q.meter.outRate, Err: q.core.Check()}
	if oldest := q.core.Oldest(); oldest != 0 {
		s.OldestAge = time.Duration(max(now-oldest, 0)) * time.Millisecond
	}
	s.forecast(waiting, &q.config)
	return s
}

func (s *QueueStats) forecast(waiting queue.Counter, c *queue.Config) {
	growth := s.Growth()
	if growth < 0 && waiting.Messages > 0 {
		s.ToDrain = seconds(float64(waiting.Messages) / -growth)
		return
	}
	if growth <= 0 {
		return
	}
	in := math.Inf(1)
	if c.MaxLength > 0 {
		in = math.Min(in, float64(c.MaxLength-waiting.Messages)/growth)
	}
	if c.MaxBytes > 0 && waiting.Messages > 0 {
		each := float64(waiting.Bytes) / float64(waiting.Messages)
		in = math.Min(in, float64(c.MaxBytes-waiting.Bytes)/(growth*each))
	}
	if !math.IsInf(in, 1) {
		s.ToFull = max(seconds(in), time.Nanosecond)
	}
}

// seconds bounds what a duration can hold.
func seconds(s float64) time.Duration {
	return time.Duration(min(max(s, 0), 1e9) * float64(time.Second))
}

// measure samples the rates, and warns if the queue gets full.
func (q *queueActor) measure() {
	m := &q.meter
	m.sample(q.clock, q.core.Counts())
	if q.sys.onQueueWarning == nil {
		return
	}
	waiting, c := q.core.Waiting(), &q.config
	share := math.Max(shareOf(int64(waiting.Messages), int64(c.MaxLength)), shareOf(waiting.Bytes, c.MaxBytes))
	s := QueueStats{InRate: m.inRate, OutRate: m.outRate}
	s.forecast(waiting, c)
	soon := s.ToFull > 0 && s.ToFull < queueSoon
	switch {
	case (share >= queueFull || soon) && !m.warned:
		m.warned, m.warnedAt = true, q.clock
		q.sys.onQueueWarning(QueueWarning{q.info.name, waiting.Messages, c.MaxLength, waiting.Bytes, c.MaxBytes, s.ToFull})
	case share < queueCalm && !soon && q.clock-m.warnedAt >= queueSample.Milliseconds():
		m.warned = false
	}
}

func shareOf(n, most int64) float64 {
	if most <= 0 {
		return 0
	}
	return float64(n) / float64(most)
}
