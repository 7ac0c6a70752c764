package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/once"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime"
)

// fulfilment is a consumer group that charges each order and has the rest of the work
// done by others: it publishes a task, which goes to a queue for each kind of worker.
type fulfilment struct {
	bank    *outside
	charges *once.Ledger[Receipt]
	tasks   *actor.ExchangePublisher
}

// Receipt is what the bank says.
type Receipt struct {
	Order string
	Cents int64
}

// fulfilTogether is how many orders of a partition are worked on at a time: those of one
// card one after the other.
const fulfilTogether = 64

func (f *fulfilment) join(ctx context.Context, e *runtime.Engine, stopped func(error)) (*topics.Consumer[Order], error) {
	return bus.NewConsumer(ctx, e, groupFulfilment, f.order,
		topics.Instance(groupFulfilment), // a run that was killed need not be missed first
		topics.Concurrency(fulfilTogether),
		topics.CommitEvery(checkpointEvery),
		topics.Undecodable(actor.StopOnFailure{}),
		topics.Listen(actor.Listener{Stopped: func(_ actor.TopicPartition, err error) { stopped(err) }}))
}

// order is done when the bank has charged it and its tasks are in the queues. A run that
// dies in between does it again: the ledger knows of the charge, and the exchange drops
// the task if it has its id.
func (f *fulfilment) order(ctx context.Context, d *topics.Delivery[Order]) error {
	o := d.Value
	_, _, err := f.charges.Do(ctx, o.ID, func(_ context.Context, doubt bool) (Receipt, error) {
		if doubt && f.bank.has(o.ID) {
			return Receipt{o.ID, o.Cents}, nil
		}
		return Receipt{o.ID, o.Cents}, f.bank.act(act{Order: o.ID, Did: "charge", Cents: o.Cents})
	})
	if err != nil {
		return err
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	c, err := f.tasks.PublishSync(ctx, &actor.Message{RoutingKey: keyPaid, MessageID: o.ID, ContentType: "application/json", Body: body})
	if err == nil && !c.Duplicate && c.Queues != len(crews) {
		err = fmt.Errorf("order %s has reached %d queues, not %d", o.ID, c.Queues, len(crews))
	}
	return err
}
