package actor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
)

// HeaderGroup names the consumer group, in a dead letter of a consumer.
const HeaderGroup = "troupe-group"

// mail publishes what a consumer puts elsewhere: dead letters, what it retries
// later, what it parks. It has one publisher for each topic, shared by all workers,
// so that what they send together is stored together.
type mail struct {
	consumer *Consumer

	mu     sync.Mutex
	boxes  map[string]*Publisher
	closed bool
}

// mailRetry is how long it waits before it tries again what a publisher has given up.
const mailRetry = time.Second

// declare returns a topic, and makes it if there is none.
func (m *mail) declare(ctx context.Context, name string) (*Topic, error) {
	return m.consumer.sys.ensure(ctx, name, topicFor(name))
}

// topicFor is how a topic is declared that a consumer puts records into: what is
// parked is kept until it is dealt with, however long that takes.
func topicFor(name string) TopicConfig {
	if strings.HasPrefix(name, parkedPrefix) {
		return TopicConfig{Retention: Retention{Forever: true}}
	}
	if _, delay, _ := cutLast(name, "-"); strings.HasPrefix(name, laterPrefix) {
		d, _ := time.ParseDuration(delay)
		return TopicConfig{Retention: Retention{Age: DeadLetterRetention + d}}
	}
	return TopicConfig{Retention: Retention{Age: DeadLetterRetention}}
}

// ensure returns a topic as it is, or declares it.
func (s *System) ensure(ctx context.Context, name string, config TopicConfig) (*Topic, error) {
	t, err := s.Topic(ctx, name)
	if errors.Is(err, ErrNoTopic) {
		t, err = s.Declare(ctx, name, config)
	}
	if err != nil {
		return nil, fmt.Errorf("open topic %s: %w", name, err)
	}
	return t, nil
}

// box returns the publisher of a topic.
func (m *mail) box(ctx context.Context, name string) (*Publisher, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return nil, fmt.Errorf("consumer of group %s: %w", m.consumer.options.Group, ErrClosed)
	case m.boxes[name] != nil:
		return m.boxes[name], nil
	}
	t, err := m.declare(ctx, name)
	if err != nil {
		return nil, err
	}
	p, err := t.NewPublisher(ctx, PublisherOptions{})
	if err == nil {
		m.boxes[name] = p
	}
	return p, err
}

// forget has the topic opened anew: its partitions may have stopped.
func (m *mail) forget(name string, p *Publisher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boxes[name] == p && p != nil {
		delete(m.boxes, name)
		m.end(p)
	}
}

// end closes a publisher that nobody needs any more.
func (m *mail) end(p *Publisher) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	end := func() { _ = p.Close(now) } // whoever waits for a record of it is told
	if !m.consumer.sys.Go(func(context.Context) { end() }) {
		go end()
	}
}

func (m *mail) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, p := range m.boxes {
		m.end(p)
	}
	m.boxes = nil
}

// send publishes a record and waits until it is durable: see sendAll.
func (m *mail) send(ctx context.Context, topic string, r *Record) error {
	_, err := m.sendAll(ctx, topic, []*Record{r})
	return err
}

// sendAll publishes records and waits until they are durable. What may pass is tried
// again for as long as ctx lasts: the records must not be lost, and whoever they are
// of waits. What the topic never takes is final. Records can be stored twice.
func (m *mail) sendAll(ctx context.Context, topic string, records []*Record) (at []uint64, err error) {
	if len(records) == 0 {
		return nil, nil
	}
	for {
		box, err := m.box(ctx, topic)
		if err == nil {
			if at, err = sendTo(ctx, box, partitionOf(topic), records); err == nil {
				return at, nil
			}
		}
		if ctx.Err() != nil || errors.Is(err, ErrClosed) || isNeverTaken(err) {
			return nil, err
		}
		m.consumer.sys.log.Error("a consumer cannot store records that failed, and tries again; their partition waits",
			"group", m.consumer.options.Group, "topic", topic, "error", err)
		m.forget(topic, box)
		if err := sleep(ctx, mailRetry); err != nil {
			return nil, err
		}
	}
}

// partitionOf is where in a topic records go: a parking topic has one partition that
// is looked at.
func partitionOf(topic string) int {
	if strings.HasPrefix(topic, parkedPrefix) {
		return 0
	}
	return AnyPartition
}

// sendTo publishes records together.
func sendTo(ctx context.Context, box *Publisher, partition int, records []*Record) ([]uint64, error) {
	at := make([]uint64, len(records))
	futures := make([]Future, len(records))
	var err error
	for i, r := range records {
		if futures[i], err = box.Publish(ctx, partition, r); err != nil {
			return nil, err
		}
	}
	for i, f := range futures {
		p, err := f.Wait(ctx)
		if err == nil && p.Offset == NoOffset {
			err = fmt.Errorf("topic %s: it is not known where a record went: %w", box.topic.name, ErrUnknown)
		}
		if err != nil {
			return nil, err
		}
		at[i] = p.Offset
	}
	return at, nil
}

// cutLast is strings.Cut at the last place.
func cutLast(s, at string) (before, after string, found bool) {
	if i := strings.LastIndex(s, at); i >= 0 {
		return s[:i], s[i+len(at):], true
	}
	return s, "", false
}

// put is send, for a policy: it says what becomes of the record.
func (m *mail) put(ctx context.Context, topic string, r *Record) Verdict {
	err := m.send(ctx, topic, r)
	switch {
	case err == nil:
		return Settled()
	case isNeverTaken(err):
		return Stop(err)
	}
	return Verdict{action: verdictUnwanted}
}

// isNeverTaken: the record is too large for a topic, or has no key where one is needed.
func isNeverTaken(err error) bool { return errors.Is(err, codec.ErrLimit) || errors.Is(err, ErrNoKey) }

// letter makes a dead letter.
func letter(o *ConsumerOptions, d *Delivery, err error) *Record {
	r := d.Record
	own := []Header{
		{Key: HeaderGroup, Value: []byte(o.Group)},
		{Key: HeaderOrigin, Value: fmt.Appendf(nil, "topic %s, partition %d, offset %d", d.Topic, d.Partition, d.Offset)},
		{Key: HeaderAttempts, Value: strconv.AppendInt(nil, int64(d.Attempt), 10)},
		{Key: HeaderError, Value: clipped(err.Error())},
	}
	if stack := dataflow.StackOf(err); stack != "" {
		own = append(own, Header{Key: HeaderStack, Value: clipped(stack)})
	}
	r.Headers = append(r.Headers[:len(r.Headers):len(r.Headers)], own...)
	if limitsCheck(&r) != nil { // better without a stack, and with the beginning of its error, than not at all
		own[3].Value = []byte(briefly(err))
		r.Headers = append(d.Headers[:len(d.Headers):len(d.Headers)], own[:4]...)
	}
	if limitsCheck(&r) != nil {
		r.Headers = own[:4]
		fit(&r)
	}
	return &r
}

// limitsCheck says whether a topic takes a record.
func limitsCheck(r *Record) error {
	limits := codec.DefaultLimits()
	return limits.Check(r)
}

// briefly is the beginning of an error, for a header or the journal of a group.
func briefly(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), 256)], "")
}
