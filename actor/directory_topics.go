package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/troupestream/troupe/internal/routing"
)

// settleTopics brings the directory in line with the topics that there are: what refers
// to topics that were deleted is forgotten, queues are bound to partitions that were
// added, and logs of exchanges that are gone are deleted where nothing in them is for a
// queue.
func (d *queueDirectory) settleTopics(ctx context.Context) error {
	there, err := d.sys.topics.stored(ctx)
	if err != nil {
		return err
	}
	var all []command
	for _, c := range d.deadLogs(there, nil) {
		all = append(all, c)
	}
	for b, incarnation := range d.topicBindings() {
		if t, ok := there[b.topic]; !ok || t.Incarnation != incarnation {
			all = append(all, &unbindTopic{Topic: b.topic, Queue: b.queue})
		} else if more := d.partitionsAdded(b, t); len(more) > 0 {
			all = append(all, &bindTopic{Topic: b.topic, Incarnation: incarnation, Queue: b.queue, Logs: more})
		}
	}
	if err := d.changeAll(ctx, append(all, d.deadTargets(there)...)); err != nil {
		return err
	}
	for name := range there {
		if err := d.dropTopicOf(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (d *queueDirectory) topicBindings() map[topicBinding]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[topicBinding]uint64{}
	for b, incarnation := range d.topics {
		all[b] = incarnation
	}
	return all
}

// deadLogs are the logs of topics that are gone, and those that are orphaned and read by
// nobody. of: only those of these topics.
func (d *queueDirectory) deadLogs(there, of map[string]storedTopic) (all []*forgetLog) {
	d.mu.Lock()
	defer d.mu.Unlock()
	read := map[uint32]bool{}
	for k := range d.feeds {
		read[k.log] = true
	}
	for _, l := range d.logs.all() {
		if _, asked := of[l.topic]; of != nil && !asked {
			continue
		}
		t, ok := there[l.topic]
		if gone := there != nil && (!ok || t.Incarnation != l.incarnation); gone || l.orphaned.Load() && !read[l.id] {
			all = append(all, &forgetLog{l.id})
		}
	}
	return all
}

// deadTargets unbind topics that are gone.
func (d *queueDirectory) deadTargets(there map[string]storedTopic) (all []command) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, to := range d.table.Targets() {
		if _, ok := there[to.Name]; ok || to.Kind != routing.ToTopic {
			continue
		}
		for _, b := range d.table.To(to) {
			all = append(all, &unbind{b})
		}
	}
	return all
}

func (d *queueDirectory) partitionsAdded(b topicBinding, t storedTopic) (all []declaredLog) {
	q, ok := d.byID.get(b.queue)
	if !ok {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range t.Partitions {
		id, known := d.logIDs.get(logKey{b.topic, t.Incarnation, i})
		if _, reads := d.feeds[feedKey{id, q.shard, q.id}]; !known || !reads {
			all = append(all, declaredLog{Partition: i})
		}
	}
	return all
}

// dropTopicOf deletes a topic that was the log of an exchange, if the exchange is gone
// and so are all its logs.
func (d *queueDirectory) dropTopicOf(ctx context.Context, topic string) error {
	if !strings.HasPrefix(topic, exchangePrefix) || d.needs(topic) {
		return nil
	}
	if err := d.sys.DeleteTopic(ctx, topic); err != nil && !errors.Is(err, ErrNoTopic) {
		return fmt.Errorf("delete the log of an exchange that is gone: %w", err)
	}
	return nil
}

// needs says whether a topic is the log of an exchange, or has one that counts.
func (d *queueDirectory) needs(topic string) bool {
	for _, l := range d.logs.all() {
		if l.topic == topic {
			return true
		}
	}
	return d.isOwn(topic)
}

// isOwn says whether a topic is that of an exchange that there is.
func (d *queueDirectory) isOwn(topic string) bool {
	for _, x := range d.exchanges.all() {
		if x.topic(false) == topic || x.topic(true) == topic {
			return true
		}
	}
	return false
}

// topicsChanged is said when a topic was deleted, or altered.
func (s *System) topicsChanged(ctx context.Context, topic string) error {
	if d := s.exchanges.open.Load(); d != nil && !Internal(topic) {
		return d.settleTopics(ctx)
	}
	return nil // whoever opens the directory looks
}
