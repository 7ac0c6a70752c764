package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/queue"
)

// Queue is a handle on a queue. It is safe for concurrent use, and ends with its system,
// or when the queue is deleted: then the error of all it does is an ErrNoQueue, also when
// there is another queue of that name.
type Queue struct {
	sys  *System
	info *queueInfo
	own  bool // the queue is exclusive to this handle
}

// DeclareQueue returns the queue of that name, and creates it when there is none. It may
// be called any number of times; a configuration that differs from that of the existing
// queue is an ErrConflict that names the difference. A name has 1 to 255 bytes; those
// that begin with "amq." are Troupe's own. An empty name is given one that nobody else
// has.
//
// Every queue is bound to the default exchange by its name. A queue that is Exclusive is
// reached only by this handle; Close it.
func (s *System) DeclareQueue(ctx context.Context, name string, config QueueConfig) (*Queue, error) {
	info, err := s.declareQueue(ctx, name, config)
	if err != nil {
		return nil, err
	}
	return &Queue{s, info, config.Exclusive}, nil
}

// Queue returns a queue that was declared before.
func (s *System) Queue(ctx context.Context, name string) (*Queue, error) {
	d, err := s.directory(ctx)
	if err != nil {
		return nil, fmt.Errorf("queue %s: %w", name, err)
	}
	info, ok := d.queue(name)
	switch {
	case !ok:
		return nil, fmt.Errorf("queue %s: %w", name, ErrNoQueue)
	case info.config().Exclusive:
		return nil, fmt.Errorf("queue %s: %w", name, ErrLocked)
	}
	return &Queue{sys: s, info: info}, nil
}

// QueueInfo is a queue and its configuration.
type QueueInfo struct {
	Name string
	QueueConfig
	Shard int
}

// Queues lists the queues by name.
func (s *System) Queues(ctx context.Context) ([]QueueInfo, error) {
	d, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	var all []QueueInfo
	for _, q := range d.byName.all() {
		all = append(all, QueueInfo{q.name, *q.config(), q.shard})
	}
	slices.SortFunc(all, func(a, b QueueInfo) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Name returns the queue's name.
func (q *Queue) Name() string { return q.info.name }

// Config returns what the queue was declared with, or altered to since.
func (q *Queue) Config() QueueConfig { return q.info.config().clone() }

// Alter changes the configuration of the queue: f is given what it is, again if others
// have altered it meanwhile. Messages that wait follow a new time to live from when they
// are looked at next; a new FairBy is for those that are published later. Transient,
// Exclusive and GroupBy are for life.
func (q *Queue) Alter(ctx context.Context, f func(*QueueConfig)) error {
	return q.sys.alterQueue(ctx, q.info, f)
}

// Consume has a handler work on messages of the queue, together with the queue's other
// consumers. ctx is for subscribing; the consumer works until it is closed. Close it,
// within a context that has not ended: that gives back what it has not begun.
func (q *Queue) Consume(ctx context.Context, o ConsumeOptions, h QueueHandler) (*QueueConsumer, error) {
	if h == nil {
		return nil, fmt.Errorf("consume queue %s: %w: there is no handler: to fetch messages, subscribe", q.info.name, ErrInvalid)
	}
	return q.sys.newQueueConsumer(ctx, q.info.name, q, o, h, false)
}

// Subscribe makes a consumer whose messages are fetched by QueueConsumer.Next and
// NextBatch, and are to be settled. It has up to Prefetch of them in memory.
func (q *Queue) Subscribe(ctx context.Context, o ConsumeOptions) (*QueueConsumer, error) {
	return q.sys.newQueueConsumer(ctx, q.info.name, q, o, nil, false)
}

// Get returns up to n messages, which are to be settled; n is 1 to PrefetchMax. It waits
// for them, no longer than wait, and then returns what there is, maybe nothing. Who works
// on a queue all the time subscribes: that is less work for each message.
//
// It is use of the queue, for Expires, but no consumer that AutoDelete looks at.
func (q *Queue) Get(ctx context.Context, n int, wait time.Duration) ([]*QueueDelivery, error) {
	q.catchUp(ctx)
	until := time.Now().Add(wait)
	for try := 0; ; try++ {
		c, err := q.sys.newQueueConsumer(ctx, q.info.name, q, ConsumeOptions{Name: "get", Prefetch: n}, nil, true)
		if err != nil {
			return nil, err
		}
		got, err := c.get(ctx, n, until)
		if !isInterruption(err) || pause(ctx, try) != nil { // what came of a queue that failed is void
			return got, err
		}
	}
}

// address implements queueSource.
func (q *Queue) address(ctx context.Context) (*pactor.PID, error) {
	return q.sys.queueActor(ctx, q.info)
}

func (q *Queue) settleTimeout() time.Duration { return q.info.config().SettleTimeout }

// Purge drops all messages that wait, for good; not those in the hands of consumers. It
// returns how many there were.
func (q *Queue) Purge(ctx context.Context) (int, error) {
	q.catchUp(ctx)
	before, err := q.Stats(ctx)
	if err == nil {
		err = q.do(ctx, queue.Purge{})
	}
	if err != nil {
		return 0, err
	}
	after, err := q.Stats(ctx)
	return int(after.Purged - before.Purged), err
}

// Pause stops deliveries, publishing to the queue, or both, until Resume; what it does not
// name stays as it is. It outlasts restarts. Publishers are told ErrQueuePaused, or wait if they are to.
func (q *Queue) Pause(ctx context.Context, delivery, publishing bool) error {
	if !delivery && !publishing {
		return fmt.Errorf("pause queue %s: %w: neither deliveries nor publishing: to end a pause there is Resume", q.info.name, ErrInvalid)
	}
	return q.do(ctx, queue.Pause{Delivery: delivery, Publishing: publishing})
}

// Resume ends a pause.
func (q *Queue) Resume(ctx context.Context) error { return q.do(ctx, queue.Pause{}) }

// Stats says how the queue does. It does not wait for what was published just now: see
// CatchUp.
func (q *Queue) Stats(ctx context.Context) (QueueStats, error) {
	return askQueueActor[QueueStats](ctx, q.sys, q.info, askQueueStats{})
}

// Outcome says what became of a message: it waits, is in the hands of a consumer, was
// acknowledged, and so on. How a message ended is remembered for the newest of them: see
// QueueConfig.History.
func (q *Queue) Outcome(ctx context.Context, position MessageRef) (QueueOutcome, error) {
	o, err := look(ctx, q, func(core *queue.Queue) queue.Outcome { return core.Outcome(position) })
	if err != nil || o.Status != queue.StatusReady {
		return o, err
	}
	d, err := q.sys.directory(ctx)
	if err != nil {
		return o, err
	}
	in, _, _ := d.intakeOf(position.Log, q.info.id)
	loaded, err := q.sys.loadEntries(ctx, in, queue.Load{Log: position.Log, First: position.Offset, Next: position.Offset + 1})
	if err == nil && len(loaded.Entries) > 0 {
		o = dueBy(o, &loaded.Entries[0])
	}
	return o, err
}

// look asks the queue's actor something. f must only look.
func look[T any](ctx context.Context, q *Queue, f func(*queue.Queue) T) (T, error) {
	return askQueueActor[T](ctx, q.sys, q.info, askQueue{func(core *queue.Queue) any { return f(core) }})
}

// do carries out a command, and returns when it is durable.
func (q *Queue) do(ctx context.Context, c queue.Command) error {
	_, err := askQueueActor[queueDone](ctx, q.sys, q.info, queueRequest{c})
	return err
}

// QueueDelete says when a queue is deleted all the same.
type QueueDelete struct {
	IfUnused bool // only if it has no consumers; otherwise ErrInUse
	IfEmpty  bool // only if it has no messages; otherwise ErrInUse
}

// Delete deletes the queue, with its bindings and its messages, which are not
// dead-lettered. Its consumers are told that they are cancelled.
func (q *Queue) Delete(ctx context.Context, o QueueDelete) error {
	if o.IfEmpty {
		defer q.info.admission.shuts()() // nothing comes between the look and the deletion
		if err := q.CatchUp(ctx); err != nil {
			return err
		}
		if n := q.info.admission.onTheWay(); n > 0 {
			return fmt.Errorf("delete queue %s: %w: %d messages are being published to it", q.info.name, ErrInUse, n)
		}
	}
	if o.IfUnused || o.IfEmpty {
		s, err := q.Stats(ctx)
		switch {
		case err != nil:
			return err
		case o.IfUnused && s.Consumers > 0:
			return fmt.Errorf("delete queue %s: %w: it has %d consumers", q.info.name, ErrInUse, s.Consumers)
		case o.IfEmpty && s.Live > 0:
			return fmt.Errorf("delete queue %s: %w: it has %d messages", q.info.name, ErrInUse, s.Live)
		}
	}
	return q.sys.deleteQueue(ctx, q.info.name, q.info.id)
}

// Close ends the handle: a queue that is exclusive to it is deleted.
func (q *Queue) Close(ctx context.Context) error {
	if !q.own {
		return nil
	}
	err := q.sys.deleteQueue(ctx, q.info.name, q.info.id)
	if errors.Is(err, ErrNoQueue) {
		return nil
	}
	return err
}
