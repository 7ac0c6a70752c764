package actor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/storage"
)

// schedulesActor carries out the schedules of a system.
//
//	owns      the schedules, and their journal
//	receives  putSchedule, dropSchedule, askSchedules, from handles; scheduleTick; what
//	          became of its own background work
//	sends     messages, by publishing them; answers to whoever asked
//	keeps     requests that wait for their entry in the journal
//	has under way at most one append, and one publish for each schedule
//	dies      with its system, or when its journal is lost to another owner; a failure of
//	          the journal makes it read that again
//
// That a publish is about to be made is noted before, that it was made, after. What is
// noted and not known to be made is made again after a restart, with the same message id.
type schedulesActor struct {
	sys     *System
	publish func(ctx context.Context, exchange string, m *Message) error
	self    *pactor.PID

	state   scheduleState
	journal *journal
	run     uint64 // counts openings: what comes from an earlier one is ignored
	opening bool
	parked  []sentWith
	queue   []scheduleChange // that wait for the append under way
	flying  bool
	working map[string]bool // schedules of which a publish, or a note of one, is under way
	told    map[string]*scheduleTold
	clock   *time.Timer
	retry   time.Duration
}

// scheduleTold is what is known of a schedule in this process.
type scheduleTold struct {
	published uint64
	err       error
}

// scheduleChange is a change that is to be durable, and what follows.
type scheduleChange struct {
	op   scheduleOp
	then func(error)
}

// Requests.
type (
	putSchedule  struct{ schedule Schedule }
	dropSchedule struct{ name string }
	askSchedules struct{}
	scheduleDone struct{}
)

// What the actor tells itself.
type (
	schedulesOpened struct {
		run     uint64
		state   scheduleState
		journal *journal
		err     error
	}
	scheduleStored struct {
		run    uint64
		change scheduleChange
		err    error
	}
	schedulePublished struct {
		run  uint64
		name string
		due  int64
		err  error
	}
	scheduleTick struct{ run uint64 }
)

func (scheduleTick) IgnoreDeadLetterLogging()      {}
func (schedulePublished) IgnoreDeadLetterLogging() {}
func (scheduleStored) IgnoreDeadLetterLogging()    {}
func (schedulesOpened) IgnoreDeadLetterLogging()   {}

const (
	schedulesLog      = "meta_schedules"
	schedulesSnapshot = 1 << 20 // bytes that the journal grows before it is replaced by a snapshot
	schedulesLook     = time.Hour
	scheduleRetry     = 100 * time.Millisecond
	scheduleRetryMax  = 5 * time.Second
)

// schedules is how the system reaches the actor, which starts when it is first needed.
type schedules struct {
	publish func(ctx context.Context, exchange string, m *Message) error // nil: that of the system

	mu  sync.Mutex
	pid *pactor.PID
}

func (o *schedules) actor(s *System) (*pactor.PID, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pid != nil {
		return o.pid, nil
	}
	publish := o.publish
	if publish == nil {
		publish = s.publishOwn
	}
	pid, err := s.Spawn("schedules", func() pactor.Actor { return &schedulesActor{sys: s, publish: publish} })
	if err != nil {
		return nil, fmt.Errorf("schedules: %w", err)
	}
	o.pid = pid
	s.watches.then(pid, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.pid = nil
	})
	return pid, nil
}

// Receive implements pactor.Actor.
func (a *schedulesActor) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		a.self = ctx.Self()
		a.open()
	case putSchedule, dropSchedule, askSchedules:
		if a.state == nil {
			a.parked = append(a.parked, sentWith{m, ctx.Sender()})
			return
		}
		a.request(sentWith{m, ctx.Sender()})
	case schedulesOpened:
		a.opened(m)
	case scheduleStored:
		a.stored(m)
	case schedulePublished:
		a.published(m)
	case scheduleTick:
		if m.run == a.run {
			a.look()
		}
	case *pactor.Stopping, *pactor.Restarting:
		a.forget(fmt.Errorf("schedules: %w", ErrStopped))
	}
}

func (a *schedulesActor) request(r sentWith) {
	answer := func(err error) {
		var m any = scheduleDone{}
		if err != nil {
			m = err
		}
		if r.sender != nil {
			a.sys.Send(r.sender, m)
		}
	}
	switch m := r.message.(type) {
	case askSchedules:
		a.sys.Send(r.sender, a.list())
	case dropSchedule:
		if a.state[m.name] == nil {
			answer(fmt.Errorf("schedule %s: %w", m.name, ErrNoSchedule))
			return
		}
		a.change(scheduleOp{Drop: m.name}, answer)
	case putSchedule:
		switch {
		case a.state.same(&m.schedule):
			answer(nil)
		case a.state[m.schedule.Name] == nil && len(a.state) >= SchedulesMax:
			answer(fmt.Errorf("%w: there are %d schedules, the limit is SchedulesMax", ErrOverLimit, len(a.state)))
		default:
			a.change(scheduleOp{Put: &m.schedule, At: time.Now().UnixMilli()}, answer)
		}
	}
}

func (a *schedulesActor) list() []ScheduleInfo {
	all := make([]ScheduleInfo, 0, len(a.state))
	for _, name := range slices.Sorted(maps.Keys(a.state)) {
		e, told := a.state[name], a.tell(name)
		info := ScheduleInfo{Schedule: e.Schedule, Next: e.next(), Published: told.published, Missed: e.Missed, Err: told.err}
		if e.Done != 0 {
			info.Last = time.UnixMilli(e.Done)
		}
		all = append(all, info)
	}
	return all
}

func (a *schedulesActor) tell(name string) *scheduleTold {
	if a.told[name] == nil {
		a.told[name] = &scheduleTold{}
	}
	return a.told[name]
}

func (a *schedulesActor) open() {
	if a.opening {
		return
	}
	a.opening = true
	a.run++
	run, nonce := a.run, fmt.Appendf(nil, "%s/schedules/%d", a.sys.actors.ID, partitionRuns.Add(1))
	a.background(func(ctx context.Context) any {
		var state scheduleState
		j, err := openJournal(ctx, a.sys.store, schedulesLog, nonce, &state)
		return schedulesOpened{run, state, j, err}
	})
}

func (a *schedulesActor) opened(m schedulesOpened) {
	if m.run != a.run {
		return
	}
	a.opening = false
	if m.err != nil {
		a.failed(fmt.Errorf("open the schedules: %w", ofStore(m.err)))
		return
	}
	a.state, a.journal, a.retry = m.state, m.journal, 0
	a.working, a.told = map[string]bool{}, map[string]*scheduleTold{}
	for name := range a.state {
		a.resume(name)
	}
	parked := a.parked
	a.parked = nil
	for _, r := range parked {
		a.request(r)
	}
	a.look()
}

// resume goes on with a publish that was begun before a restart, and is not known to be
// made. After MissedAfter that is for CatchUp to say.
func (a *schedulesActor) resume(name string) {
	e := a.state[name]
	switch {
	case e.Due == 0:
	case e.Schedule.CatchUp == PublishOnce || time.Since(time.UnixMilli(e.Due)) <= MissedAfter:
		a.send(name)
	default:
		a.working[name] = true
		a.change(scheduleOp{Miss: name, At: e.Due, N: 1}, func(error) { delete(a.working, name) })
	}
}

// failed tells those who wait, and reads the journal again later: schedules are to go on
// by themselves.
func (a *schedulesActor) failed(err error) {
	for _, r := range a.parked {
		if r.sender != nil {
			a.sys.Send(r.sender, err)
		}
	}
	a.parked = nil
	a.forget(err)
	a.sys.log.Error("schedules cannot be carried out, and are read again", "error", err)
	a.retry = min(max(2*a.retry, scheduleRetry), scheduleRetryMax)
	a.run++
	run, self := a.run, a.self
	a.clock = time.AfterFunc(a.retry, func() { a.sys.Send(self, scheduleTick{run}) })
}

// forget ends the state in memory.
func (a *schedulesActor) forget(err error) {
	if a.clock != nil {
		a.clock.Stop()
	}
	queue := a.queue
	a.queue, a.flying, a.state = nil, false, nil
	for _, c := range queue {
		c.then(err)
	}
	if j := a.journal; j != nil {
		a.journal = nil
		a.sys.Go(func(context.Context) { j.log.Close() })
	}
}

// change makes a change durable, then in the state.
func (a *schedulesActor) change(op scheduleOp, then func(error)) {
	a.queue = append(a.queue, scheduleChange{op, then})
	a.advance()
}

func (a *schedulesActor) advance() {
	if a.flying || len(a.queue) == 0 {
		return
	}
	c, run, j := a.queue[0], a.run, a.journal
	a.queue, a.flying = a.queue[1:], true
	data, err := json.Marshal(c.op)
	if err != nil {
		panic(err) // texts, numbers and times
	}
	var snapshot []byte
	if j.bytes > schedulesSnapshot {
		snapshot = a.state.snapshot()
	}
	a.background(func(ctx context.Context) any {
		var err error
		if snapshot != nil {
			err = store(ctx, j, storage.State, snapshot)
		}
		if err == nil {
			err = store(ctx, j, storage.Data, data)
		}
		return scheduleStored{run, c, err}
	})
}

func (a *schedulesActor) stored(m scheduleStored) {
	if m.run != a.run {
		m.change.then(fmt.Errorf("schedules: %w: %w", ErrUnknown, errors.Join(m.err)))
		return
	}
	a.flying = false
	err := m.err
	if err == nil {
		err = a.state.apply(m.change.op)
	}
	m.change.then(err)
	if err != nil {
		a.failed(err)
		return
	}
	a.advance()
	a.look()
}

// look does what is due, and sees to it that it looks again when something is.
func (a *schedulesActor) look() {
	if a.state == nil {
		a.open()
		return
	}
	now := time.Now()
	wake := now.Add(schedulesLook)
	for name, e := range a.state {
		if a.working[name] {
			continue
		}
		op, at := e.decide(now)
		if op == nil {
			wake = earlier(wake, at)
			continue
		}
		a.working[name] = true
		a.change(*op, func(err error) {
			delete(a.working, name)
			if err == nil && op.Begin != "" {
				a.send(name)
			}
		})
	}
	if a.clock != nil {
		a.clock.Stop()
	}
	run, self := a.run, a.self
	// Rounded up: it must not look before the time, and find nothing due.
	a.clock = time.AfterFunc(max(time.Until(wake), time.Millisecond), func() { a.sys.Send(self, scheduleTick{run}) })
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// send publishes the message that is due, and tries again until that is too late.
func (a *schedulesActor) send(name string) {
	e := a.state[name]
	if e == nil || e.Due == 0 {
		return
	}
	a.working[name] = true
	due := time.UnixMilli(e.Due)
	m, exchange, run, publish := e.Schedule.Message, e.Schedule.Exchange, a.run, a.publish
	m.MessageID, m.Timestamp = e.Schedule.MessageID(due), due
	a.background(func(ctx context.Context) any {
		err := insist(ctx, func(ctx context.Context) error { return publish(ctx, exchange, &m) })
		if err != nil && ctx.Err() != nil {
			return nil // the system closes: the next start goes on
		}
		return schedulePublished{run, name, due.UnixMilli(), err}
	})
}

// insist publishes until that succeeds, makes no sense, or is too late.
func insist(ctx context.Context, publish func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, MissedAfter)
	defer cancel()
	for pause := scheduleRetry; ; pause = min(2*pause, scheduleRetryMax) {
		if err := publish(ctx); err == nil || isFinalPublish(err) || sleep(ctx, pause) != nil {
			return err
		}
	}
}

// isFinalPublish says whether there is no use in trying again.
func isFinalPublish(err error) bool {
	for _, f := range []error{ErrUnroutable, ErrNoExchange, ErrInvalid, ErrClosed} {
		if errors.Is(err, f) {
			return true
		}
	}
	return isNeverTaken(err)
}

func (a *schedulesActor) published(m schedulePublished) {
	if m.run != a.run || a.state == nil {
		return
	}
	told := a.tell(m.name)
	told.err = m.err
	op := scheduleOp{Publish: m.name, At: m.due}
	if m.err == nil {
		told.published++
	} else {
		a.sys.log.Error("a scheduled message was not published", "schedule", m.name, "due", time.UnixMilli(m.due), "error", m.err)
		op = scheduleOp{Miss: m.name, At: m.due, N: 1}
	}
	a.change(op, func(error) {
		delete(a.working, m.name)
	})
}

// background runs what must not hold the actor up, and sends it what that returns,
// unless it is nil.
func (a *schedulesActor) background(io func(context.Context) any) {
	sys, self := a.sys, a.self
	sys.Go(func(ctx context.Context) {
		if m := io(ctx); m != nil {
			sys.Send(self, m)
		}
	})
}
