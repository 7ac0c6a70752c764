package group

import (
	"fmt"

	"github.com/troupestream/troupe/internal/wire"
)

// Apply carries out a command. It returns the events to journal, which are nil
// when the durable state did not change, and the effects to let go once they are
// durable: see the package's description. now is in Unix ms; it should not go
// backwards.
//
// A command that fails changed nothing, and its effects are empty. The one
// exception is Commit, which may be refused in part.
func (g *Group) Apply(now int64, c Command) (events []byte, effects []Effect, err error) {
	g.events, g.effects = nil, nil
	g.stamp++
	err = g.carryOut(now, c)
	return g.events, g.effects, err
}

func (g *Group) carryOut(now int64, c Command) error {
	switch c := c.(type) {
	case Heartbeat:
		return g.heartbeat(now, c)
	case Commit:
		return g.commit(now, c)
	case Hold:
		return g.hold(now, c)
	case Park:
		return g.park(now, c)
	case Resolve:
		return g.resolve(now, c)
	case Release:
		return g.release(now, c)
	case Tick:
		g.tick(now)
		return nil
	case Join:
		return g.join(now, c)
	case Leave:
		return g.leave(now, c)
	case Evict:
		return g.evict(now, c)
	case Recover:
		g.recover(now)
		return nil
	case Resize:
		return g.resize(c)
	case Forget:
		return g.forget(c)
	case Reset:
		return g.reset(c)
	case Rewind:
		return g.rewind(c)
	case ReleaseKey:
		return g.releaseKey(c)
	case Skip:
		return g.skip(c)
	case Edit:
		return g.edit(c)
	}
	return fmt.Errorf("%w: %T is not a command of a group", ErrInvalid, c)
}

// tell adds an effect.
func (g *Group) tell(e Effect) { g.effects = append(g.effects, e) }

// emit makes an event happen: it is journalled and applied.
func (g *Group) emit(e event) {
	w := writer{wire.Writer{B: append(g.events, e.kind())}}
	e.put(&w)
	g.events = w.B
	e.apply(g)
}

// nextEpoch is an epoch that was never given out.
func (g *Group) nextEpoch() uint64 { return g.epoch + 1 }

// sender returns the member that sent a command, and notes that it is alive.
func (g *Group) sender(now int64, id string) (*member, error) {
	m := g.members[id]
	if m == nil || m.absent {
		return nil, fmt.Errorf("%w: %q; it may have been silent for too long: join again with a new id", ErrUnknownMember, id)
	}
	m.seen = max(m.seen, now)
	return m, nil
}

// senderWith is sender for commands that carry the epoch of the membership.
func (g *Group) senderWith(now int64, id string, epoch uint64) (*member, error) {
	m, err := g.sender(now, id)
	if err == nil && m.epoch != epoch {
		return nil, fmt.Errorf("%w: member %q has epoch %d, not %d: join again", ErrFenced, id, m.epoch, epoch)
	}
	return m, err
}

// find returns a partition that the group knows.
func (g *Group) find(name string, index int) (*part, error) {
	t := g.topics[name]
	switch {
	case t == nil:
		return nil, fmt.Errorf("%w: the group knows no topic %q: tell it by Join or Resize", ErrUnknownPartition, name)
	case index < 0 || index >= len(t.parts):
		return nil, fmt.Errorf("%w: topic %s has %d partitions, there is no %d", ErrUnknownPartition, name, len(t.parts), index)
	}
	return t.parts[index], nil
}

// owned returns a partition that a member owns with the epoch of its claim.
func (g *Group) owned(m *member, c Claim) (*part, error) {
	p, err := g.find(c.Topic, c.Partition)
	switch {
	case err != nil:
		return nil, err
	case p.owner != m:
		return nil, fmt.Errorf("%w: %q does not own it (any more)", ErrFenced, m.id)
	case c.Epoch == p.epoch:
		return p, nil
	case c.Epoch >= p.since && c.Epoch < p.epoch:
		return nil, fmt.Errorf("%w: epoch %d, now %d; follow the Seek", ErrRewound, c.Epoch, p.epoch)
	}
	return nil, fmt.Errorf("%w: %q owns it with epoch %d, not %d", ErrFenced, m.id, p.epoch, c.Epoch)
}

// once returns a partition that the running command has not named before.
func (g *Group) once(p *part) error {
	if p.stamp == g.stamp {
		return fmt.Errorf("%w: topic %s, partition %d is named twice", ErrInvalid, p.topic.name, p.index)
	}
	p.stamp = g.stamp
	return nil
}
