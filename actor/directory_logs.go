package actor

import (
	"fmt"
	"slices"
	"strings"
)

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
