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
	return m.consumer.sys.ensure(ctx, name, TopicConfig{Retention: Retention{Age: DeadLetterRetention}})
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
		return nil, ErrClosed
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

// send publishes a record and waits until it is durable. What may pass is tried
// again for as long as ctx lasts: the record must not be lost, and whoever it is of
// waits. An ErrLimit is final.
func (m *mail) send(ctx context.Context, topic string, r *Record) (Published, error) {
	for {
		box, err := m.box(ctx, topic)
		if err == nil {
			var at Published
			if at, err = box.PublishSync(ctx, AnyPartition, r); err == nil {
				return at, nil
			}
		}
		if ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.Is(err, codec.ErrLimit) {
			return Published{}, err
		}
		m.consumer.sys.log.Error("a consumer cannot store a record that failed, and tries again; its partition waits",
			"group", m.consumer.options.Group, "topic", topic, "error", err)
		m.forget(topic, box)
		if err := sleep(ctx, mailRetry); err != nil {
			return Published{}, err
		}
	}
}

// put is send, for a policy: it says what becomes of the record.
func (m *mail) put(ctx context.Context, topic string, r *Record) Verdict {
	_, err := m.send(ctx, topic, r)
	switch {
	case err == nil:
		return Settled()
	case errors.Is(err, codec.ErrLimit):
		return Stop(err)
	}
	return Verdict{action: verdictUnwanted}
}

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
	limits := codec.DefaultLimits()
	if limits.Check(&r) != nil { // better without a stack, and with the beginning of its error, than not at all
		own[3].Value = []byte(briefly(err))
		r.Headers = append(d.Headers[:len(d.Headers):len(d.Headers)], own[:4]...)
	}
	if limits.Check(&r) != nil {
		r.Headers = own[:4]
		fit(&r)
	}
	return &r
}

// briefly is the beginning of an error, for a header or the journal of a group.
func briefly(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), 256)], "")
}
