package actor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/storage"
)

// groupActor is a consumer group.
//
//	owns      the group's state (internal/group), and its journal
//	receives  groupCommand, from consumers and handles; askGroup, from handles
//	sends     the group's effects to its members; answers to whoever asked
//	keeps     what waits for the append under way, at most groupWaiting commands
//	has under way at most one append, of all that came while the one before was
//	dies      after drain, or when its journal is lost to another owner; a
//	          failure of the journal makes it read that again
//
// Nobody is told anything before what it rests on is durable.
type groupActor struct {
	sys     *System
	name    string
	config  group.Config
	self    *pactor.PID
	members map[string]*pactor.PID

	core     *group.Group
	journal  *journal
	opening  bool
	parked   []sentWith // come before it was open
	events   []byte     // of the commands since the last append
	waiting  []outgoing // what may go out when those are durable
	flying   []outgoing // what may go out when the append under way is
	inFlight bool
	draining bool
	clock    *time.Timer
	run      uint64 // counts openings: what comes from an earlier one is ignored
}

// groupCommand is a command to a group. Whoever sends it as a request is told
// the error, or nil as a groupDone.
type groupCommand struct {
	command group.Command
	member  *pactor.PID // of a Join: where effects go
}

// groupDone answers a command that went well.
type groupDone struct{}

// askGroup asks a group something; look must only look.
type askGroup struct {
	look func(*group.Group) any
}

// askMembers is answered with the actors that effects go to, a []*pactor.PID.
type askMembers struct{}

// outgoing is a message that waits.
type outgoing struct {
	to      *pactor.PID // nil: to the member that effect names
	effect  group.Effect
	message any
}

type groupOpened struct {
	run     uint64
	core    *group.Group
	journal *journal
	err     error
}

type groupStored struct {
	run uint64
	err error
}

// groupTick lets time pass.
type groupTick struct{ run uint64 }

// IgnoreDeadLetterLogging: the timer outlives the group.
func (groupTick) IgnoreDeadLetterLogging() {}

const (
	// groupWaiting is how many messages wait for an append, or for the journal
	// to be opened, before more are refused with ErrBackpressure.
	groupWaiting = 65_536
	// groupSnapshotBytes is how much a journal grows before it is replaced by a
	// snapshot, at least; it is as much as the snapshot, if that is more.
	groupSnapshotBytes = 1 << 20
	groupRetry         = time.Second // when the store is full
)

// groupCore restores a group from its journal.
type groupCore struct {
	config group.Config
	core   *group.Group
}

func (c *groupCore) restore(snapshot []byte) (err error) {
	if snapshot == nil {
		c.core, err = group.New(c.config)
	} else {
		c.core, err = group.Restore(c.config, snapshot)
	}
	return err
}

func (c *groupCore) replay(entry []byte) error { return c.core.Replay(entry) }

// Receive implements pactor.Actor.
func (g *groupActor) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		g.self, g.members = ctx.Self(), map[string]*pactor.PID{}
	case groupCommand, groupCommands, askGroup:
		g.request(sentWith{m, ctx.Sender()})
	case groupOpened:
		g.opened(m)
	case groupStored:
		g.stored(m)
	case groupTick:
		if m.run == g.run && g.core != nil {
			g.apply(group.Tick{}, nil)
		}
	case askMembers:
		g.tell(ctx.Sender(), slices.Collect(maps.Values(g.members)))
	case drain:
		g.draining = true
	case *pactor.Stopping, *pactor.Restarting:
		g.abandon(fmt.Errorf("group %s: %w", g.name, ErrStopped))
		return
	default:
		return
	}
	g.advance()
}

func (g *groupActor) request(r sentWith) {
	if len(g.parked)+len(g.waiting) >= groupWaiting {
		g.tell(r.sender, fmt.Errorf("group %s: %w", g.name, ErrBackpressure))
		return
	}
	if g.core == nil {
		g.parked = append(g.parked, r)
		g.open()
		return
	}
	switch m := r.message.(type) {
	case groupCommand:
		if j, ok := m.command.(group.Join); ok {
			g.members[j.Member] = m.member
		}
		g.apply(m.command, r.sender)
	case groupCommands:
		g.applyAll(m, r)
	case askGroup:
		g.hold(outgoing{to: r.sender, message: m.look(g.core)})
	}
}

// apply carries a command out, and holds back what it gives rise to.
func (g *groupActor) apply(c group.Command, sender *pactor.PID) {
	err := g.carryOut(c)
	if sender != nil {
		var answer any = groupDone{}
		if err != nil {
			answer = err
		}
		g.hold(outgoing{to: sender, message: answer})
	}
}

func (g *groupActor) carryOut(c group.Command) error {
	events, effects, err := g.core.Apply(time.Now().UnixMilli(), c)
	g.events = append(g.events, events...)
	for _, e := range effects {
		g.hold(outgoing{effect: e})
	}
	if err != nil {
		err = fmt.Errorf("group %s: %w", g.name, err)
	}
	return err
}

func (g *groupActor) hold(o outgoing) { g.waiting = append(g.waiting, o) }

func (g *groupActor) tell(to *pactor.PID, message any) {
	if to != nil {
		g.sys.Send(to, message)
	}
}

// advance begins the next append, or lets go what waits for none.
func (g *groupActor) advance() {
	switch {
	case g.inFlight || g.opening:
		return
	case len(g.events) > 0:
		g.append()
		return
	}
	g.release(g.waiting)
	g.waiting = nil
	switch {
	case g.draining:
		g.sys.Stop(g.self)
	case g.core != nil:
		g.schedule()
	}
}

// release sends what was held back.
func (g *groupActor) release(all []outgoing) {
	for _, o := range all {
		if o.effect == nil {
			g.tell(o.to, o.message)
			continue
		}
		member := o.effect.To()
		g.tell(g.members[member], o.effect)
		if _, ended := o.effect.(group.Fenced); ended {
			delete(g.members, member)
		}
	}
}

// schedule wakes the group when time has something to do.
func (g *groupActor) schedule() {
	if g.clock != nil {
		g.clock.Stop()
	}
	at, ok := g.core.Deadline()
	if !ok {
		return
	}
	sys, self, run := g.sys, g.self, g.run
	g.clock = time.AfterFunc(max(time.Until(time.UnixMilli(at)), time.Millisecond), func() { sys.Send(self, groupTick{run}) })
}

func (g *groupActor) open() {
	if g.opening {
		return
	}
	g.opening = true
	g.run++
	run, nonce := g.run, fmt.Appendf(nil, "%s/group/%d", g.sys.actors.ID, partitionRuns.Add(1))
	g.background(func(ctx context.Context) any {
		core := &groupCore{config: g.config}
		j, err := openJournal(ctx, g.sys.store, groupLog(g.name), nonce, core)
		return groupOpened{run, core.core, j, err}
	})
}

func (g *groupActor) opened(m groupOpened) {
	if m.run != g.run {
		return
	}
	g.opening = false
	parked := g.parked
	g.parked = nil
	if m.err != nil {
		for _, r := range parked {
			g.tell(r.sender, fmt.Errorf("open group %s: %w", g.name, m.err))
		}
		return
	}
	g.core, g.journal = m.core, m.journal
	g.apply(group.Recover{}, nil)
	for _, r := range parked {
		g.request(r)
	}
}

// append makes one entry of all events that wait. Behind a journal that has
// grown, it is a snapshot, which holds them as well.
func (g *groupActor) append() {
	kind, data := storage.Data, []byte(nil)
	if g.journal.bytes > max(groupSnapshotBytes, g.core.Size()) {
		kind, data = storage.State, g.core.Snapshot()
	} else {
		data = group.Seal(g.events)
	}
	g.flying, g.waiting, g.events, g.inFlight = g.waiting, nil, nil, true
	run, j := g.run, g.journal
	g.background(func(ctx context.Context) any { return groupStored{run, store(ctx, j, kind, data)} })
}

// store waits for space if there is none: nobody is told anything meanwhile, and
// the group goes on where it was.
func store(ctx context.Context, j *journal, kind storage.Kind, data []byte) error {
	for {
		var err error
		if kind == storage.State {
			err = j.save(ctx, data)
		} else {
			err = j.append(ctx, kind, data)
		}
		if !errors.Is(err, ErrFull) {
			return err
		}
		if sleep(ctx, groupRetry) != nil {
			return err
		}
	}
}

func (g *groupActor) stored(m groupStored) {
	if m.run != g.run {
		return
	}
	g.inFlight = false
	flying := g.flying
	g.flying = nil
	if m.err == nil {
		g.release(flying)
		return
	}
	// What is in memory may be ahead of the journal, or behind it.
	g.sys.log.Warn("a consumer group reads its journal again", "group", g.name, "error", m.err)
	g.refuse(append(flying, g.waiting...), fmt.Errorf("group %s: %w: %w", g.name, ErrUnknown, m.err))
	g.forget()
}

// refuse answers what was held back with an error. Effects are dropped: they
// rest on what may not be stored.
func (g *groupActor) refuse(all []outgoing, err error) {
	for _, o := range all {
		if o.effect == nil {
			g.tell(o.to, err)
		}
	}
}

// forget drops the state; the next request reads it again. Members hear that
// they are none any more when they next say something.
func (g *groupActor) forget() {
	if j := g.journal; j != nil {
		g.sys.Go(func(context.Context) { j.log.Close() })
	}
	g.core, g.journal, g.events, g.waiting, g.inFlight = nil, nil, nil, nil, false
	g.run++
	if g.clock != nil {
		g.clock.Stop()
	}
}

func (g *groupActor) abandon(err error) {
	g.refuse(append(g.flying, g.waiting...), fmt.Errorf("%w: %w", err, ErrUnknown))
	for _, r := range g.parked {
		g.tell(r.sender, err)
	}
	g.flying, g.parked = nil, nil
	g.forget()
}

func (g *groupActor) background(io func(context.Context) any) {
	sys, self := g.sys, g.self
	if !sys.Go(func(ctx context.Context) { sys.Send(self, io(ctx)) }) {
		sys.Stop(self)
	}
}
