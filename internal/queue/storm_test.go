package queue

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func (w *world) draw(most int, what string) int { return rapid.IntRange(0, most).Draw(w.T, what) }

// step does one thing at random.
func (w *world) step() {
	switch w.draw(23, "what") {
	case 0, 1, 2, 3:
		for range w.draw(6, "n") {
			w.publishOne()
		}
	case 4, 5, 6, 7:
		w.take(uint32(1+w.draw(1, "log")), w.draw(9, "n"))
	case 8:
		w.subscribe()
	case 9, 10, 11, 12:
		w.ack()
	case 13, 14:
		w.nack()
	case 15:
		w.pass(w.draw(3000, "ms"))
	case 16:
		w.leave()
	case 17, 18:
		w.start()
	case 19:
		w.deadLetters()
	case 20:
		w.flush()
	case 21:
		w.rare()
	case 22:
		w.extend()
	case 23:
		if w.draw(2, "crash") == 0 {
			w.crash()
		} else {
			w.save()
		}
	}
}

func (w *world) rare() {
	switch w.draw(5, "rarely") {
	case 0:
		w.purge()
	case 1:
		p := Pause{rapid.Bool().Draw(w.T, "delivery"), rapid.Bool().Draw(w.T, "publishing")}
		if w.do(p); p != (Pause{}) {
			p.Delivery, p.Publishing = p.Delivery || w.paused.Delivery, p.Publishing || w.paused.Publishing
		}
		w.paused = p
	case 2:
		w.late = !w.late
	case 3:
		w.stop()
	default:
		if w.paused.Delivery {
			w.paused = Pause{}
			w.do(w.paused)
		}
	}
}

func (w *world) publishOne() {
	log := uint32(1 + w.draw(1, "log"))
	if w.draw(4, "mine") == 0 {
		w.publish(log, nil)
		return
	}
	w.now++
	e := &Entry{Bytes: uint32(w.draw(100, "bytes")), Tenant: uint64(w.draw(2, "tenant"))}
	switch w.draw(9, "kind") {
	case 0:
		e.Due = w.now + int64(w.draw(2000, "due"))
	case 1:
		e.Expires = w.now + int64(w.draw(2000, "ttl"))
	case 2, 3:
		e.Group = uint64(1 + w.draw(2, "group"))
	case 4, 5:
		e.Priority = uint8(w.draw(3, "priority"))
	}
	w.publish(log, e)
}

func (w *world) subscribe() {
	if len(w.consumers) >= 4 {
		return
	}
	w.born++
	s := Subscribe{Consumer: fmt.Sprintf("c%d", w.born), Prefetch: 1 + w.draw(5, "prefetch"), Priority: w.draw(1, "priority")}
	w.consumers[s.Consumer] = &hand{Subscribe: s}
	if err := w.do(s); err != nil {
		w.Fatal(err)
	}
}

// who returns a consumer, "" if there is none.
func (w *world) who() string {
	names := w.names()
	if len(names) == 0 {
		return ""
	}
	return names[w.draw(len(names)-1, "who")]
}

// tag returns one of a consumer, mostly one that is in flight.
func (w *world) tag(consumer string) uint64 {
	held := w.inHand(consumer)
	if len(held) > 0 && w.draw(9, "right") > 0 {
		return held[w.draw(len(held)-1, "which")].tag
	}
	return uint64(w.draw(int(w.consumers[consumer].last)+2, "tag"))
}

func (w *world) ack() {
	name := w.who()
	if name == "" {
		return
	}
	tag := w.tag(name)
	if w.draw(3, "multiple") == 0 {
		if h := w.consumers[name]; tag <= h.last {
			for _, m := range w.inHand(name) {
				if tag == 0 || m.tag <= tag {
					m.fate, m.how = over, "acked"
				}
			}
		}
		w.do(Ack{name, []uint64{tag}, true})
		return
	}
	m := w.held(name, tag)
	h := *w.consumers[name]
	if m != nil {
		m.fate, m.how = over, "acked"
	}
	err := w.do(Ack{name, []uint64{tag}, false})
	w.settledBy(h, tag, m, err)
}

func (w *world) settledBy(h hand, tag uint64, m *message, err error) {
	want := error(nil)
	switch {
	case tag == 0 || tag > h.last:
		want = ErrUnknownTag
	case m == nil:
		want = ErrSettled
	}
	if !errors.Is(err, want) {
		w.Fatalf("settling %d of %q gives %v, want %v", tag, h.Consumer, err, want)
	}
}

func (w *world) nack() {
	name := w.who()
	if name == "" {
		return
	}
	tag := w.tag(name)
	h, m := *w.consumers[name], w.held(name, tag)
	c := Nack{Consumer: name, Tags: []uint64{tag}, Requeue: w.draw(3, "requeue") > 0, Returned: w.draw(2, "returned") == 0}
	if w.draw(2, "said") == 0 {
		c.Error = "it failed"
	}
	if w.draw(2, "delayed") == 0 {
		c.Delay = time.Duration(w.draw(1500, "delay")-300) * time.Millisecond
	}
	if m != nil {
		switch {
		case !c.Requeue:
			m.attempts = m.attempt()
			w.end(m, "rejected")
		case c.Returned:
			due := int64(0)
			if c.Delay > 0 {
				due = w.now + c.Delay.Milliseconds()
			}
			w.giveBack(m, due)
		default:
			wait := c.Delay.Milliseconds()
			if c.Delay == 0 {
				wait = w.config.Retry.delay(m.attempt(), m.Ref)
			}
			w.fail(m, wait)
		}
	}
	w.settledBy(h, tag, m, w.do(c))
}

func (w *world) pass(ms int) {
	w.now += int64(ms)
	w.do(Tick{})
}

func (w *world) leave() {
	name := w.who()
	if name == "" {
		return
	}
	h := w.consumers[name]
	switch w.draw(2, "how") {
	case 0:
		h.cancelled = true
		w.do(Cancel{name, false})
	case 1:
		for _, m := range w.inHand(name) {
			w.takeBack(name, m.tag, false)
		}
		h.cancelled = true
		w.do(Cancel{name, true})
	case 2:
		for _, m := range w.inHand(name) {
			w.takeBack(name, m.tag, true)
		}
		delete(w.consumers, name)
		w.do(Gone{name})
	}
}

func (w *world) start() {
	name := w.who()
	if name == "" {
		return
	}
	tag := w.tag(name)
	m := w.held(name, tag)
	if m != nil {
		m.started = true
		if d, _ := w.q.consumers[name].flights.get(tag); d.probation && !m.charged {
			m.attempts++
			m.charged, m.due = true, 0
		}
	}
	h := *w.consumers[name]
	w.settledBy(h, tag, m, w.do(Started{name, tag}))
}

func (w *world) extend() {
	if name := w.who(); name != "" {
		w.do(Extend{Consumer: name})
	}
}

func (w *world) deadLetters() {
	letters := w.letters
	w.letters = nil
	var done []Ref
	for _, ref := range letters {
		if w.draw(3, "fails") == 0 {
			if err := w.do(NotDeadLettered{[]Ref{ref}, time.Duration(w.draw(500, "ms")) * time.Millisecond}); err != nil {
				w.Fatal(err)
			}
			continue
		}
		done = append(done, ref)
	}
	for _, ref := range done {
		w.all[ref].fate, w.all[ref].how = over, "dead"
	}
	w.do(DeadLettered{done})
}

func (w *world) purge() {
	if w.q.loading > 0 {
		return
	}
	for _, m := range w.waiting() {
		m.fate, m.how = over, "purged"
	}
	w.do(Purge{})
}

// stop ends the queue in an orderly way. Then nothing is suspect.
func (w *world) stop() {
	w.late = false // the model has to know all that is durable
	w.do(Tick{})
	for _, name := range w.names() {
		for _, m := range w.inHand(name) {
			w.takeBack(name, m.tag, false)
		}
	}
	w.consumers, w.stopped = map[string]*hand{}, true
	w.do(Stop{})
	w.flush()
	w.crash()
}

// drain has a consumer take and acknowledge everything.
func (w *world) drain() {
	w.late = false
	w.serve(false)
	w.paused = Pause{}
	w.do(w.paused)
	for log := range w.logs {
		w.take(log, 1<<16)
	}
	for range 200 {
		if w.q.Counts().Live == 0 {
			return
		}
		if len(w.consumers) == 0 {
			w.subscribe()
		}
		for _, name := range w.names() {
			for _, m := range w.inHand(name) {
				m.fate, m.how = over, "acked"
			}
			w.do(Ack{name, nil, true})
		}
		w.deadLetters()
		w.pass(1000)
	}
	w.Fatalf("%+v are left", w.q.Counts())
}

// The queue does what the naive model does, whatever happens to it; and a crash at
// any moment loses nothing that was durable.
func TestStorm(t *testing.T) {
	retry := Retry{First: 100 * time.Millisecond, Jitter: 0.5, Seed: 7}
	for name, c := range map[string]Config{
		"plain":       {},
		"dead-letter": {DeadLetter: true, DeliveryLimit: 3, Retry: retry},
		"single":      {SingleActive: true, Retry: retry},
		"weighted":    {Weights: []int{1, 2, 3}, StarvationBound: 5},
		"fair":        {FairTenants: true},
		"short":       {MaxLength: 12, DeadLetter: true, SettleTimeout: 4 * time.Second},
	} {
		for _, chunk := range []int{4, 4096} {
			t.Run(fmt.Sprintf("%s/%d", name, chunk), func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) {
					c.Limits = Limits{ChunkMessages: chunk, Resident: 3, ReserveMin: 2, ReserveMax: 8, TenantWindow: 3}
					w := newWorld(t, c)
					for range rapid.IntRange(20, 120).Draw(t, "steps") {
						w.step()
					}
					w.drain()
					w.save()
					w.crash()
				})
			})
		}
	}
}
