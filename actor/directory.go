package actor

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"strconv"
	"sync"
	"sync/atomic"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/routing"
)

// QueueShards is how many shards the queues of a system are divided among.
const QueueShards = 16

const (
	exchangePrefix  = "exchange-" // and the number of the exchange: the topic that is its log
	shardPrefix     = "shard-"    // and the number of a shard: the log of the default exchange for its queues
	transientSuffix = "-transient"
)

// queueDirectory is what exchanges, queues and bindings there are, and which logs have
// what for whom. It is changed by the directory's actor alone, and only by what is
// durable; anyone may look, and those who publish wait for nobody.
type queueDirectory struct {
	sys   *System
	pid   *pactor.PID
	table *routing.Table

	exchanges shared[string, *exchangeInfo]
	byName    shared[string, *queueInfo]
	byID      shared[uint32, *queueInfo]
	logs      shared[uint32, *logInfo]
	logIDs    shared[logKey, uint32]
	insiders  shared[string, *ExchangePublisher] // of the system itself, by exchange

	mu       sync.Mutex // held for a change, and by who looks at more than one thing
	feeds    map[feedKey]feedInfo
	topics   map[topicBinding]uint64 // incarnation of the topic
	next     ids
	watchers map[int]func(directoryChange)
	watcher  int        // number of the last
	born     *queueInfo // the queue that is being declared
	partial  []command  // of a round of snapshots that has no end yet
	round    uint64
	orphans  orphans
}

// ids are the next ones to be given. None is ever given twice: records name them.
type ids struct {
	Exchange, Queue, Log uint32
}

// firstIDs leaves room for the default exchange and those that are predeclared; queue
// 0 is none.
var firstIDs = ids{Exchange: 16, Queue: 1, Log: 1}

// exchangeInfo is an exchange that there is.
type exchangeInfo struct {
	number uint32 // 0: the default exchange
	name   string
	config ExchangeConfig
	gone   atomic.Bool
	ids    *rememberedIDs // of its messages

	figures exchangeFigures
}

func newExchangeInfo(number uint32, name string, c ExchangeConfig) *exchangeInfo {
	return &exchangeInfo{number: number, name: name, config: c, ids: newRememberedIDs(c.Dedup)}
}

// topic is where its messages are appended to; the default exchange has one for each
// shard instead.
func (x *exchangeInfo) topic(transient bool) string {
	if x.config.Topic != "" {
		return x.config.Topic
	}
	return ownTopic(exchangePrefix, int(x.number), transient)
}

func ownTopic(prefix string, number int, transient bool) string {
	name := prefix + strconv.Itoa(number)
	if transient {
		name += transientSuffix
	}
	return name
}

// queueInfo is a queue that there is.
type queueInfo struct {
	id        uint32
	name      string
	shard     int
	admission *admission
	settings  atomic.Pointer[QueueConfig]
	figures   *queueFigures // nil: nobody collects them
}

func (q *queueInfo) config() *QueueConfig { return q.settings.Load() }

// logKey is one partition of a topic.
type logKey struct {
	topic       string
	incarnation uint64
	partition   int
}

// logInfo is a log that messages are in.
type logInfo struct {
	id uint32
	logKey
	orphaned atomic.Bool // its exchange is deleted: when all queues have released it, it goes
	fed      [shardsMax / 64]atomic.Uint64
}

// feeds says whether a shard follows the log.
func (l *logInfo) feeds(shard int) bool { return l.fed[shard/64].Load()&(1<<(shard%64)) != 0 }

// feedKey says who reads a log: a shard, for those of its queues that records name, or
// one queue, which every record is for.
type feedKey struct {
	log   uint32
	shard int
	queue uint32 // 0: those that records name
}

// feedInfo says that, and from where on.
type feedInfo struct {
	feedKey
	from uint64
	// spans are where every record is for the queue, if it is a queue's: one for each time
	// it was bound, the last without an end as long as it is.
	spans []offsets
}

// hasEnded says whether it is of a queue that is bound no more: what it had by then is read
// again when it is needed.
func (f *feedInfo) hasEnded() bool { return f.queue != 0 && f.spans[len(f.spans)-1].next != everything }

// topicBinding is a queue that has every record of a topic.
type topicBinding struct {
	topic string
	queue uint32
}

// errDirectoryLost: somebody else has taken the directory over, or the store failed.
var errDirectoryLost = errors.New("the directory of exchanges and queues cannot be written any more, open the system anew")

func newQueueDirectory(sys *System) *queueDirectory {
	d := &queueDirectory{sys: sys, watchers: map[int]func(directoryChange){}}
	d.reset()
	return d
}

// reset empties it, but for what is always there.
func (d *queueDirectory) reset() {
	d.table = routing.New(routing.Limits{})
	d.table.Carry(d.carry)
	d.feeds, d.topics, d.next = map[feedKey]feedInfo{}, map[topicBinding]uint64{}, firstIDs
	for _, clear := range []func(){d.exchanges.clear, d.byName.clear, d.byID.clear, d.logs.clear, d.logIDs.clear} {
		clear()
	}
	d.exchanges.put("", newExchangeInfo(0, "", ExchangeConfig{}.withDefaults()))
	for i, x := range predeclared {
		config := ExchangeConfig{Type: x.kind}.withDefaults()
		d.table.Apply(routing.DeclareExchange{Exchange: config.routing(x.name)})
		d.exchanges.put(x.name, newExchangeInfo(uint32(i+1), x.name, config))
	}
}

// carry gives the target of a queue what publishers need of it, and tells the shards of
// the queue: both before a message can reach it.
func (d *queueDirectory) carry(to routing.Destination) any {
	if to.Kind != routing.ToQueue {
		return nil
	}
	q := d.born
	d.byName.put(q.name, q)
	d.byID.put(q.id, q)
	d.notify(queueDeclared{q})
	return q
}

// shardOf is the shard that a new queue of that name belongs to.
func shardOf(queue string) int {
	h := fnv.New32a()
	h.Write([]byte(queue))
	return int(h.Sum32() % QueueShards)
}

// exchange returns the exchange of that name.
func (d *queueDirectory) exchange(name string) (*exchangeInfo, error) {
	if x, ok := d.exchanges.get(name); ok {
		return x, nil
	}
	return nil, fmt.Errorf("exchange %s: %w", name, ErrNoExchange)
}

// queue returns the queue of that name. It waits for nobody.
func (d *queueDirectory) queue(name string) (*queueInfo, bool) { return d.byName.get(name) }

// queueByID returns the queue of that id. It waits for nobody.
func (d *queueDirectory) queueByID(id uint32) (*queueInfo, bool) { return d.byID.get(id) }

// log returns the log of that id. It waits for nobody.
func (d *queueDirectory) log(id uint32) (*logInfo, bool) { return d.logs.get(id) }

// feedsOf returns who reads what in a shard, in no order.
func (d *queueDirectory) feedsOf(shard int) (all []feedInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.feeds {
		if f.shard == shard {
			all = append(all, f)
		}
	}
	return all
}

// shared is a map that anyone may read while one goroutine writes to it.
type shared[K comparable, V any] struct{ m sync.Map }

func (s *shared[K, V]) get(k K) (v V, ok bool) {
	if found, ok := s.m.Load(k); ok {
		return found.(V), true
	}
	return v, false
}

func (s *shared[K, V]) put(k K, v V) { s.m.Store(k, v) }

// putFirst puts v in if there is nothing, or what there is can go, and returns what is
// there then.
func (s *shared[K, V]) putFirst(k K, v V, goes func(V) bool) V {
	for {
		has, loaded := s.m.LoadOrStore(k, v)
		if !loaded || !goes(has.(V)) {
			return has.(V)
		}
		s.m.CompareAndDelete(k, has)
	}
}

func (s *shared[K, V]) delete(k K) { s.m.Delete(k) }
func (s *shared[K, V]) clear()     { s.m.Clear() }

func (s *shared[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		s.m.Range(func(k, v any) bool { return yield(k.(K), v.(V)) })
	}
}

// directories opens the directory of a system when it is first asked for.
type directories struct {
	lock chan struct{} // to wait within a context
	open atomic.Pointer[queueDirectory]
}

// directory returns the directory of exchanges and queues.
func (s *System) directory(ctx context.Context) (*queueDirectory, error) {
	if s.hasEnded.Load() {
		return nil, fmt.Errorf("the directory of exchanges and queues: %w", errSystemClosed)
	}
	if d := s.exchanges.open.Load(); d != nil {
		return d, nil
	}
	select {
	case s.exchanges.lock <- struct{}{}:
		defer func() { <-s.exchanges.lock }()
	case <-ctx.Done():
		return nil, fmt.Errorf("open the directory of exchanges and queues: %w", ctx.Err())
	}
	if d := s.exchanges.open.Load(); d != nil {
		return d, nil
	}
	d, err := openDirectory(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("open the directory of exchanges and queues: %w", ofStore(err))
	}
	s.startShards(d)
	s.exchanges.open.Store(d)
	return d, nil
}
