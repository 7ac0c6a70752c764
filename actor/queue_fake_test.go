package actor

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// fakeQueue is a queue for its consumers: the core, with a log and a journal that are
// slices. It loses its state when it is told to crash, and restores it from the two.
type fakeQueue struct {
	t       testing.TB
	sys     *System
	pid     *pactor.PID
	config  queue.Config
	timeout time.Duration // settle timeout that consumers are told
	told    chan settle   // if it is not nil, every settle
	lose    uint64        // offset of a message without a body; 0: none
	forget  bool          // keep no journal: there will be no crash
	late    chan struct{} // if it is not nil, subscriptions are answered when it closes
}

type (
	fakePut   struct{ entries []fakeEntry }
	fakePages struct{ page *page } // a page, again
	fakeCrash struct{ err error }
	fakeEntry struct {
		record   Record
		priority uint8
		group    uint64
		expires  int64
	}
)

func newFakeQueue(t testing.TB, sys *System, config queue.Config) *fakeQueue {
	t.Helper()
	f := &fakeQueue{t: t, sys: sys, config: config, timeout: config.SettleTimeout}
	pid, err := sys.Spawn("fake-queue/"+t.Name(), func() pactor.Actor { return &fakeQueueActor{fakeQueue: f} }, asService(rankQueues))
	if err != nil {
		t.Fatal(err)
	}
	f.pid = pid
	return f
}

func (f *fakeQueue) address(context.Context) (*pactor.PID, error) { return f.pid, nil }

func (f *fakeQueue) settleTimeout() time.Duration { return f.timeout }

// put brings messages with the texts as bodies.
func (f *fakeQueue) put(texts ...string) {
	f.t.Helper()
	entries := make([]fakeEntry, len(texts))
	for i, text := range texts {
		entries[i].record = Record{Value: []byte(text), Time: codec.NoTime}
	}
	f.putEntries(entries...)
}

func (f *fakeQueue) putEntries(entries ...fakeEntry) {
	f.t.Helper()
	if _, err := Ask[queueDone](testContext(f.t), f.sys, f.pid, fakePut{entries}); err != nil {
		f.t.Fatal(err)
	}
}

// crash has the queue lose what it did not journal.
func (f *fakeQueue) crash(err error) {
	f.t.Helper()
	if _, err := Ask[queueDone](testContext(f.t), f.sys, f.pid, fakeCrash{err}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeQueue) counts() queue.Counts {
	f.t.Helper()
	c, err := Ask[queue.Counts](testContext(f.t), f.sys, f.pid, askQueue{func(q *queue.Queue) any {
		if err := q.Check(); err != nil {
			return err
		}
		return q.Counts()
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// awaitCounts waits until the counts are such.
func (f *fakeQueue) awaitCounts(what string, is func(queue.Counts) bool) queue.Counts {
	f.t.Helper()
	for until := time.Now().Add(deadline); ; {
		if c := f.counts(); is(c) {
			return c
		} else if time.Now().After(until) {
			f.t.Fatalf("timed out waiting for %s: %+v", what, c)
		}
	}
}

func (f *fakeQueue) consume(o ConsumeOptions, h QueueHandler) *QueueConsumer {
	f.t.Helper()
	c, err := f.sys.newQueueConsumer(testContext(f.t), "fake", f, o, h, false)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := c.Close(testContext(f.t)); err != nil {
			f.t.Errorf("close: %v", err)
		}
	})
	return c
}

// fakeQueueActor runs the core.
type fakeQueueActor struct {
	*fakeQueue
	self      *pactor.PID
	core      *queue.Queue
	events    [][]byte
	pages     []*page
	entries   []queue.Entry
	consumers map[string]*pactor.PID
	timer     *time.Timer
	next      uint64 // of takePage
}

func (a *fakeQueueActor) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		a.self, a.consumers = ctx.Self(), map[string]*pactor.PID{}
		a.restore()
	case fakePut:
		a.take(m)
		a.answer(ctx, nil)
	case fakePages:
		a.takePage(m.page)
		a.answer(ctx, nil)
	case fakeCrash:
		for name, pid := range a.consumers {
			a.sys.Send(pid, consumerEnded{name, m.err})
		}
		clear(a.consumers)
		a.restore()
		a.answer(ctx, nil)
	case subscribe:
		a.consumers[m.Consumer] = m.consumer
		err := a.apply(m.Subscribe)
		if err == nil {
			ctx.Watch(m.consumer)
		} else {
			delete(a.consumers, m.Consumer)
		}
		if a.late == nil {
			a.answer(ctx, err)
			break
		}
		sender := ctx.Sender()
		go func() {
			<-a.late
			a.sys.Send(sender, queueDone{})
		}()
	case queueRequest:
		a.answer(ctx, a.apply(m.command))
	case settle:
		a.settle(m)
	case askQueue:
		a.answer(ctx, m.look(a.core))
	case queue.Tick:
		a.apply(m)
	case *pactor.Terminated:
		for name, pid := range a.consumers {
			if pid.Equal(m.Who) {
				a.apply(queue.Gone{Consumer: name})
				delete(a.consumers, name)
			}
		}
	case drain:
		a.sys.Stop(ctx.Self())
	case *pactor.Stopping:
		if a.timer != nil {
			a.timer.Stop()
		}
	}
}

func (a *fakeQueueActor) answer(ctx pactor.Context, v any) {
	if ctx.Sender() == nil {
		return
	}
	if v == nil || v == error(nil) {
		v = queueDone{}
	}
	a.sys.Send(ctx.Sender(), v)
}

func (a *fakeQueueActor) restore() {
	core, err := queue.New(a.config)
	for _, e := range a.events {
		if err == nil {
			err = core.Replay(e)
		}
	}
	if err != nil {
		a.t.Error(err)
	}
	a.core = core
	a.apply(queue.Recover{})
	for len(a.entries) > 0 && err == nil {
		next := uint64(len(a.entries))
		err = a.apply(queue.Take{Log: 1, Entries: slices.Clone(a.entries[a.core.Next(1):]), Next: next})
		break
	}
	if err != nil {
		a.t.Error(err)
	}
}

func (a *fakeQueueActor) take(m fakePut) {
	base := uint64(len(a.entries))
	var s codec.Section
	fresh := make([]queue.Entry, len(m.entries))
	for i, e := range m.entries {
		s.Add(&e.record)
		fresh[i] = queue.Entry{Ref: queue.Ref{Log: 1, Offset: base + uint64(i)}, Arrived: 1000, Priority: e.priority,
			Group: e.group, Expires: e.expires, Bytes: uint32(len(e.record.Value))}
	}
	b, err := codec.AppendBatch(nil, &codec.BatchInfo{BaseOffset: base, AppendTime: 1000}, []codec.Section{s})
	if err != nil {
		a.t.Error(err)
		return
	}
	p, err := newPage(1, b)
	if err != nil {
		a.t.Error(err)
		return
	}
	a.pages, a.entries = append(a.pages, p), append(a.entries, fresh...)
	if err := a.apply(queue.Take{Log: 1, Entries: slices.Clone(fresh), Next: base + uint64(len(fresh))}); err != nil {
		a.t.Error(err)
	}
}

// takePage brings the messages of a page that was made before, at the next offsets.
func (a *fakeQueueActor) takePage(p *page) {
	again := *p
	again.base, again.end = a.next, a.next+uint64(p.len())
	entries := make([]queue.Entry, p.len())
	for i := range entries {
		entries[i] = queue.Entry{Ref: queue.Ref{Log: 1, Offset: again.base + uint64(i)}, Arrived: 1000, Bytes: 100}
	}
	a.next = again.end
	a.pages = append(a.pages, &again)
	if err := a.apply(queue.Take{Log: 1, Entries: entries, Next: again.end}); err != nil {
		a.t.Error(err)
	}
}

func (a *fakeQueueActor) settle(m settle) {
	if a.told != nil {
		a.told <- m
	}
	to := a.consumers[m.consumer]
	if to == nil {
		return
	}
	var refused []error
	try := func(c queue.Command) {
		if err := a.apply(c); err != nil {
			refused = append(refused, err)
		}
	}
	if len(m.acks) > 0 {
		try(queue.Ack{Consumer: m.consumer, Tags: m.acks})
	}
	for _, n := range m.nacks {
		n.Consumer = m.consumer
		try(n)
	}
	for _, tag := range m.started {
		try(queue.Started{Consumer: m.consumer, Tag: tag})
	}
	if m.extend {
		try(queue.Extend{Consumer: m.consumer})
	}
	a.sys.Send(to, deliveriesSettled{m.consumer, m.seq, refused})
}

func (a *fakeQueueActor) apply(c queue.Command) error {
	events, effects, err := a.core.Apply(time.Now().UnixMilli(), c)
	if len(events) > 0 && !a.forget {
		a.events = append(a.events, slices.Clone(events))
	}
	for _, e := range effects {
		a.carryOut(e)
	}
	return err
}

func (a *fakeQueueActor) carryOut(e queue.Effect) {
	switch e := e.(type) {
	case queue.Deliver:
		all := make([]arrival, len(e.Deliveries))
		for i, d := range e.Deliveries {
			all[i] = arrival{d, a.page(d.Body.Offset)}
		}
		a.sys.Send(a.consumers[e.Consumer], delivered{e.Consumer, all})
	case queue.Charged:
		a.sys.Send(a.consumers[e.Consumer], e)
	case queue.Recalled:
		a.sys.Send(a.consumers[e.Consumer], e)
	case queue.Cancelled:
		a.sys.Send(a.consumers[e.Consumer], e)
		delete(a.consumers, e.Consumer)
	case queue.Pulled:
		a.sys.Send(a.consumers[e.Consumer], e)
	case queue.Active:
		for _, pid := range a.consumers {
			a.sys.Send(pid, e)
		}
	case queue.Load:
		var entries []queue.Entry
		if a.next > 0 {
			for o := e.First; o < e.Next; o++ {
				entries = append(entries, queue.Entry{Ref: queue.Ref{Log: 1, Offset: o}, Arrived: 1000, Bytes: 100})
			}
		} else {
			entries = slices.Clone(a.entries[e.First:min(e.Next, uint64(len(a.entries)))])
		}
		a.apply(queue.Loaded{Load: e, Entries: entries})
	case queue.DeadLetter:
		refs := make([]queue.Ref, len(e.Letters))
		for i, l := range e.Letters {
			refs[i] = l.Ref
		}
		a.apply(queue.DeadLettered{Refs: refs})
	case queue.Wake:
		if a.timer != nil {
			a.timer.Stop()
		}
		a.timer = time.AfterFunc(time.Until(time.UnixMilli(e.At)), func() { a.sys.Send(a.self, queue.Tick{}) })
	}
}

func (a *fakeQueueActor) page(offset uint64) *page {
	i, _ := slices.BinarySearchFunc(a.pages, offset, func(p *page, o uint64) int {
		switch {
		case p.end <= o:
			return -1
		case p.base > o:
			return 1
		}
		return 0
	})
	if a.lose != 0 && offset == a.lose {
		return nil
	}
	return a.pages[i]
}

// fakes returns a system with a fake queue.
func fakes(t testing.TB, config queue.Config) *fakeQueue {
	t.Helper()
	return newFakeQueue(t, logSystem(t, storagefake.New()), config)
}

// enveloped is a record with an envelope.
func enveloped(e envelope.Envelope, body string, headers ...Header) Record {
	all := append([]Header{{Key: envelope.Key, Value: envelope.Append(nil, &e)}}, headers...)
	return Record{Value: []byte(body), Headers: all, Time: codec.NoTime}
}

// numberedTexts returns texts with numbers.
func numberedTexts(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("m%03d", i)
	}
	return all
}
