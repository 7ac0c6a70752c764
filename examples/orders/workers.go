package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/troupestream/troupe/actor"
)

// Task is what became of the task of a worker.
type Task struct {
	Order string `json:"order_id"`
	Crew  string `json:"task"`
	// Outcome is "done", or the reason for which it was given up.
	Outcome string `json:"outcome"`
	// How it went depends on when the program was killed; what came of it does not.
	Attempts    int    `json:"-"`
	Redelivered bool   `json:"-"`
	PDF         []byte `json:"-"`
}

const outcomeDone = "done"

var errBusy = errors.New("the mail server is busy")

// busyMax is how often the mail server has no time for an e-mail, at most.
const busyMax = 3

// busy is how often it has none for this one: for one of ten once or more.
func (s shop) busy(order string) int {
	h := fnv.New64a()
	fmt.Fprint(h, s.seed, " ", order)
	if n := h.Sum64(); n%10 == 0 {
		return 1 + int(n/10%busyMax)
	}
	return 0
}

// decode reads a task. One that cannot be read will not become better.
func decode(d *actor.QueueDelivery) (o Order, err error) {
	if err = json.Unmarshal(d.Body(), &o); err != nil {
		err = errors.Join(actor.ErrReject, err)
	}
	return o, err
}

// mailer sends an e-mail for an order, once: nobody can take one back. The server can be
// asked for it, which is needed when a run died between sending it and noting that.
func (c *company) mailer() actor.QueueHandler {
	return func(ctx context.Context, d *actor.QueueDelivery) error {
		o, err := decode(d)
		if err != nil {
			return err
		}
		_, _, err = c.mails.Do(ctx, o.ID, func(_ context.Context, doubt bool) (Task, error) {
			if d.Attempt() <= c.shop.busy(o.ID) {
				return Task{}, errBusy
			}
			if !doubt || !c.mail.has(o.ID) {
				if err := c.mail.act(act{Order: o.ID, Did: "mail"}); err != nil {
					return Task{}, err
				}
			}
			return done("email", o, d), nil
		})
		return err
	}
}

// printer makes an invoice. To do that twice would do no harm: the ledger keeps the PDF.
func (c *company) printer() actor.QueueHandler {
	return func(ctx context.Context, d *actor.QueueDelivery) error {
		o, err := decode(d)
		if err != nil {
			return err
		}
		_, _, err = c.invoices.Do(ctx, o.ID, func(context.Context, bool) (t Task, err error) {
			t = done("pdf", o, d)
			t.PDF, err = render(o)
			return t, err
		})
		if errors.Is(err, errFont) {
			return errors.Join(actor.ErrReject, err) // to try again will not help
		}
		return err
	}
}

func done(crew string, o Order, d *actor.QueueDelivery) Task {
	return Task{Order: o.ID, Crew: crew, Outcome: outcomeDone, Attempts: d.Attempt(), Redelivered: d.Redelivered()}
}

// bury notes what a queue has given up. A dead letter can come twice: its order and queue
// say which it is.
func (c *company) bury(ctx context.Context, d *actor.QueueDelivery) error {
	o, err := decode(d)
	if err != nil {
		return err
	}
	for _, death := range d.Deaths() {
		_, _, err := c.dead.Do(ctx, death.Queue+" "+o.ID, func(context.Context, bool) (Task, error) {
			return Task{Order: o.ID, Crew: death.Queue, Outcome: death.Reason, Attempts: death.Attempts, Redelivered: death.Attempts > 1}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
