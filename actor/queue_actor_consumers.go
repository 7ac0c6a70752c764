package actor

import (
	"errors"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/queue"
)

// queueConsumer is a consumer of a queue.
type queueConsumer struct {
	pid *pactor.PID
	// outbox is what is for it, in order, while bodies are being read for the first of
	// it: nothing passes a delivery.
	outbox []*outboxItem
}

// outboxItem is a message that waits, or waits for others.
type outboxItem struct {
	message    any       // nil: deliveries
	deliveries []arrival // the body of some is being read
	reading    bool
}

func (q *queueActor) subscribe(m subscribe, sender *pactor.PID) {
	if q.consumers[m.Consumer] != nil {
		q.answer(sender, errors.Join(queue.ErrInvalid, errors.New("there is a consumer of that name: names are unique for every start")))
		return
	}
	q.consumers[m.Consumer] = &queueConsumer{pid: m.consumer} // effects may follow at once
	err := q.apply(m.Subscribe)
	if err != nil {
		delete(q.consumers, m.Consumer)
	} else {
		q.ctx.Watch(m.consumer)
	}
	q.answer(sender, err)
}

// consumersGone: the actor of consumers has ended.
func (q *queueActor) consumersGone(pid *pactor.PID) {
	for name, k := range q.consumers {
		if k.pid.Equal(pid) {
			delete(q.consumers, name)
			q.apply(queue.Gone{Consumer: name}) // that it is not known is as well
		}
	}
}

func (q *queueActor) forgetConsumer(name string) {
	k := q.consumers[name]
	if k == nil {
		return
	}
	delete(q.consumers, name)
	for _, other := range q.consumers {
		if other.pid.Equal(k.pid) {
			return
		}
	}
	q.ctx.Unwatch(k.pid)
}

// settle applies what a consumer says of its deliveries.
func (q *queueActor) settle(m settle) {
	k := q.consumers[m.consumer] // it may end with this
	var refused []error
	do := func(c queue.Command) {
		if err := q.apply(c); err != nil {
			refused = append(refused, err)
		}
	}
	for _, tag := range m.started {
		do(queue.Started{Consumer: m.consumer, Tag: tag})
	}
	if len(m.acks) > 0 {
		do(queue.Ack{Consumer: m.consumer, Tags: m.acks})
	}
	for _, n := range m.nacks {
		n.Consumer = m.consumer
		do(n)
	}
	if m.extend {
		do(queue.Extend{Consumer: m.consumer})
	}
	q.measure()
	if k != nil {
		q.hold(heldBack{to: k.pid, message: deliveriesSettled{m.consumer, m.seq, refused}, patient: !m.hurry})
	}
}

// tellConsumer sends a message to a consumer, behind what waits for it.
func (q *queueActor) tellConsumer(name string, message any) {
	k := q.consumers[name]
	switch {
	case k == nil:
	case len(k.outbox) > 0:
		k.outbox = append(k.outbox, &outboxItem{message: message})
	default:
		q.tell(k.pid, message)
	}
}
