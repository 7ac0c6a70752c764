package actor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupestream/troupe/internal/routing"
)

// Exchange is a handle on an exchange. It is safe for concurrent use, and ends with
// its system.
type Exchange struct {
	sys  *System
	d    *queueDirectory
	info *exchangeInfo
}

// Name returns the exchange's name; "" is the default exchange.
func (x *Exchange) Name() string { return x.info.name }

// Config returns what the exchange was declared with.
func (x *Exchange) Config() ExchangeConfig { return x.info.config }

// ExchangeInfo is an exchange and its configuration.
type ExchangeInfo struct {
	Name string
	ExchangeConfig
	// LogTopic is the topic that its messages are in; "" for the default exchange, whose
	// messages are in those of its queues' shards.
	LogTopic string
}

// DeclareExchange returns the exchange of that name, and creates it when there is none.
// It may be called any number of times; a configuration that differs from that of the
// existing exchange is an ErrConflict that names the difference. A name has 1 to 255
// bytes; those that begin with "amq." are Troupe's own, and there are amq.direct,
// amq.fanout, amq.topic, amq.headers and amq.match from the start.
func (s *System) DeclareExchange(ctx context.Context, name string, config ExchangeConfig) (*Exchange, error) {
	fail := func(err error) (*Exchange, error) { return nil, fmt.Errorf("declare exchange %q: %w", name, err) }
	config = config.withDefaults()
	err := config.check()
	if !isPredeclared(name) {
		err = errors.Join(checkOwnName("exchange", name), err)
	}
	if name == "" {
		err = routing.ErrDefaultExchange
	}
	if err != nil {
		return fail(err)
	}
	d, err := s.directory(ctx)
	if err != nil {
		return fail(err)
	}
	if config.Topic != "" {
		if _, err := s.Topic(ctx, config.Topic); err != nil {
			return fail(err)
		}
	}
	info, ok := d.exchanges.get(name)
	if ok {
		err = differences(&info.config, &config)
	} else {
		info, err = amend[*exchangeInfo](ctx, d, &declareExchange{Name: name, Config: config})
	}
	if err != nil {
		return fail(err)
	}
	return &Exchange{s, d, info}, nil
}

// Exchange returns an exchange that was declared before; "" is the default exchange,
// which reaches every queue by its name.
func (s *System) Exchange(ctx context.Context, name string) (*Exchange, error) {
	d, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	info, err := d.exchange(name)
	if err != nil {
		return nil, err
	}
	return &Exchange{s, d, info}, nil
}

// Exchanges lists the exchanges by name, the default one first.
func (s *System) Exchanges(ctx context.Context) ([]ExchangeInfo, error) {
	d, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	var all []ExchangeInfo
	for _, x := range d.exchanges.all() {
		info := ExchangeInfo{Name: x.name, ExchangeConfig: x.config}
		if x.number != 0 {
			info.LogTopic = x.topic(false)
		}
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b ExchangeInfo) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// DeleteExchange deletes an exchange and its bindings. ifUnused: only if nothing is
// bound to it; otherwise it is ErrInUse. What was published to it stays in the queues,
// and its log is deleted when they have done with it.
func (s *System) DeleteExchange(ctx context.Context, name string, ifUnused bool) error {
	fail := func(err error) error { return fmt.Errorf("delete exchange %q: %w", name, err) }
	if name == "" || isPredeclared(name) {
		return fail(fmt.Errorf("%w: it is always there", ErrReserved))
	}
	d, err := s.directory(ctx)
	if err != nil {
		return fail(err)
	}
	x, err := d.exchange(name)
	if err == nil {
		_, err = amend[done](ctx, d, &deleteExchange{Name: name, IfUnused: ifUnused})
	}
	if err == nil && x.config.Topic == "" {
		err = d.dropUnread(ctx, x)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// dropUnread deletes the logs of an exchange that is gone, unless queues read them.
func (d *queueDirectory) dropUnread(ctx context.Context, x *exchangeInfo) error {
	own := map[string]storedTopic{}
	for _, transient := range []bool{false, true} {
		own[x.topic(transient)] = storedTopic{}
	}
	var err error
	for _, c := range d.deadLogs(nil, own) {
		err = errors.Join(err, d.forgetLog(ctx, c.ID))
	}
	for topic := range own {
		err = errors.Join(err, d.dropTopicOf(ctx, topic))
	}
	return err
}

// Bind makes a binding. It may be made any number of times.
func (s *System) Bind(ctx context.Context, b Binding) error {
	return s.rebind(ctx, b, "bind", func(r routing.Binding) command { return &bind{r} })
}

// Unbind removes a binding: the very same, arguments included. There is nothing to do
// if it does not exist.
func (s *System) Unbind(ctx context.Context, b Binding) error {
	return s.rebind(ctx, b, "unbind", func(r routing.Binding) command { return &unbind{r} })
}

func (s *System) rebind(ctx context.Context, b Binding, verb string, of func(routing.Binding) command) error {
	r, err := b.routing()
	if err != nil {
		return fmt.Errorf("%s exchange %q: %w", verb, b.Exchange, err)
	}
	d, err := s.directory(ctx)
	if err == nil {
		err = d.ends(ctx, &b)
	}
	if err == nil {
		_, err = amend[done](ctx, d, of(r))
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, r, err)
	}
	return nil
}

// ends checks that what a binding leads from and to is there.
func (d *queueDirectory) ends(ctx context.Context, b *Binding) error {
	if b.Exchange == "" {
		return routing.ErrDefaultExchange
	}
	_, err := d.exchange(b.Exchange)
	if b.ToExchange != "" && err == nil {
		_, err = d.exchange(b.ToExchange)
	}
	if _, ok := d.queue(b.Queue); b.Queue != "" && !ok && err == nil {
		err = ErrNoQueue
	}
	if b.Topic != "" && err == nil {
		if err = CheckName(b.Topic); err == nil {
			_, err = d.sys.Topic(ctx, b.Topic)
		}
	}
	return err
}

// Bindings lists the bindings of an exchange, sorted; those of all exchanges if it is
// "". That the default exchange reaches every queue is not listed.
func (s *System) Bindings(ctx context.Context, exchange string) ([]Binding, error) {
	d, err := s.directory(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := d.exchange(exchange); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Binding
	for _, x := range d.table.Exchanges() {
		if exchange != "" && x.Name != exchange {
			continue
		}
		for _, b := range d.table.From(x.Name) {
			all = append(all, bindingOf(b))
		}
	}
	return all, nil
}

// BindTopic makes every record of a topic, from a place on, a message of a queue. The
// topic stays what it is to everybody else. Doing it again changes nothing. It ends with
// UnbindTopic, the queue, or the topic.
func (s *System) BindTopic(ctx context.Context, topic, queue string, from From) error {
	fail := func(err error) error { return fmt.Errorf("bind queue %s to topic %s: %w", queue, topic, err) }
	if err := CheckName(topic); err != nil {
		return fail(err)
	}
	d, err := s.directory(ctx)
	if err != nil {
		return fail(err)
	}
	q, ok := d.queue(queue)
	if !ok {
		return fail(ErrNoQueue)
	}
	t, err := s.Topic(ctx, topic)
	if err != nil {
		return fail(err)
	}
	c := &bindTopic{Topic: topic, Incarnation: t.incarnation, Queue: q.id}
	for i := range t.partitions {
		at, err := (&Reader{topic: t, partition: i, ref: t.partitions[i]}).resolve(ctx, from)
		if err != nil {
			return fail(err)
		}
		c.Logs = append(c.Logs, declaredLog{Partition: i, From: at})
	}
	if err = t.hold(ctx); err != nil {
		return fail(err)
	}
	if _, err = amend[done](ctx, d, c); err != nil {
		return fail(err)
	}
	return nil
}

// UnbindTopic ends what BindTopic began. What the topic has by then is in the queue, and
// stays there.
func (s *System) UnbindTopic(ctx context.Context, topic, queue string) error {
	d, err := s.directory(ctx)
	if err != nil {
		return err
	}
	q, ok := d.queue(queue)
	if !ok {
		return fmt.Errorf("unbind queue %s from topic %s: %w", queue, topic, ErrNoQueue)
	}
	ends, err := d.endsOf(ctx, topic)
	if err != nil {
		return fmt.Errorf("unbind queue %s from topic %s: %w", queue, topic, err)
	}
	for log, end := range ends {
		ends[log] = s.holds.limit(log, q.id, end)
	}
	if _, err = amend[done](ctx, d, &unbindTopic{topic, q.id, ends}); err != nil {
		for log := range ends {
			s.holds.unlimit(log, q.id)
		}
	}
	return err
}

// endsOf returns where the logs of a topic end now; nil: there is no such topic.
func (d *queueDirectory) endsOf(ctx context.Context, topic string) (map[uint32]uint64, error) {
	t, err := d.sys.Topic(ctx, topic)
	if errors.Is(err, ErrNoTopic) {
		return nil, nil
	}
	ends := map[uint32]uint64{}
	for i := 0; err == nil && i < t.Partitions(); i++ {
		var b Bounds
		if id, ok := d.logIDs.get(logKey{topic, t.incarnation, i}); ok {
			b, err = t.Bounds(ctx, i)
			ends[id] = b.Next
		}
	}
	return ends, err
}

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
		return q, nil
	}
	q, err := amend[*queueInfo](ctx, d, &declareQueue{Name: name, Shard: shardOf(name), Config: config})
	if err != nil {
		return fail(err)
	}
	return q, nil
}

// alterQueue changes the configuration of a queue: f is given what it is.
func (s *System) alterQueue(ctx context.Context, name string, f func(*QueueConfig)) (*queueInfo, error) {
	fail := func(err error) (*queueInfo, error) { return nil, fmt.Errorf("alter queue %q: %w", name, err) }
	d, err := s.directory(ctx)
	if err != nil {
		return fail(err)
	}
	q, ok := d.queue(name)
	if !ok {
		return fail(ErrNoQueue)
	}
	config := *q.config()
	f(&config)
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return fail(err)
	}
	if q, err = amend[*queueInfo](ctx, d, &alterQueue{name, config}); err != nil {
		return fail(err)
	}
	return q, nil
}

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
