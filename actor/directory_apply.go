package actor

import (
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/routing"
)

func (c *declareExchange) apply(d *queueDirectory) (any, error) {
	d.next.Exchange = max(d.next.Exchange, c.Number+1)
	if x, ok := d.exchanges.get(c.Name); ok {
		return x, differences(&x.config, &c.Config)
	}
	if _, err := d.table.Apply(routing.DeclareExchange{Exchange: c.Config.routing(c.Name)}); err != nil {
		return nil, err
	}
	x := newExchangeInfo(c.Number, c.Name, c.Config)
	d.exchanges.put(c.Name, x)
	return x, nil
}

func (c *deleteExchange) apply(d *queueDirectory) (any, error) {
	effects, err := d.table.Apply(routing.DeleteExchange{Name: c.Name, IfUnused: c.IfUnused})
	d.follow(effects)
	return done{}, err
}

// follow does what follows from changes of the table: exchanges may be gone, also
// because their last binding is.
func (d *queueDirectory) follow(effects []routing.Effect) {
	for _, e := range effects {
		if gone, ok := e.(routing.ExchangeDeleted); ok {
			d.exchangeGone(gone.Name)
		}
	}
}

func (d *queueDirectory) exchangeGone(name string) {
	x, ok := d.exchanges.get(name)
	if !ok {
		return
	}
	d.exchanges.delete(name)
	x.gone.Store(true)
	if x.config.Topic != "" {
		return
	}
	for _, l := range d.logs.all() {
		if l.topic == x.topic(false) || l.topic == x.topic(true) {
			l.orphaned.Store(true)
			d.notify(logOrphaned{l})
		}
	}
}

func (c *declareQueue) apply(d *queueDirectory) (any, error) {
	c.Config = c.Config.withDefaults() // it may be of a time when there were fewer of them
	d.next.Queue = max(d.next.Queue, c.ID+1)
	if err := checkShard(c.Shard); err != nil {
		return nil, err
	}
	if q, ok := d.byName.get(c.Name); ok {
		if q.config().Exclusive {
			return nil, ErrLocked
		}
		return q, differences(q.config(), &c.Config)
	}
	d.born = &queueInfo{id: c.ID, name: c.Name, shard: c.Shard, admission: newAdmission(c.Name, &c.Config)}
	if d.sys.messaging != nil {
		d.born.figures = new(queueFigures)
	}
	d.born.settings.Store(&c.Config)
	if _, err := d.table.Apply(routing.DeclareTarget{Destination: toQueue(c.Name)}); err != nil {
		return nil, err
	}
	return d.born, nil
}

// shardsMax is how many shards there can ever be.
const shardsMax = 256

func checkShard(shard int) error {
	if shard < 0 || shard >= shardsMax {
		return fmt.Errorf("%w: there is no shard %d", ErrInvalid, shard)
	}
	return nil
}

func toQueue(name string) routing.Destination {
	return routing.Destination{Kind: routing.ToQueue, Name: name}
}

func (c *alterQueue) apply(d *queueDirectory) (any, error) {
	q, ok := d.byName.get(c.Name)
	if !ok {
		return nil, ErrNoQueue
	}
	config := c.Config.withDefaults() // as in declareQueue
	has := q.config()
	if c.Was != nil {
		if was := c.Was.withDefaults(); differences(has, &was) != nil {
			return nil, errAltered
		}
	}
	if has.Transient != config.Transient || has.Exclusive != config.Exclusive {
		return nil, fmt.Errorf("%w: Transient and Exclusive are for life: declare another queue", ErrConflict)
	}
	q.settings.Store(&config)
	q.admission.configure(&config)
	d.notify(queueAltered{q})
	return q, nil
}

func (c *deleteQueue) apply(d *queueDirectory) (any, error) {
	q, ok := d.byName.get(c.Name)
	if !ok || c.ID != 0 && q.id != c.ID {
		return nil, ErrNoQueue
	}
	effects, err := d.table.Apply(routing.DeleteTarget{Destination: toQueue(c.Name)})
	if err != nil {
		return nil, err
	}
	q.admission.close()
	d.byName.delete(q.name)
	d.byID.delete(q.id)
	for b := range d.topics {
		if b.queue == q.id {
			delete(d.topics, b)
		}
	}
	for k, f := range d.feeds {
		if k.queue == q.id {
			d.endFeed(f)
		}
	}
	d.notify(queueDeleted{q})
	d.follow(effects)
	return done{}, nil
}

// apply declares a topic with its first binding. Whether there is such a topic was
// looked at before.
func (c *bind) apply(d *queueDirectory) (any, error) {
	if c.Binding.Kind == routing.ToTopic {
		if _, err := d.table.Apply(routing.DeclareTarget{Destination: c.Binding.Destination}); err != nil {
			return nil, err
		}
	}
	_, err := d.table.Apply(routing.Bind{Binding: c.Binding})
	if err != nil {
		d.dropTopic(c.Binding.Destination)
	}
	return done{}, inUsersWords(err)
}

func (c *unbind) apply(d *queueDirectory) (any, error) {
	effects, err := d.table.Apply(routing.Unbind{Binding: c.Binding})
	d.follow(effects)
	d.dropTopic(c.Binding.Destination)
	return done{}, inUsersWords(err)
}

// dropTopic forgets a topic that nothing is bound to any more.
func (d *queueDirectory) dropTopic(to routing.Destination) {
	if to.Kind == routing.ToTopic && len(d.table.To(to)) == 0 {
		d.table.Apply(routing.DeleteTarget{Destination: to})
	}
}

// inUsersWords has an error of the routing table be one of this package.
func inUsersWords(err error) error {
	if errors.Is(err, routing.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrNoExchange, err)
	}
	return err
}
