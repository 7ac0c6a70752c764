package actor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	random "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/partitioner"
	"github.com/troupestream/troupe/internal/telemetry"
)

// Defaults of a publisher.
const (
	DefaultBufferBytes     = 32 << 20
	DefaultBatchBytes      = 256 << 10
	DefaultDeliveryTimeout = 2 * time.Minute
	DefaultRetryBackoff    = 50 * time.Millisecond
	DefaultRetryBackoffMax = time.Second

	// batchesUnderWay is how many batches of one partition are under way at once: two
	// appends' worth, so that one can be made while the other is on its way to the disk.
	batchesUnderWay = 8
)

// PublisherOptions configure a Publisher. The zero value is a publisher with the
// defaults.
type PublisherOptions struct {
	// ID names the producer, so that whoever publishes under it again, in
	// another process, say, goes on where the one before ended, and shuts it out.
	// Empty: a name of its own.
	ID string
	// Keyless chooses partitions for records without a key: nil is
	// partitioner.Sticky, which keeps to one partition for a batch.
	Keyless partitioner.Keyless
	// Partition chooses partitions for all records that do not name one; nil:
	// murmur2 of the key, as in Kafka, or Keyless. What it returns must be one of
	// 0 to partitions-1.
	Partition func(r *Record, partitions int) int
	// BufferBytes bounds the records that wait or are under way. Default 32 MiB.
	BufferBytes int
	// BatchBytes is the size from which on a batch takes no more records.
	// Default 256 KiB.
	BatchBytes int
	// FailFast: a record that there is no room for is refused with
	// ErrBackpressure. Otherwise Publish waits, within its context.
	FailFast bool
	// DeliveryTimeout is how long a record is tried for. Default 2 minutes.
	DeliveryTimeout time.Duration
	// RetryBackoff is how long it waits before it tries again; it doubles up to
	// RetryBackoffMax. Defaults 50 ms and 1 s.
	RetryBackoff    time.Duration
	RetryBackoffMax time.Duration
	// inside: its records were published before: see insideLimits.
	inside bool
}

// AnyPartition lets the publisher choose the partition of a record.
const AnyPartition = -1

// Publisher publishes single records to a topic, in batches that it makes of
// what comes while others are under way: a lone record goes at once, and none
// waits for time to pass. It is safe for concurrent use.
//
// It is idempotent. What fails in a way that may pass is tried again until
// DeliveryTimeout, in order, and is stored once whatever was lost on the way.
// Records of one goroutine for one partition keep their order; so do those of
// several that take turns.
//
// It publishes to partitions that are added to the topic as soon as they are there.
// From then on most keys go to another partition than before, as in Kafka.
type Publisher struct {
	topic   *Topic
	options PublisherOptions
	epoch   uint64
	room    *gate
	lanes   atomic.Pointer[[]*publisherLane] // by partition; there can become more
	meter   *telemetry.TopicMeter
	ctx     context.Context // ends when nothing is to be tried any more
	stop    context.CancelFunc
	group   sync.WaitGroup // goroutines of the lanes

	mu     sync.Mutex // held to change lanes
	named  bool       // by its user: there may be others of its id
	closed bool
}

// NewPublisher returns a publisher. Close it.
func (t *Topic) NewPublisher(ctx context.Context, o PublisherOptions) (*Publisher, error) {
	o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("publish to topic %s: %w", t.name, err)
	}
	epoch, next, err := t.takeOver(ctx, o.ID, 0)
	if err != nil {
		return nil, err
	}
	p := &Publisher{topic: t, options: o, epoch: epoch, room: newGate(o.BufferBytes), meter: t.sys.meter(t.name), named: o.ID != ""}
	if !p.named {
		p.options.ID = "publisher-" + rand.Text()
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.addLanes(nil, t.partitions, next)
	return p, nil
}

// addLanes goes on with lanes for all partitions. next says where the producer
// ended in those that it knows.
func (p *Publisher) addLanes(lanes []*publisherLane, partitions []*partitionRef, next map[int]uint64) {
	lanes = slices.Clip(lanes)
	for i := len(lanes); i < len(partitions); i++ {
		lanes = append(lanes, &publisherLane{publisher: p, partition: i, ref: partitions[i], wake: make(chan struct{}, 1),
			start: next[i], next: next[i]})
	}
	p.lanes.Store(&lanes)
}

// partitions returns the lanes, one for each partition that the topic has by now.
func (p *Publisher) partitions(ctx context.Context) ([]*publisherLane, error) {
	if lanes := *p.lanes.Load(); len(lanes) >= p.topic.settings.Load().Partitions {
		return lanes, nil
	}
	if err := p.grow(ctx); err != nil {
		return nil, fmt.Errorf("reach the partitions that were added: %w", err)
	}
	return *p.lanes.Load(), nil
}

// grow adds lanes for partitions that were added to the topic.
func (p *Publisher) grow(ctx context.Context) error {
	t, err := p.topic.sys.Topic(ctx, p.topic.name)
	if err != nil {
		return err
	}
	if t.incarnation != p.topic.incarnation {
		return fmt.Errorf("topic %s was deleted, and made anew: %w", t.name, ErrNoTopic)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	lanes := *p.lanes.Load()
	if len(lanes) >= t.Partitions() || p.closed {
		return nil
	}
	var next map[int]uint64
	if p.named {
		if _, next, err = t.takeOver(ctx, p.options.ID, len(lanes)); err != nil {
			return err
		}
	}
	p.addLanes(lanes, t.partitions, next)
	return nil
}

func (o *PublisherOptions) withDefaults() {
	orDefault(&o.BufferBytes, DefaultBufferBytes)
	orDefault(&o.BatchBytes, DefaultBatchBytes)
	orDefault(&o.DeliveryTimeout, DefaultDeliveryTimeout)
	orDefault(&o.RetryBackoff, DefaultRetryBackoff)
	orDefault(&o.RetryBackoffMax, max(o.RetryBackoff, DefaultRetryBackoffMax))
	if o.Keyless == nil {
		o.Keyless = &partitioner.Sticky{Bytes: o.BatchBytes}
	}
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (o *PublisherOptions) check() error {
	most := DefaultPartitionLimits().SectionBytes - codec.DefaultLimits().RecordBytes - codec.DefaultLimits().HeaderBytes
	switch {
	case o.BufferBytes < 0:
		return fmt.Errorf("BufferBytes is %d: it cannot be negative", o.BufferBytes)
	case o.BatchBytes < 1 || o.BatchBytes > most:
		return fmt.Errorf("BatchBytes is %d: it must be 1 to %d", o.BatchBytes, most)
	case o.DeliveryTimeout < 0 || o.RetryBackoff < 0 || o.RetryBackoffMax < 0:
		return errors.New("DeliveryTimeout, RetryBackoff and RetryBackoffMax cannot be negative")
	}
	return nil
}

// takeOver says where the producer of an id ended, in each partition from one on, and with
// which epoch to go on.
func (t *Topic) takeOver(ctx context.Context, id string, from int) (epoch uint64, next map[int]uint64, err error) {
	if id == "" {
		return 0, nil, nil
	}
	next = map[int]uint64{}
	for i := from; i < len(t.partitions); i++ {
		at, err := askPartition[producerStand](ctx, t, i, askProducer{id})
		if err != nil {
			return 0, nil, fmt.Errorf("take over producer %q of topic %s: %w", id, t.name, err)
		}
		if at.known {
			epoch, next[i] = max(epoch, at.epoch>>32+1), at.next
		}
	}
	// Two may take over at the same time. They must not have the same epoch, or
	// the records of one would be taken for repetitions of the other's.
	return epoch<<32 | uint64(random.Uint32()), next, nil
}

// ID is the id of the producer.
func (p *Publisher) ID() string { return p.options.ID }

// Publish begins to publish a record and returns what becomes of it. It waits only
// for room, within ctx, and fails if there is something wrong with the record.
// The record may be changed as soon as Publish returns. partition is
// AnyPartition, or the one that it goes to.
func (p *Publisher) Publish(ctx context.Context, partition int, r *Record) (Future, error) {
	return p.publish(ctx, partition, r, nil)
}

// PublishFunc is like Publish and calls done exactly once, unless it returns an
// error. done must not block; if it panics, that is logged. It is called where the
// partition does its work: so it cannot call Flush or Close, whatever their ctx, nor wait
// for another record, and may call Publish only where that does not wait for room (with
// FailFast). From a goroutine of its own it can do all of that.
func (p *Publisher) PublishFunc(ctx context.Context, partition int, r *Record, done func(Published, error)) error {
	_, err := p.publish(ctx, partition, r, done)
	return err
}

// PublishSync publishes a record and waits until it is as durable as the topic
// promises.
func (p *Publisher) PublishSync(ctx context.Context, partition int, r *Record) (Published, error) {
	f, err := p.Publish(ctx, partition, r)
	if err != nil {
		return Published{Partition: partition, Offset: NoOffset}, err
	}
	return f.Wait(ctx)
}

func (p *Publisher) publish(ctx context.Context, partition int, r *Record, done func(Published, error)) (Future, error) {
	limits := &recordLimits
	if p.options.inside {
		limits = &insideLimits
	}
	if err := limits.Check(r); err != nil {
		return Future{}, p.refused(err)
	}
	if r.Key == nil && p.topic.settings.Load().Compaction.Enabled {
		return Future{}, p.refused(ErrNoKey)
	}
	lanes, err := p.partitions(ctx)
	if err != nil {
		return Future{}, p.refused(err)
	}
	if partition, err = p.choose(partition, len(lanes), r); err != nil {
		return Future{}, p.refused(err)
	}
	size := recordSize(r)
	if err := pass(ctx, p.room, size, p.options.FailFast); err != nil {
		return Future{}, p.refused(err)
	}
	f, err := lanes[partition].add(r, size, done)
	if err != nil {
		p.room.leave(size)
		return Future{}, p.refused(err)
	}
	return f, nil
}

func (p *Publisher) refused(err error) error {
	return fmt.Errorf("publish to topic %s: %w", p.topic.name, err)
}

// recordLimits are looked at once for each record: so they are not copied.
var recordLimits = codec.DefaultLimits()

// insideLimits are those of records that were published before, and have to be again with
// more in their envelope. Publishers leave room in their batches for so much more.
var insideLimits = func() codec.Limits {
	l := codec.DefaultLimits()
	l.RecordBytes += l.HeaderBytes
	l.HeaderBytes += l.HeaderBytes
	l.HeaderCount++
	return l
}()

// recordSize is about what a record takes while it waits.
func recordSize(r *Record) int {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += recordOverhead + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

func (p *Publisher) choose(partition, n int, r *Record) (int, error) {
	switch {
	case partition != AnyPartition:
	case p.options.Partition != nil:
		partition = p.options.Partition(r, n)
	case r.Key != nil:
		return partitioner.Keyed(r.Key, n), nil
	default:
		return p.options.Keyless.Next(n, recordSize(r)), nil
	}
	return partition, partitioner.Check(partition, n)
}

// Flush waits until it is known of every record published so far what became of
// it, and the functions given to PublishFunc have returned. So they cannot call it.
func (p *Publisher) Flush(ctx context.Context) error {
	for _, l := range *p.lanes.Load() {
		for _, b := range l.awaited() {
			select {
			case <-b.settled:
			case <-ctx.Done():
				return fmt.Errorf("flush the publisher of topic %s: %w", p.topic.name, ctx.Err())
			}
		}
	}
	return nil
}

// Close refuses further records, and waits for those under way, as Flush does. When ctx ends
// first, they fail, with an ErrUnknown where they may be stored after all.
func (p *Publisher) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	for _, l := range *p.lanes.Load() {
		l.close()
	}
	p.mu.Unlock()
	err := p.Flush(ctx)
	p.stop()
	p.group.Wait()
	return err
}
