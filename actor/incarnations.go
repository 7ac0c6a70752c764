package actor

import (
	"context"
	"fmt"

	"github.com/troupestream/troupe/internal/group"
)

// madeAnew returns those of the topics that a group knows which were deleted and
// declared again since, as they are now.
func (d *topics) madeAnew(ctx context.Context, known []group.Topic) (anew []group.Topic, err error) {
	if len(known) == 0 {
		return nil, nil
	}
	err = d.exclusively(ctx, "look for topics that were made anew", func() error {
		all, err := d.load(ctx)
		if err != nil {
			return err
		}
		for _, t := range known {
			if now, found := all.Topics[t.Name]; found && !now.Deleting && now.Incarnation > t.Incarnation {
				anew = append(anew, group.Topic{Name: t.Name, Partitions: now.Partitions, Incarnation: now.Incarnation})
			}
		}
		return nil
	})
	return anew, err
}

// renew gives topics that were kept in memory by a process that has ended another
// incarnation: their offsets begin at 0 again.
func (d *topics) renew(ctx context.Context) error {
	return d.changeWhat(ctx, d.read, func(all *directory) (changed bool, err error) {
		for name, t := range all.Topics {
			if t.Durability != durabilityNames[Memory] {
				continue
			}
			logs, err := d.sys.store.Logs(ctx, partitionLogs(name))
			if err != nil {
				return false, err
			}
			if len(logs) == 0 {
				t.Incarnation = all.seq + 1
				all.Topics[name], changed = t, true
			}
		}
		return changed, nil
	})
}

// meets sees to it that the topic which a lane is about to read is the one that the
// group speaks of. If it is a younger one, the group is told; it will take the
// partition back, and give out those that there are.
func (l *consumerLane) meets(t *Topic) error {
	if t.incarnation == l.incarnation {
		return nil
	}
	if t.incarnation > l.incarnation {
		l.consumer.sys.Send(l.consumer.pid, topicsSeen{[]group.Topic{t.said()}})
	}
	return fmt.Errorf("topic %s was deleted and made anew, and the group is about to hear of it", t.name)
}
