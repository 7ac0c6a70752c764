package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/once"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// checkpointEvery bounds what is done again after a crash.
const checkpointEvery = 200 * time.Millisecond

// company is all that works on the orders, in one process.
type company struct {
	shop    shop
	results string // directory
	engine  *runtime.Engine
	fail    context.CancelCauseFunc

	bank, mail            *outside
	charges               *once.Ledger[Receipt]
	mails, invoices, dead *once.Ledger[Task]
	queues                []*actor.Queue // of the crews
	jobs                  []*runtime.Job

	closers []func(context.Context) error // in the order of opening
}

// path is where a result is.
func (c *company) path(name string) string { return filepath.Join(c.results, name) }

// open has everybody at work but the shop.
func (c *company) open(ctx context.Context) error {
	for _, step := range []func(context.Context) error{c.openOutside, c.openLedgers, c.declare, c.hire, c.fulfil, c.start} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *company) closing(f func(context.Context) error) { c.closers = append(c.closers, f) }

// close ends what open began, the last first: who takes work before those who are needed
// for it.
func (c *company) close(ctx context.Context) (err error) {
	for i := len(c.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, c.closers[i](ctx))
	}
	return err
}

func (c *company) openOutside(context.Context) error {
	for name, o := range map[string]**outside{"bank.ndjson": &c.bank, "mail.ndjson": &c.mail} {
		opened, err := openOutside(c.path(name))
		if err != nil {
			return err
		}
		*o = opened
		c.closing(func(context.Context) error { return opened.close() })
	}
	return nil
}

func (c *company) openLedgers(ctx context.Context) (err error) {
	if c.charges, err = openLedger[Receipt](ctx, c, "charges"); err != nil {
		return err
	}
	for name, l := range map[string]**once.Ledger[Task]{"mails": &c.mails, "invoices": &c.invoices, "dead-tasks": &c.dead} {
		if *l, err = openLedger[Task](ctx, c, name); err != nil {
			return err
		}
	}
	return nil
}

func openLedger[R any](ctx context.Context, c *company, name string) (*once.Ledger[R], error) {
	l, err := once.Open[R](ctx, c.engine, name, once.Options{})
	if err == nil {
		c.closing(l.Close)
	}
	return l, err
}

// declare makes the exchanges and queues, if there are none.
func (c *company) declare(ctx context.Context) error {
	sys := c.engine.System()
	// What is published again after a crash comes within the first moments of the next run,
	// whenever that is: so the ids of as many messages as there can be are remembered.
	dedup := actor.Dedup{Enabled: true, Window: 24 * time.Hour, Messages: max(c.shop.orders, 1)}
	if _, err := sys.DeclareExchange(ctx, exchangeTasks, actor.ExchangeConfig{Type: actor.TopicExchange, Dedup: dedup}); err != nil {
		return err
	}
	if _, err := sys.DeclareExchange(ctx, exchangeDead, actor.ExchangeConfig{Type: actor.Fanout}); err != nil {
		return err
	}
	if _, err := sys.DeclareQueue(ctx, queueDead, actor.QueueConfig{}); err != nil {
		return err
	}
	if err := sys.Bind(ctx, actor.Binding{Exchange: exchangeDead, Queue: queueDead}); err != nil {
		return err
	}
	for _, k := range crews {
		q, err := sys.DeclareQueue(ctx, k.queue, k.config())
		if err != nil {
			return err
		}
		c.queues = append(c.queues, q)
		if err := sys.Bind(ctx, actor.Binding{Exchange: exchangeTasks, Queue: k.queue, RoutingKey: k.binding}); err != nil {
			return err
		}
	}
	return nil
}

// hire has the crews at work, and who looks after what they give up.
func (c *company) hire(ctx context.Context) error {
	buried, err := c.engine.System().Queue(ctx, queueDead)
	if err != nil {
		return err
	}
	if err := c.consume(ctx, buried, actor.ConsumeOptions{Name: "desk"}, c.bury); err != nil {
		return err
	}
	for i, k := range crews {
		for n := range k.size {
			o := actor.ConsumeOptions{Name: fmt.Sprintf("%s-%d", k.queue, n+1), Prefetch: 2 * k.together, Concurrency: k.together}
			if err := c.consume(ctx, c.queues[i], o, k.work(c)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *company) consume(ctx context.Context, q *actor.Queue, o actor.ConsumeOptions, h actor.QueueHandler) error {
	o.Listener.Cancelled = func(err error) { c.fail(fmt.Errorf("%s has lost its queue: %w", o.Name, err)) }
	consumer, err := q.Consume(ctx, o, h)
	if err == nil {
		c.closing(consumer.Close)
	}
	return err
}

func (c *company) fulfil(ctx context.Context) error {
	x, err := c.engine.System().Exchange(ctx, exchangeTasks)
	if err != nil {
		return err
	}
	tasks, err := x.NewPublisher(ctx, actor.ExchangePublisherOptions{WaitWhenFull: true})
	if err != nil {
		return err
	}
	c.closing(tasks.Close)
	f := &fulfilment{bank: c.bank, charges: c.charges, tasks: tasks}
	consumer, err := f.join(ctx, c.engine, c.fail)
	if err == nil {
		c.closing(consumer.Close)
	}
	return err
}

// start starts the jobs. They end when they have read all orders that there will be.
func (c *company) start(ctx context.Context) error {
	ends := c.shop.ends()
	orders := func(job string) topology.Source[Order] { return sources.Topic(bus.InGroup(job).EndingAt(ends[:]...)) }
	for _, b := range []*topology.Builder{
		Analytics(orders(jobAnalytics), sinks.JSONLines[Minute](c.path("revenue.ndjson"))),
		Fraud(orders(jobFraud), sinks.JSONLines[Alert](c.path("alerts.ndjson"))),
	} {
		j, err := c.engine.Start(ctx, b, runtime.ExactlyOnce(), runtime.CheckpointEvery(checkpointEvery))
		if err != nil {
			return err
		}
		c.jobs = append(c.jobs, j)
	}
	return nil
}
