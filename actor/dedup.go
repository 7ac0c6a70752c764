package actor

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/routing"
)

// rememberedIDs are the ids of messages that were published to an exchange of late, and
// of those that are being published. Ids are known by 128 bits of hashes. It needs no
// journal: after a restart it is read from the log, whose messages have their ids.
type rememberedIDs struct {
	recalling chan struct{} // held by who reads the log; a channel, to wait within a context

	mu       sync.Mutex
	recalled bool
	config   Dedup
	seeds    [2]maphash.Seed
	known    map[idKey]*rememberedID
	order    []idKey // of those that are settled: the oldest first
	begin    int     // of order
}

type idKey [2]uint64

// rememberedID is a message of some id.
type rememberedID struct {
	at       int64 // confirmed, in Unix ms; 0: it is under way
	conf     Confirmation
	watchers []func(Confirmation, error) // duplicates that came while it was under way
}

// claim is the right to publish the message of an id, which has to be settled. The zero
// claim is that of a message that needs none.
type claim struct {
	key idKey
	has bool
}

func newRememberedIDs(c Dedup) *rememberedIDs {
	return &rememberedIDs{recalling: make(chan struct{}, 1), config: c, known: map[idKey]*rememberedID{},
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

func (m *rememberedIDs) key(id string) idKey {
	return idKey{maphash.String(m.seeds[0], id), maphash.String(m.seeds[1], id)}
}

// claim takes the id of a draft, if it has one and its exchange remembers them. known is
// the receipt of a duplicate.
func (p *ExchangePublisher) claim(d *draft, done func(Confirmation, error)) (c claim, known *Receipt) {
	m := p.exchange.ids
	if !m.config.Enabled || d.envelope.MessageID == "" || d.message.Inside {
		return claim{}, nil
	}
	c = claim{m.key(d.envelope.MessageID), true}
	conf, first, found := m.find(c.key, time.Now().UnixMilli(), done)
	if !found {
		return c, nil
	}
	p.duplicates.Add(1)
	if first == nil && done != nil {
		p.sys.guard(p.exchange.name, func() { done(conf, nil) })
	}
	return claim{}, &Receipt{conf: conf, first: first}
}

// find looks for an id, and takes it if it is new. If its message is under way, first is
// told what becomes of it, and so is done, if it is not nil.
func (m *rememberedIDs) find(key idKey, now int64, done func(Confirmation, error)) (conf Confirmation, first *earlierReport, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(now)
	id := m.known[key]
	if id == nil {
		m.known[key] = &rememberedID{}
		return conf, nil, false
	}
	if id.at != 0 {
		conf = id.conf
		conf.Duplicate = true
		return conf, nil, true
	}
	first = &earlierReport{known: make(chan struct{})}
	id.watchers = append(id.watchers, first.tell)
	if done != nil {
		id.watchers = append(id.watchers, done)
	}
	return conf, first, true
}

// settle says what became of the message of a claim.
func (p *ExchangePublisher) settle(c claim, conf Confirmation, err error) {
	if !c.has {
		return
	}
	watchers := p.exchange.ids.settle(c.key, conf, err, time.Now().UnixMilli())
	conf.Duplicate = err == nil
	for _, tell := range watchers {
		p.sys.guard(p.exchange.name, func() { tell(conf, err) })
	}
}

// settle says what became of the message of an id, and returns who waits for that. One
// that has failed counts as none.
func (m *rememberedIDs) settle(key idKey, conf Confirmation, err error, now int64) (watchers []func(Confirmation, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.known[key]
	watchers = id.watchers
	if err != nil {
		delete(m.known, key)
		return watchers
	}
	m.remember(key, id, conf, now)
	return watchers
}

func (m *rememberedIDs) remember(key idKey, id *rememberedID, conf Confirmation, at int64) {
	id.at, id.conf, id.watchers = max(at, 1), conf, nil
	m.order = append(m.order, key)
	m.forget(at)
}

// forget drops what is older than the window, or one too many.
func (m *rememberedIDs) forget(now int64) {
	old := now - m.config.Window.Milliseconds()
	for len(m.order)-m.begin > 0 {
		key := m.order[m.begin]
		if m.known[key].at > old && len(m.order)-m.begin <= m.config.Messages {
			break
		}
		delete(m.known, key)
		m.begin++
	}
	if m.begin > len(m.order)/2 {
		m.order = append(m.order[:0], m.order[m.begin:]...)
		m.begin = 0
	}
}

// recall reads the ids of late from the logs of the exchange, once.
func (x *exchangeInfo) recall(ctx context.Context, d *queueDirectory) error {
	m := x.ids
	if !m.config.Enabled {
		return nil
	}
	select {
	case m.recalling <- struct{}{}:
		defer func() { <-m.recalling }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if m.recalled {
		return nil
	}
	from := time.Now().Add(-m.config.Window)
	for _, name := range append(x.logTopics(), d.boundTopics()...) {
		t, err := d.sys.Topic(ctx, name)
		if errors.Is(err, ErrNoTopic) {
			continue // nothing was published yet
		}
		for i := 0; err == nil && i < len(t.partitions); i++ {
			err = x.recallPartition(ctx, t, i, from)
		}
		if err != nil {
			return fmt.Errorf("read the ids of the messages published before: %w", err)
		}
	}
	m.recalled = true
	return nil
}

// boundTopics are the topics that exchanges lead to: what an exchange has published to no
// queue is in these alone.
func (d *queueDirectory) boundTopics() (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, to := range d.table.Targets() {
		if to.Kind == routing.ToTopic {
			all = append(all, to.Name)
		}
	}
	return all
}

// logTopics are those of an exchange of its own: of persistent and of transient messages.
func (x *exchangeInfo) logTopics() []string {
	if x.config.Topic != "" {
		return []string{x.config.Topic}
	}
	return []string{x.topic(false), x.topic(true)}
}

func (x *exchangeInfo) recallPartition(ctx context.Context, t *Topic, partition int, from time.Time) error {
	bounds, err := t.Bounds(ctx, partition)
	if err != nil || bounds.First == bounds.Next {
		return err
	}
	at, err := t.OffsetAt(ctx, partition, from)
	if err != nil {
		return err
	}
	if most := uint64(x.ids.config.Messages); bounds.Next-at > most {
		at = bounds.Next - most
	}
	r, err := t.OpenReader(ctx, partition, FromOffset(max(at, bounds.First)))
	if err != nil {
		return err
	}
	defer r.Close()
	for r.Offset() < bounds.Next {
		batch, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if err := x.ids.recallBatch(batch, x.name); err != nil {
			return err
		}
	}
	return nil
}

func (m *rememberedIDs) recallBatch(batch *RecordBatch, exchange string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var r Record
	var e envelope.Envelope
	for batch.Next(&r) {
		if len(r.Headers) == 0 || r.Headers[0].Key != envelope.Key {
			continue // of somebody who publishes to the topic itself
		}
		if err := e.Decode(r.Headers[0].Value); err != nil {
			return err
		}
		if e.MessageID == "" || e.Hops > 0 || e.Exchange != exchange {
			continue
		}
		key := m.key(e.MessageID)
		if m.known[key] == nil {
			m.known[key] = &rememberedID{}
			m.remember(key, m.known[key], Confirmation{Queues: len(e.Queues)}, batch.Appended())
		}
	}
	return batch.Err()
}
