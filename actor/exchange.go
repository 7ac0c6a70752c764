package actor

import (
	"context"
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
