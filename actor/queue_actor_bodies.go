package actor

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/queue"
)

// bodyRun is how far apart two messages may be whose bodies are read at once.
const bodyRun = 256

// bodiesRead says that the bodies of deliveries were read, as far as there are any.
type bodiesRead struct {
	run      uint64
	consumer string
	item     *outboxItem
}

// chunkRead says what a range of a log has for the queue.
type chunkRead struct {
	run    uint64
	loaded queue.Loaded
}

func (bodiesRead) IgnoreDeadLetterLogging() {}
func (chunkRead) IgnoreDeadLetterLogging()  {}

// deliver sends messages to a consumer with the pages that their bodies are on. Those
// that are not in memory are read first.
func (q *queueActor) deliver(e queue.Deliver) {
	k := q.consumers[e.Consumer]
	if k == nil {
		return
	}
	if q.info.figures != nil {
		q.tally.deliver(e.Deliveries)
		q.delivers.Delivered(len(e.Deliveries))
	}
	all, missing := q.withPages(e.Deliveries)
	if missing == 0 && len(k.outbox) == 0 {
		q.tell(k.pid, delivered{e.Consumer, all})
		return
	}
	item := &outboxItem{deliveries: all, reading: missing > 0}
	k.outbox = append(k.outbox, item)
	if item.reading {
		q.readBodies(e.Consumer, item)
	}
}

func (q *queueActor) withPages(deliveries []queue.Delivery) (all []arrival, missing int) {
	all = make([]arrival, len(deliveries))
	var p *page
	for i := range deliveries {
		d := &deliveries[i]
		if !p.covers(d.Body) {
			p = q.sys.pages.find(d.Body.Log, d.Body.Offset)
		}
		if p == nil {
			missing++
		}
		all[i] = arrival{*d, p}
	}
	return all, missing
}

// readBodies reads what is missing. Nobody else looks at the item until that is done.
func (q *queueActor) readBodies(consumer string, item *outboxItem) {
	sys, run, name := q.sys, q.run, q.info.name
	q.background(func(ctx context.Context) any {
		refs := make([]queue.Ref, 0, len(item.deliveries))
		for i := range item.deliveries {
			if item.deliveries[i].page == nil {
				refs = append(refs, item.deliveries[i].Body)
			}
		}
		found := map[queue.Ref]*page{}
		sys.readPages(ctx, name, refs, func(ref queue.Ref, p *page) { found[ref] = p })
		for i := range item.deliveries {
			if d := &item.deliveries[i]; d.page == nil {
				d.page = found[d.Body]
			}
		}
		return bodiesRead{run, consumer, item}
	})
}

// bodiesRead sends what no longer waits.
func (q *queueActor) bodiesRead(m bodiesRead) {
	k := q.consumers[m.consumer]
	if m.run != q.run || k == nil {
		return
	}
	m.item.reading = false
	for len(k.outbox) > 0 && !k.outbox[0].reading {
		item := k.outbox[0]
		k.outbox[0] = nil
		k.outbox = k.outbox[1:]
		if item.deliveries != nil {
			q.tell(k.pid, delivered{m.consumer, item.deliveries})
		} else {
			q.tell(k.pid, item.message)
		}
	}
}

// readPages reads the pages of messages and calls f for each message that there is. It
// tries until it knows, or ctx ends.
func (s *System) readPages(ctx context.Context, name string, refs []queue.Ref, f func(queue.Ref, *page)) {
	for len(refs) > 0 && ctx.Err() == nil {
		n := runOf(refs)
		s.readRun(ctx, name, refs[:n], f)
		refs = refs[n:]
	}
}

// runOf is how many messages, from the first on, are read at once.
func runOf(refs []queue.Ref) int {
	n := 1
	for n < len(refs) && refs[n].Log == refs[0].Log && refs[n].Offset > refs[n-1].Offset && refs[n].Offset-refs[n-1].Offset <= bodyRun {
		n++
	}
	return n
}

func (s *System) readRun(ctx context.Context, name string, refs []queue.Ref, f func(queue.Ref, *page)) {
	for try := 0; len(refs) > 0; try++ {
		err := s.fetchPages(ctx, refs[0].Log, refs[0].Offset, refs[len(refs)-1].Offset+1, func(p *page) error {
			for len(refs) > 0 && refs[0].Offset < p.end {
				if p.covers(refs[0]) {
					f(refs[0], p)
				}
				refs = refs[1:]
			}
			return nil
		})
		var gone *OffsetError
		switch {
		case err == nil, errors.Is(err, ErrNoTopic), ctx.Err() != nil:
			return
		case errors.As(err, &gone):
			for len(refs) > 0 && refs[0].Offset < gone.First {
				refs = refs[1:]
			}
		default:
			s.log.Warn("bodies of messages cannot be read; it is tried again", "queue", name, "log", refs[0].Log, "error", err)
		}
		if try > 0 && pause(ctx, try) != nil {
			return
		}
	}
}

// load reads a chunk of the queue again.
func (q *queueActor) load(l queue.Load) {
	sys, run, name := q.sys, q.run, q.info.name
	in, _, _ := q.intake(l.Log, q.info.id)
	q.background(func(ctx context.Context) any {
		loaded, err := sys.loadEntries(ctx, in, l)
		for try := 0; err != nil; try++ {
			sys.log.Warn("messages of a queue cannot be read; it is tried again", "queue", name, "log", l.Log, "error", err)
			if pause(ctx, try) != nil {
				return nil
			}
			loaded, err = sys.loadEntries(ctx, in, l)
		}
		return chunkRead{run, loaded}
	})
}

// loadEntries reads what a range of a log has for a queue.
func (s *System) loadEntries(ctx context.Context, in intake, l queue.Load) (queue.Loaded, error) {
	loaded := queue.Loaded{Load: l, Begin: l.First}
	rest := offsets{l.First, l.Next}
	var sorter sorter
	for {
		err := s.fetchPages(ctx, l.Log, rest.first, rest.next, func(p *page) error {
			loaded.Entries = sorter.of(loaded.Entries, &in, p, rest)
			rest.first = p.end
			return nil
		})
		var gone *OffsetError
		switch {
		case errors.Is(err, ErrNoTopic):
			loaded.Begin = l.Next
			return loaded, nil
		case !errors.As(err, &gone) || gone.First <= rest.first:
			return loaded, err
		case gone.First >= l.Next:
			loaded.Begin = l.Next
			return loaded, nil
		}
		rest.first, loaded.Begin = gone.First, gone.First
	}
}

func (q *queueActor) chunkRead(m chunkRead) {
	if m.run != q.run {
		return
	}
	if err := q.apply(m.loaded); err != nil {
		panic(fmt.Errorf("queue %s: %w", q.info.name, err))
	}
}
