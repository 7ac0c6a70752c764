package actor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/group"
)

// consumerActor is a member of a consumer group.
//
//	owns      the membership, and one lane for each partition that is given to it
//	receives  effects, from the group; requests, from the handle; what became of
//	          its own background work
//	sends     commands to the group
//	keeps     its lanes, the changes of them that wait, at most one commit under way
//	dies      when it is closed, or cannot join; a fence makes it join anew
//
// It does not touch records: lanes do, and so a slow handler delays neither
// heartbeats nor the other partitions.
type consumerActor struct {
	consumer *Consumer
	group    *Group
	self     *pactor.PID

	run    uint64 // counts attempts to be a member: what is about an earlier one is ignored
	id     string
	epoch  uint64 // of the membership; 0: not a member yet
	retry  time.Duration
	again  bool // it was a member before
	lanes  map[TopicPartition]*consumerLane
	timers map[string]*time.Timer // one for each kind of message

	changes  []*change
	changing bool
	closing  bool

	committing bool
	commitDue  bool          // again
	commitAll  bool          // and of everything
	waiting    []func(error) // for that
}

const (
	// consumerAsk is how long a consumer waits for its group to answer.
	consumerAsk = 10 * time.Second
	// consumerTopics is how often it looks whether its topics have grown.
	consumerTopics = 30 * time.Second
)

// Receive implements pactor.Actor.
func (a *consumerActor) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		a.self, a.lanes, a.timers = ctx.Self(), map[TopicPartition]*consumerLane{}, map[string]*time.Timer{}
		a.join()
		a.after(a.consumer.options.CommitInterval, commitDue{})
		a.after(consumerTopics, topicsDue{})
		a.after(parkSweep, sweepDue{})
	case group.Effect:
		if m.To() == a.id {
			a.told(m)
		} else if w, ok := m.(group.Welcome); ok {
			a.decline(w)
		}
	case askAssigned:
		a.respond(ctx, partitionsOf(a.all()))
	case askStands:
		a.respond(ctx, a.stands())
	case pauseLanes:
		a.respond(ctx, a.pause(m))
	case seekLane:
		a.respond(ctx, a.seek(m))
	case changeConcurrency:
		for _, l := range a.lanes {
			l.setWorkers(int(a.consumer.concurrency.Load()))
		}
		a.respond(ctx, nil)
	case commitNow:
		a.commitFor(m, ctx.Sender())
	case closeConsumer:
		a.close(m.ctx)
	case *pactor.Stopping, *pactor.Restarting:
		a.stop()
	default:
		a.progressed(m)
	}
}

// progressed handles what the actor tells itself.
func (a *consumerActor) progressed(message any) {
	switch m := message.(type) {
	case joinEnded:
		a.joinEnded(m)
	case joinDue:
		if m.run == a.run && !a.closing {
			a.join()
		}
	case heartbeatDue:
		a.heartbeat(m)
	case memberRefused:
		if m.run == a.run {
			a.fenced(m.err)
		}
	case commitDue:
		if !a.consumer.options.ManualCommit {
			a.commit(true)
		}
		a.after(a.consumer.options.CommitInterval, m)
	case commitEnded:
		a.commitEnded(m)
	case changeEnded:
		a.changeEnded(m.change)
	case laneBegan:
		a.commit(false)
	case laneStopped:
		a.laneStopped(m)
	case topicsDue:
		a.lookAtTopics()
		a.after(consumerTopics, m)
	case sweepDue:
		a.sweep()
		a.after(parkSweep, m)
	case topicsSeen:
		a.say(group.Resize{Topics: m.topics})
	}
}

func (a *consumerActor) respond(ctx pactor.Context, answer any) {
	if answer == nil {
		answer = consumerDone{}
	}
	if ctx.Sender() != nil {
		a.consumer.sys.Send(ctx.Sender(), answer)
	}
}

// told carries out what the group says.
func (a *consumerActor) told(e group.Effect) {
	switch e := e.(type) {
	case group.Welcome:
		a.welcome(e)
	case group.Assigned:
		a.assigned(e.Partitions)
	case group.Revoke:
		a.revoke(e.Partitions)
	case group.Lost:
		a.lost(e.Partitions)
	case group.Seek:
		a.rewound(e.Partitions)
	case group.KeyChanged:
		if l := a.lanes[TopicPartition{e.Key.Topic, e.Key.Partition}]; l != nil {
			l.keyChanged(e.Key.KeyRef)
		}
	case group.Fenced:
		a.fenced(fmt.Errorf("%w: %s", ErrMemberFenced, e.Reason))
	case group.Stuck:
		a.consumer.sys.log.Warn("a consumer makes no progress", "group", a.group.name, "member", a.id,
			"since", time.UnixMilli(e.Since), "in flight", e.InFlight)
	}
}

// join begins an attempt to become a member. Every one has an id of its own: of
// one whose answer was lost, nobody knows whether it was accepted.
func (a *consumerActor) join() {
	a.run++
	a.epoch = 0
	o := &a.consumer.options
	g, err := a.consumer.sys.Group(o.Group, o.GroupConfig) // its actor may be another than before
	if err != nil {
		a.end(err)
		return
	}
	a.group = g
	a.id = fmt.Sprintf("%s-%s", a.label(), rand.Text()[:12])
	a.consumer.setID(a.id)
	command := group.Join{Member: a.id, Instance: o.Instance, Client: o.Client, SessionTimeout: o.SessionTimeout, Assignor: o.Assignor}
	run, again, self := a.run, a.again, a.self
	a.background(func(ctx context.Context) any {
		ctx, cancel := context.WithTimeout(ctx, consumerAsk)
		defer cancel()
		err := checkReplaced(ctx, g, again, o.Instance)
		if err == nil {
			command.Topics, err = a.consumer.openTopics(ctx, again)
		}
		if err == nil {
			_, err = Ask[groupDone](ctx, g.sys, g.pid, groupCommand{command, self})
		}
		return joinEnded{run, err}
	})
}

func (a *consumerActor) label() string {
	for _, s := range []string{a.consumer.options.Instance, a.consumer.options.Client} {
		if s != "" {
			return s[:min(len(s), 128)]
		}
	}
	return "consumer"
}

// checkReplaced: a static member that was shut out by a younger one with the same
// instance must not come back, or the two would shut each other out for ever.
func checkReplaced(ctx context.Context, g *Group, again bool, instance string) error {
	if !again || instance == "" {
		return nil
	}
	d, err := g.Describe(ctx)
	if err != nil {
		return err
	}
	for _, m := range d.Members {
		if m.Instance == instance && !m.Absent {
			return fmt.Errorf("instance %s: %w (member %s)", instance, ErrReplaced, m.ID)
		}
	}
	return nil
}

func (a *consumerActor) joinEnded(m joinEnded) {
	if m.run != a.run || m.err == nil {
		return
	}
	fatal := false
	for _, f := range []error{group.ErrInvalid, group.ErrConflict, group.ErrLimit, ErrReplaced, ErrNoTopic, ErrClosed} {
		fatal = fatal || errors.Is(m.err, f)
	}
	if fatal {
		a.end(m.err)
		return
	}
	a.retry = min(max(2*a.retry, consumerRetry), consumerRetryMax)
	a.consumer.sys.log.Warn("a consumer cannot join its group, and tries again", "group", a.group.name, "error", m.err)
	a.after(a.retry, joinDue{a.run})
}

// end ends the consumer, which cannot go on.
func (a *consumerActor) end(err error) {
	a.consumer.fail(err)
	a.consumer.sys.Stop(a.self)
}

func (a *consumerActor) welcome(w group.Welcome) {
	first := a.epoch == 0
	a.epoch, a.retry = w.Epoch, 0
	if !first {
		return
	}
	a.again = true
	a.consumer.once.Do(func() { close(a.consumer.ready) })
	a.heartbeat(heartbeatDue{a.run})
}

// decline ends a membership that came about after it was given up waiting for.
func (a *consumerActor) decline(w group.Welcome) {
	g := a.group
	a.background(func(ctx context.Context) any {
		ctx, cancel := context.WithTimeout(ctx, consumerAsk)
		defer cancel()
		_ = g.tell(ctx, group.Leave{Member: w.Member, Epoch: w.Epoch}) // or else its session ends some time
		return nil
	})
}

// heartbeat tells the group that the consumer is alive, and whether its work goes
// on. The next does not wait for the answer to this one: that may be held up by a
// full disk, while the group counts what it hears.
func (a *consumerActor) heartbeat(m heartbeatDue) {
	if m.run != a.run || a.epoch == 0 {
		return
	}
	inFlight := 0
	for _, l := range a.lanes {
		inFlight += l.look()
	}
	a.say(group.Heartbeat{Member: a.id, Epoch: a.epoch, Progress: a.consumer.progress.Load(), InFlight: inFlight})
	if a.consumer.sys.messaging != nil {
		a.background(func(ctx context.Context) any {
			a.consumer.sound(ctx)
			return nil
		})
	}
	a.after(a.consumer.options.HeartbeatInterval, m)
}

// say sends a command whose answer matters only if it says that the consumer is no
// member any more.
func (a *consumerActor) say(c group.Command) {
	run, g := a.run, a.group
	a.background(func(ctx context.Context) any {
		ctx, cancel := context.WithTimeout(ctx, a.consumer.options.SessionTimeout)
		defer cancel()
		if err := g.tell(ctx, c); errors.Is(err, ErrMemberFenced) || errors.Is(err, ErrStopped) {
			return memberRefused{run, err}
		}
		return nil
	})
}

// fenced: the membership is over. All partitions may have other owners by now.
func (a *consumerActor) fenced(err error) {
	if a.epoch == 0 {
		return // it is about to join
	}
	a.epoch = 0
	a.run++
	level := slog.LevelWarn
	if a.closing {
		level = slog.LevelDebug // as a rule a heartbeat that has crossed the farewell
	}
	a.consumer.sys.log.Log(context.Background(), level, "a consumer was shut out of its group", "group", a.group.name, "member", a.id, "error", err)
	lost := a.drop(a.all())
	a.changes = slices.DeleteFunc(a.changes, func(c *change) bool { return !c.final }) // they are void
	a.tellLost(lost, func() {
		if !a.closing {
			a.join()
		}
	})
}

// drop ends lanes at once.
func (a *consumerActor) drop(lanes []*consumerLane) []TopicPartition {
	for _, l := range lanes {
		l.abandon()
		delete(a.lanes, l.TopicPartition)
	}
	a.show()
	return partitionsOf(lanes)
}

// show shows its lanes to whoever measures them.
func (a *consumerActor) show() {
	all := a.all()
	a.consumer.lanes.Store(&all)
}

// lookAtTopics tells the group how the topics are now: they may have grown, or been
// made anew. It is told whether or not it knows.
func (a *consumerActor) lookAtTopics() {
	a.background(func(ctx context.Context) any {
		now, err := a.consumer.openTopics(ctx, true)
		if err != nil {
			return nil // the next look is soon
		}
		return topicsSeen{now}
	})
}

// sweep drops what nobody needs from the parking topic.
func (a *consumerActor) sweep() {
	g := a.group
	a.background(func(ctx context.Context) any {
		ctx, cancel := context.WithTimeout(ctx, consumerAsk)
		defer cancel()
		if err := a.consumer.sweep(ctx, g); err != nil {
			a.consumer.sys.log.Warn("the parking topic of a group keeps more than it needs, for now", "group", g.name, "error", err)
		}
		return nil
	})
}

func (a *consumerActor) laneStopped(m laneStopped) {
	if a.lanes[m.lane.TopicPartition] != m.lane {
		return
	}
	a.consumer.stop(m.lane.TopicPartition, m.err)
	a.consumer.sys.log.Error("a consumer has stopped work on a partition", "group", a.group.name,
		"topic", m.lane.Topic, "partition", m.lane.Partition, "error", m.err)
	if told := a.consumer.options.Listener.Stopped; told != nil {
		a.consumer.guard(func() { told(m.lane.TopicPartition, m.err) })
	}
}

// stop is the end of the actor: whatever is at work is abandoned.
func (a *consumerActor) stop() {
	a.drop(a.all())
	for _, t := range a.timers {
		t.Stop()
	}
	for _, done := range a.waiting {
		done(fmt.Errorf("consumer of group %s: %w", a.group.name, ErrStopped))
	}
	a.waiting = nil
}

func (a *consumerActor) stands() []laneStand {
	var all []laneStand
	for _, l := range a.lanes {
		if s, ok := l.stand(); ok {
			all = append(all, s)
		}
	}
	return all
}

func (a *consumerActor) all() []*consumerLane { return slices.Collect(maps.Values(a.lanes)) }

// after sends the actor a message later, in place of one of the same kind that it
// was to be sent.
func (a *consumerActor) after(d time.Duration, message any) {
	sys, self, kind := a.consumer.sys, a.self, fmt.Sprintf("%T", message)
	if t := a.timers[kind]; t != nil {
		t.Stop()
	}
	a.timers[kind] = time.AfterFunc(d, func() { sys.Send(self, message) })
}

// background runs what must not hold the actor up. What it returns is sent to the
// actor, unless it is nil.
func (a *consumerActor) background(io func(context.Context) any) {
	sys, self := a.consumer.sys, a.self
	sys.Go(func(ctx context.Context) {
		if m := io(ctx); m != nil {
			sys.Send(self, m)
		}
	})
}
