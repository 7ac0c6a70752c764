package actor

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupestream/troupe/internal/routing"
)

// command changes the directory. It is journalled, and applied once it is durable, then
// and after every restart: with the same outcome, which may be an error. So ids are in
// the command, and nothing in apply looks at anything but the directory.
type command interface {
	op() string // its name in the journal
	apply(d *queueDirectory) (answer any, err error)
}

// numbered is a command that needs ids.
type numbered interface{ assign(next *ids) }

func take(next *uint32) uint32 {
	*next++
	return *next - 1
}

// The commands.
type (
	// declareExchange is answered with the *exchangeInfo.
	declareExchange struct {
		Name   string         `json:"name"`
		Number uint32         `json:"number"`
		Config ExchangeConfig `json:"config"`
	}
	deleteExchange struct {
		Name     string `json:"name"`
		IfUnused bool   `json:"if_unused,omitempty"`
	}
	// declareQueue is answered with the *queueInfo.
	declareQueue struct {
		Name   string      `json:"name"`
		ID     uint32      `json:"id"`
		Shard  int         `json:"shard"`
		Config QueueConfig `json:"config"`
	}
	alterQueue struct {
		Name   string      `json:"name"`
		Config QueueConfig `json:"config"`
	}
	// deleteQueue deletes the queue of that name, and of that id if it is not 0.
	deleteQueue struct {
		Name string `json:"name"`
		ID   uint32 `json:"id,omitempty"`
	}
	bind   struct{ Binding routing.Binding }
	unbind struct{ Binding routing.Binding }
	// bindTopic has a queue have all records of a topic.
	bindTopic struct {
		Topic       string        `json:"topic"`
		Incarnation uint64        `json:"incarnation"`
		Queue       uint32        `json:"queue"`
		Logs        []declaredLog `json:"logs"`
	}
	unbindTopic struct {
		Topic string `json:"topic"`
		Queue uint32 `json:"queue"`
		// Ends says, by log, what is not for the queue any more. Where it does not, nothing
		// is.
		Ends map[uint32]uint64 `json:"ends,omitempty"`
	}
	// forgetFeed forgets where a queue was bound, once it has released it.
	forgetFeed struct {
		Log   uint32 `json:"log"`
		Shard int    `json:"shard"`
		Queue uint32 `json:"queue"`
	}
	// declaredLog is a partition, and from where on it is to be read.
	declaredLog struct {
		ID        uint32 `json:"id"`
		Partition int    `json:"partition"`
		From      uint64 `json:"from"`
	}
	// declareLog gives a partition an id. It is answered with the *logInfo.
	declareLog struct {
		ID          uint32 `json:"id"`
		Topic       string `json:"topic"`
		Incarnation uint64 `json:"incarnation"`
		Partition   int    `json:"partition"`
	}
	// renewLog gives a partition that has lost its end another id, with the same feeds.
	// It is answered with the *logInfo.
	renewLog struct {
		Old uint32 `json:"old"`
		New uint32 `json:"new"`
	}
	forgetLog struct {
		ID uint32 `json:"id"`
	}
	declareFeed struct {
		Log   uint32 `json:"log"`
		Shard int    `json:"shard"`
		Queue uint32 `json:"queue,omitempty"`
		From  uint64 `json:"from"`
		// Spans are those of a queue, if they are not all from From on.
		Spans [][2]uint64 `json:"spans,omitempty"`
	}
	// orphanLog, setIDs: only in snapshots.
	orphanLog struct {
		ID uint32 `json:"id"`
	}
	setIDs struct{ Next ids }
)

func (declareExchange) op() string { return "declare-exchange" }
func (deleteExchange) op() string  { return "delete-exchange" }
func (declareQueue) op() string    { return "declare-queue" }
func (alterQueue) op() string      { return "alter-queue" }
func (deleteQueue) op() string     { return "delete-queue" }
func (bind) op() string            { return "bind" }
func (unbind) op() string          { return "unbind" }
func (bindTopic) op() string       { return "bind-topic" }
func (unbindTopic) op() string     { return "unbind-topic" }
func (declareLog) op() string      { return "declare-log" }
func (renewLog) op() string        { return "renew-log" }
func (forgetLog) op() string       { return "forget-log" }
func (declareFeed) op() string     { return "declare-feed" }
func (forgetFeed) op() string      { return "forget-feed" }
func (orphanLog) op() string       { return "orphan-log" }
func (setIDs) op() string          { return "set-ids" }

func (c *declareExchange) assign(next *ids) { c.Number = take(&next.Exchange) }
func (c *declareQueue) assign(next *ids)    { c.ID = take(&next.Queue) }
func (c *declareLog) assign(next *ids)      { c.ID = take(&next.Log) }
func (c *renewLog) assign(next *ids)        { c.New = take(&next.Log) }
func (c *bindTopic) assign(next *ids) {
	for i := range c.Logs {
		c.Logs[i].ID = take(&next.Log)
	}
}

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
	config := c.Config
	has := q.config()
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

func (c *bindTopic) apply(d *queueDirectory) (any, error) {
	for _, l := range c.Logs {
		d.next.Log = max(d.next.Log, l.ID+1)
	}
	q, ok := d.byID.get(c.Queue)
	if !ok {
		return nil, ErrNoQueue
	}
	d.topics[topicBinding{c.Topic, c.Queue}] = c.Incarnation
	for _, declared := range c.Logs {
		log := d.declareLog(declared.ID, logKey{c.Topic, c.Incarnation, declared.Partition})
		d.bindFeed(feedKey{log.id, q.shard, q.id}, declared.From)
	}
	return done{}, nil
}

// bindFeed has every record of a log, from an offset on, be for a queue. What it has had
// before it does not get again.
func (d *queueDirectory) bindFeed(k feedKey, from uint64) {
	f, ok := d.feeds[k]
	switch {
	case !ok:
		d.declareFeed(feedInfo{k, from, []offsets{{from, everything}}})
	case f.hasEnded():
		d.sys.holds.unlimit(k.log, k.queue)
		from = max(from, f.spans[len(f.spans)-1].next)
		f.spans = append(slices.Clip(f.spans), offsets{from, everything})
		d.alterFeed(f)
	}
}

func (c *unbindTopic) apply(d *queueDirectory) (any, error) {
	delete(d.topics, topicBinding{c.Topic, c.Queue})
	for k, f := range d.feeds {
		if l, ok := d.logs.get(k.log); ok && k.queue == c.Queue && l.topic == c.Topic && !f.hasEnded() {
			d.unbindFeed(f, c.Ends[k.log])
		}
	}
	return done{}, nil
}

// unbindFeed ends where every record is for a queue. The queue reads up to there, and
// again what it still has.
func (d *queueDirectory) unbindFeed(f feedInfo, end uint64) {
	f.spans = slices.Clone(f.spans)
	last := len(f.spans) - 1
	if f.spans[last].next = end; end <= f.spans[last].first {
		f.spans = f.spans[:last]
	}
	if len(f.spans) == 0 {
		d.endFeed(f)
		return
	}
	d.alterFeed(f)
}

func (d *queueDirectory) alterFeed(f feedInfo) {
	d.feeds[f.feedKey] = f
	d.notify(feedDeclared{f})
}

func (c *forgetFeed) apply(d *queueDirectory) (any, error) {
	if f, ok := d.feeds[feedKey{c.Log, c.Shard, c.Queue}]; ok && f.hasEnded() {
		d.endFeed(f)
	}
	return done{}, nil
}

func (c *declareLog) apply(d *queueDirectory) (any, error) {
	d.next.Log = max(d.next.Log, c.ID+1)
	return d.declareLog(c.ID, logKey{c.Topic, c.Incarnation, c.Partition}), nil
}

func (d *queueDirectory) declareLog(id uint32, k logKey) *logInfo {
	if has, ok := d.logIDs.get(k); ok {
		l, _ := d.logs.get(has)
		return l
	}
	l := &logInfo{id: id, logKey: k}
	// The exchange may have been deleted while somebody was about to publish to it.
	l.orphaned.Store(strings.HasPrefix(k.topic, exchangePrefix) && !d.isOwn(k.topic))
	d.logs.put(id, l)
	d.logIDs.put(k, id)
	return l
}

func (c *renewLog) apply(d *queueDirectory) (any, error) {
	d.next.Log = max(d.next.Log, c.New+1)
	old, ok := d.logs.get(c.Old)
	if !ok {
		return nil, fmt.Errorf("there is no log %d", c.Old)
	}
	if id, _ := d.logIDs.get(old.logKey); id != c.Old { // somebody was faster
		l, _ := d.logs.get(id)
		return l, nil
	}
	d.logIDs.delete(old.logKey)
	d.logs.delete(c.Old)
	l := d.declareLog(c.New, old.logKey)
	l.orphaned.Store(old.orphaned.Load())
	for k, f := range d.feeds {
		if k.log == c.Old {
			d.endFeed(f)
			if !f.hasEnded() {
				d.declareFeed(feedInfo{feedKey{l.id, f.shard, f.queue}, 0, []offsets{{0, everything}}})
			}
		}
	}
	return l, nil
}

func (c *forgetLog) apply(d *queueDirectory) (any, error) {
	l, ok := d.logs.get(c.ID)
	if !ok {
		return done{}, nil
	}
	for k, f := range d.feeds {
		if k.log == c.ID {
			d.endFeed(f)
		}
	}
	d.logs.delete(c.ID)
	if id, _ := d.logIDs.get(l.logKey); id == c.ID {
		d.logIDs.delete(l.logKey)
	}
	return done{}, nil
}

func (c *declareFeed) apply(d *queueDirectory) (any, error) {
	if _, ok := d.logs.get(c.Log); !ok {
		return nil, fmt.Errorf("there is no log %d", c.Log)
	}
	if err := checkShard(c.Shard); err != nil {
		return nil, err
	}
	f := feedInfo{feedKey: feedKey{c.Log, c.Shard, c.Queue}, from: c.From}
	for _, s := range c.Spans {
		f.spans = append(f.spans, offsets{s[0], s[1]})
	}
	if f.spans == nil {
		f.spans = []offsets{{c.From, everything}}
	}
	d.declareFeed(f)
	return done{}, nil
}

// declareFeed tells the shard before publishers see that it follows the log.
func (d *queueDirectory) declareFeed(f feedInfo) {
	if _, ok := d.feeds[f.feedKey]; ok {
		return
	}
	d.feeds[f.feedKey] = f
	d.notify(feedDeclared{f})
	if l, ok := d.logs.get(f.log); ok && f.queue == 0 {
		l.fed[f.shard/64].Or(1 << (f.shard % 64))
	}
}

func (d *queueDirectory) endFeed(f feedInfo) {
	delete(d.feeds, f.feedKey)
	if l, ok := d.logs.get(f.log); ok && f.queue == 0 {
		l.fed[f.shard/64].And(^(uint64(1) << (f.shard % 64)))
	}
	d.notify(feedEnded{f})
}

func (c *orphanLog) apply(d *queueDirectory) (any, error) {
	if l, ok := d.logs.get(c.ID); ok {
		l.orphaned.Store(true)
		d.notify(logOrphaned{l})
	}
	return done{}, nil
}

func (c *setIDs) apply(d *queueDirectory) (any, error) {
	d.next = ids{max(d.next.Exchange, c.Next.Exchange), max(d.next.Queue, c.Next.Queue), max(d.next.Log, c.Next.Log)}
	return done{}, nil
}

// done answers a command that has nothing to say.
type done struct{}
