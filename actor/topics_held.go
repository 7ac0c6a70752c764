package actor

import (
	"context"
)

// hold notes that queues read a topic, before they do: from then on its partitions keep
// what the queues need, and after a restart everything until the queues have said what
// that is. To ask again costs a look.
func (t *Topic) hold(ctx context.Context) error {
	if t.held.Load() {
		return nil
	}
	return t.sys.topics.exclusively(ctx, "keep topic "+t.name+" for queues", func() error {
		return t.sys.topics.setHeld(ctx, t.name, t.incarnation, true)
	})
}

// setHeld notes whether queues read a topic.
func (d *topics) setHeld(ctx context.Context, name string, incarnation uint64, held bool) error {
	err := d.change(ctx, func(all *directory) (bool, error) {
		stored, found := all.Topics[name]
		if !found || stored.Deleting || stored.Incarnation != incarnation {
			return false, ErrNoTopic
		}
		changed := stored.Held != held
		stored.Held = held
		all.Topics[name] = stored
		return changed, nil
	})
	if t := d.open[name]; err == nil && t != nil {
		t.held.Store(held)
	}
	return err
}
