package actor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// feedBed is a log with a feed, and queues that note what they are fed.
type feedBed struct {
	*logBed
	feed    *pactor.PID
	started chan *pactor.PID
	shorter chan struct{}

	mu     sync.Mutex
	intake map[uint32]intake
	from   map[uint32]uint64
	queues map[uint32]*fedQueue
	sent   map[uint32][]uint64 // what was appended for each
	next   uint64
}

func newFeedBed(t testing.TB, room int, opts ...Option) *feedBed {
	t.Helper()
	b := &feedBed{logBed: newLogBed(t, storagefake.New(), opts...), started: make(chan *pactor.PID, 10), shorter: make(chan struct{}, 10),
		intake: map[uint32]intake{}, from: map[uint32]uint64{}, queues: map[uint32]*fedQueue{}, sent: map[uint32][]uint64{}}
	shard := b.spawn("shard", func(ctx pactor.Context) {
		if m, ok := ctx.Message().(feedStarted); ok {
			b.started <- m.feed
		}
	})
	b.start(shard, room)
	return b
}

func (b *feedBed) spawn(name string, f pactor.ReceiveFunc) *pactor.PID {
	b.Helper()
	pid, err := b.sys.Spawn(name, func() pactor.Actor { return f })
	if err != nil {
		b.Fatal(err)
	}
	return pid
}

func (b *feedBed) start(shard *pactor.PID, room int) {
	b.Helper()
	config := feedConfig{log: 1, shard: shard, room: room, shorter: func() { b.shorter <- struct{}{} },
		intake: func(id uint32) (intake, uint64, bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			in, ok := b.intake[id]
			return in, b.from[id], ok
		}}
	if _, err := b.sys.Spawn("feed", func() pactor.Actor { return newFeed(b.sys, config) }); err != nil {
		b.Fatal(err)
	}
	b.feed = b.await(b.started)
}

func (b *feedBed) await(c <-chan *pactor.PID) *pactor.PID {
	b.Helper()
	select {
	case pid := <-c:
		return pid
	case <-testContext(b).Done():
		b.Fatal("there is no feed")
		return nil
	}
}

// fedQueue notes what it is fed.
type fedQueue struct {
	bed *feedBed
	id  uint32
	pid *pactor.PID

	mu      sync.Mutex
	run     uint64
	got     []uint64
	at      uint64
	stalled bool
	waiting []fed
	changed chan struct{}
}

// queue declares a queue that begins at an offset.
func (b *feedBed) queue(in intake, from uint64) *fedQueue {
	b.Helper()
	q := &fedQueue{bed: b, id: in.queue, changed: make(chan struct{}, 1)}
	b.mu.Lock()
	b.intake[in.queue], b.from[in.queue], b.queues[in.queue] = in, from, q
	b.mu.Unlock()
	q.pid = b.spawn(fmt.Sprintf("queue-%d", in.queue), func(ctx pactor.Context) {
		if m, ok := ctx.Message().(fed); ok {
			q.fed(m)
		}
	})
	return q
}

func (q *fedQueue) fed(m fed) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if m.run != q.run {
		return
	}
	if q.stalled {
		q.waiting = append(q.waiting, m)
		return
	}
	q.take(m)
}

func (q *fedQueue) take(m fed) {
	for _, e := range m.entries {
		if e.Offset < q.at || e.Offset >= m.next || !m.page.covers(e.Ref) {
			q.bed.Errorf("queue %d at %d: it is fed %v, up to %d", q.id, q.at, e.Ref, m.next)
		}
		q.got = append(q.got, e.Offset)
		q.at = e.Offset + 1
	}
	if m.next < q.at {
		q.bed.Errorf("queue %d at %d: it is told %d", q.id, q.at, m.next)
	}
	q.at = m.next
	q.bed.sys.Send(m.feed, fedTaken{queue: q.id, run: q.run, next: m.next})
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// follow begins, or begins anew at an offset.
func (q *fedQueue) follow(next uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.run++
	q.at, q.waiting = next, nil
	q.got = slices.DeleteFunc(q.got, func(o uint64) bool { return o >= next })
	q.bed.sys.Send(q.bed.feed, follow{queue: q.id, run: q.run, pid: q.pid, next: next})
}

// stall has it take nothing, or all that waits.
func (q *fedQueue) stall(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stalled = on
	if !on {
		for _, m := range q.waiting {
			q.take(m)
		}
		q.waiting = nil
	}
}

func (q *fedQueue) until(what string, is func() bool) {
	q.bed.Helper()
	for {
		q.mu.Lock()
		ok := is()
		q.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-q.changed:
		case <-testContext(q.bed).Done():
			q.mu.Lock()
			defer q.mu.Unlock()
			q.bed.Fatalf("queue %d: %s, but it is at %d, with %d messages, %d wait", q.id, what, q.at, len(q.got), len(q.waiting))
		}
	}
}

// has waits until it has exactly what was sent to it.
func (q *fedQueue) has(want []uint64) {
	q.bed.Helper()
	q.until(fmt.Sprintf("it is to have %d messages", len(want)), func() bool { return len(q.got) >= len(want) })
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Equal(q.got, want) {
		q.bed.Fatalf("queue %d has %v, want %v", q.id, q.got, want)
	}
}

// publish appends a batch; each message is for the queues of its set.
func (b *feedBed) publish(targets ...[]uint32) {
	b.Helper()
	var all []codec.Record
	for _, ids := range targets {
		r := messageOf(envelope.Envelope{Queues: ids}, "k")
		if ids == nil {
			r.Headers = nil
		}
		all = append(all, r)
		for _, id := range ids {
			b.sent[id] = append(b.sent[id], b.next)
		}
		b.next++
	}
	if _, err := b.producer.Append(testContext(b), 0, all); err != nil {
		b.Fatal(err)
	}
}

func repeat(n int, ids ...uint32) (all [][]uint32) {
	for range n {
		all = append(all, ids)
	}
	return all
}

func TestAFeedBringsQueuesWhatIsForThem(t *testing.T) {
	b := newFeedBed(t, 0)
	b.publish([]uint32{1}, []uint32{1, 2}, nil)
	one, two, bound := b.queue(intake{queue: 1}, 0), b.queue(intake{queue: 2}, 2), b.queue(intake{queue: 3, all: []offsets{{1, 4}}}, 0)
	one.follow(0)
	two.follow(0)
	bound.follow(0)
	b.publish([]uint32{2}, []uint32{9}, []uint32{1, 3})
	one.has([]uint64{0, 1, 5})
	two.has([]uint64{3}) // what came before it began is not for it
	bound.has([]uint64{1, 2, 3, 5})
}

func TestAQueueThatDoesNotTakeKeepsNobodyWaiting(t *testing.T) {
	b := newFeedBed(t, 0)
	slow, fast := b.queue(intake{queue: 1}, 0), b.queue(intake{queue: 2}, 0)
	slow.stall(true)
	slow.follow(0)
	fast.follow(0)
	for range 8 {
		b.publish(repeat(feedRoom/4, 1, 2)...)
	}
	fast.has(b.sent[2])
	slow.until("it has been sent something", func() bool { return len(slow.waiting) > 0 })
	slow.mu.Lock()
	waiting := 0
	for _, m := range slow.waiting {
		waiting += len(m.entries)
	}
	slow.mu.Unlock()
	if waiting > feedRoom+feedRoom/4 {
		t.Errorf("%d messages are under way to a queue that does not take, and %d are allowed", waiting, feedRoom)
	}
	slow.stall(false)
	slow.has(b.sent[1])
	b.publish([]uint32{1, 2})
	slow.has(b.sent[1])
	fast.has(b.sent[2])
}

func TestAQueueThatIsReadAnewIsFedAnew(t *testing.T) {
	b := newFeedBed(t, 0)
	one, two := b.queue(intake{queue: 1}, 0), b.queue(intake{queue: 2}, 0)
	one.follow(0)
	two.follow(0)
	b.publish(repeat(10, 1, 2)...)
	b.publish(repeat(10, 1)...)
	one.has(b.sent[1])
	one.follow(7)
	one.has(b.sent[1])
	b.publish(repeat(3, 1, 2)...)
	one.has(b.sent[1])
	two.has(b.sent[2])
}

func TestAFeedTellsHowFarItIs(t *testing.T) {
	b := newFeedBed(t, 0)
	one, two := b.queue(intake{queue: 1}, 0), b.queue(intake{queue: 2}, 0)
	one.follow(0)
	two.follow(0)
	b.publish(repeat(10, 1)...)
	one.has(b.sent[1])
	if _, err := Ask[progressTold](testContext(t), b.sys, b.feed, askProgress{}); err != nil {
		t.Fatal(err)
	}
	two.until("nothing came up to 10", func() bool { return two.at == 10 })
	two.has(nil)
}

func TestAFeedGoesOnBehindWhatIsGone(t *testing.T) {
	b := newFeedBed(t, 0)
	b.publish(repeat(10, 1)...)
	b.publish(repeat(10, 1)...)
	if _, err := b.topic.Trim(testContext(t), 0, 10); err != nil {
		t.Fatal(err)
	}
	one := b.queue(intake{queue: 1}, 0)
	one.follow(0)
	one.has(upTo(10, 20))
}

func TestWhatIsBoundLaterIsFedFromWhereItBegins(t *testing.T) {
	b := newFeedBed(t, 0)
	b.publish(repeat(10, 1)...)
	two := b.queue(intake{queue: 2}, 10)
	two.follow(0)
	one := b.queue(intake{queue: 1}, 0)
	one.follow(0)
	one.has(b.sent[1])
	b.mu.Lock()
	b.intake[2], b.from[2] = intake{queue: 2, all: []offsets{{4, 1 << 60}}}, 4
	b.mu.Unlock()
	b.sys.Send(b.feed, feedAltered{})
	two.has(upTo(4, 10))
	b.publish(nil, []uint32{1})
	two.has(upTo(4, 12))
}

func TestAShorterLogIsNoticed(t *testing.T) {
	b := newFeedBed(t, 0)
	b.publish(repeat(10, 1)...)
	one := b.queue(intake{queue: 1}, 0)
	one.follow(11)
	select {
	case <-b.shorter:
	case <-testContext(t).Done():
		t.Fatal("nobody noticed")
	}
	two := b.queue(intake{queue: 2}, 0)
	two.follow(10) // is just at the end
	b.publish([]uint32{2})
	two.has(b.sent[2])
}

func TestAFeedGoesOnWhenThePartitionFails(t *testing.T) {
	b := newFeedBed(t, 0)
	one := b.queue(intake{queue: 1}, 0)
	one.follow(0)
	b.publish(repeat(10, 1)...)
	one.has(b.sent[1])
	ref := b.topic.partitions[0]
	pid := ref.pid.Load()
	b.sys.Stop(pid)
	<-b.sys.Watch(pid)
	var err error
	if b.topic, err = b.sys.Topic(testContext(t), "orders"); err != nil {
		t.Fatal(err)
	}
	b.producer = newProducer(t, b.topic, ProducerOptions{})
	b.publish(repeat(10, 1)...)
	one.has(b.sent[1])
}

// Whatever queues do, each gets what is for it, in order and once.
func TestFeedStorm(t *testing.T) {
	small := DefaultPartitionLimits()
	small.CacheBytes = 4 << 10
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			b := newFeedBed(t, 30, WithPartitionLimits(small))
			b.sys.pages.max = 8 << 10
			all := map[uint32]*fedQueue{}
			for range 150 {
				switch r.IntN(6) {
				case 0:
					if id := uint32(len(all) + 1); id <= 8 {
						all[id] = b.queue(intake{queue: id}, 0)
						all[id].follow(0)
					}
				case 1, 2:
					var batch [][]uint32
					for range 1 + r.IntN(40) {
						var ids []uint32
						for id := uint32(1); id <= 8; id++ {
							if r.IntN(3) == 0 {
								ids = append(ids, id)
							}
						}
						batch = append(batch, ids)
					}
					b.publish(batch...)
				case 3, 4:
					if q := all[uint32(1+r.IntN(8))]; q != nil {
						q.stall(r.IntN(2) == 0)
					}
				case 5:
					if q := all[uint32(1+r.IntN(8))]; q != nil && r.IntN(3) == 0 {
						q.mu.Lock()
						next := r.Uint64N(q.at + 1)
						q.mu.Unlock()
						q.follow(next)
					}
				}
			}
			for id, q := range all {
				q.stall(false)
				q.has(b.sent[id])
			}
		})
	}
}
