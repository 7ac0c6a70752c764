package actor

import (
	"context"
	"fmt"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/storage"
)

// directoryActor changes the directory of exchanges and queues.
//
//	owns      the directory's journal
//	receives  directoryRequest, from handles
//	sends     answers to whoever asked; to those who have subscribed, their functions
//	          are called
//	keeps     the commands that wait for the append under way, at most directoryWaiting
//	has under way at most one append, of all that came while the one before was
//	dies      after drain, or when its journal is lost: the directory can be looked at
//	          then, and not be changed any more
//
// A command is applied once it is durable, so that no message is routed by a binding
// that a restart would not know.
type directoryActor struct {
	d       *queueDirectory
	journal *journal
	next    ids // to give to commands that wait
	round   int // bytes of the last round

	self     *pactor.PID
	waiting  []directoryRequest
	senders  []*pactor.PID // of waiting
	flying   []directoryRequest
	askers   []*pactor.PID // of flying
	inFlight bool
	draining bool
}

// directoryRequest is a list of commands. It is answered with what the last of them
// answers, or with the first error; those behind one that fails are carried out all the
// same.
type directoryRequest struct{ commands []command }

// directoryStored says what became of an append.
type directoryStored struct {
	round int // bytes of the round that was made
	err   error
}

// directoryWaiting is how many requests wait before more are refused with
// ErrBackpressure.
const directoryWaiting = 65_536

// Receive implements pactor.Actor.
func (a *directoryActor) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		a.self = ctx.Self()
	case directoryRequest:
		a.request(m, ctx.Sender())
	case directoryStored:
		a.stored(m)
	case drain:
		a.draining = true
	case *pactor.Stopping, *pactor.Restarting:
		a.lose(fmt.Errorf("%w: %w", errDirectoryLost, ErrStopped))
		j := a.journal
		a.d.sys.Go(func(context.Context) { j.log.Close() })
		return
	default:
		return
	}
	a.advance()
}

func (a *directoryActor) request(m directoryRequest, sender *pactor.PID) {
	if len(a.waiting) >= directoryWaiting {
		a.d.sys.Send(sender, fmt.Errorf("the directory of exchanges and queues: %w", ErrBackpressure))
		return
	}
	for _, c := range m.commands {
		if n, ok := c.(numbered); ok {
			n.assign(&a.next)
		}
	}
	a.waiting, a.senders = append(a.waiting, m), append(a.senders, sender)
}

func (a *directoryActor) advance() {
	switch {
	case a.inFlight:
	case len(a.waiting) > 0:
		a.append()
	case a.draining:
		a.d.sys.Stop(a.self)
	}
}

// append makes one entry of all that waits; before it, a round, if the journal has
// grown.
func (a *directoryActor) append() {
	a.flying, a.waiting, a.askers, a.senders = a.waiting, nil, a.senders, nil
	a.inFlight = true
	var all []command
	for _, r := range a.flying {
		all = append(all, r.commands...)
	}
	var round []command
	if a.journal.bytes > max(roundBytes, a.round) {
		round = a.d.commands()
	}
	sys, self, j := a.d.sys, a.self, a.journal
	if !sys.Go(func(ctx context.Context) { sys.Send(self, appendCommands(ctx, j, round, all)) }) {
		sys.Stop(self)
	}
}

func appendCommands(ctx context.Context, j *journal, round, all []command) (stored directoryStored) {
	if round != nil {
		if stored.round, stored.err = saveDirectory(ctx, j, round); stored.err != nil {
			return stored
		}
	}
	data, err := encodeCommands(all, 0, false)
	if err == nil {
		err = store(ctx, j, storage.Data, data)
	}
	stored.err = err
	return stored
}

func (a *directoryActor) stored(m directoryStored) {
	a.inFlight = false
	if m.err != nil {
		a.d.sys.log.Error("the directory of exchanges and queues cannot be written", "error", m.err)
		a.lose(fmt.Errorf("%w: %w: %w", errDirectoryLost, ErrUnknown, m.err))
		a.d.sys.Stop(a.self)
		return
	}
	if m.round > 0 {
		a.round = m.round
	}
	for i, r := range a.flying {
		a.d.sys.Send(a.askers[i], a.apply(r.commands))
	}
	a.flying, a.askers = nil, nil
}

func (a *directoryActor) apply(all []command) (answer any) {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	answer = done{}
	var failed error
	for _, c := range all {
		got, err := c.apply(a.d)
		if err != nil && failed == nil {
			failed = err
		}
		answer = got
	}
	if failed != nil {
		return failed
	}
	return answer
}

// lose tells all who wait that nothing is changed any more.
func (a *directoryActor) lose(err error) {
	for _, asker := range append(a.askers, a.senders...) {
		a.d.sys.Send(asker, err)
	}
	a.flying, a.askers, a.waiting, a.senders = nil, nil, nil, nil
}

// amend has the directory's actor carry a command out, and waits until it is durable.
func amend[T any](ctx context.Context, d *queueDirectory, c ...command) (T, error) {
	return Ask[T](ctx, d.sys, d.pid, directoryRequest{c})
}

// changeAll carries commands out that have no answer.
func (d *queueDirectory) changeAll(ctx context.Context, all []command) error {
	if len(all) == 0 {
		return nil
	}
	_, err := amend[any](ctx, d, all...)
	return err
}

// forgetLog forgets a log that all queues have released, and deletes the topic of an
// exchange that is gone with its last.
func (d *queueDirectory) forgetLog(ctx context.Context, id uint32) error {
	l, ok := d.log(id)
	if !ok {
		return nil
	}
	if _, err := amend[done](ctx, d, &forgetLog{id}); err != nil {
		return err
	}
	return d.dropTopicOf(ctx, l.topic)
}

// renewLog gives a log that has lost its end another id: what is appended from now on
// has offsets that it had before.
func (d *queueDirectory) renewLog(ctx context.Context, id uint32) (*logInfo, error) {
	return amend[*logInfo](ctx, d, &renewLog{Old: id})
}

// logOf returns the log that a partition is.
func (d *queueDirectory) logOf(ctx context.Context, t *Topic, partition int) (*logInfo, error) {
	if id, ok := d.logIDs.get(logKey{t.name, t.incarnation, partition}); ok {
		if l, ok := d.logs.get(id); ok {
			return l, nil
		}
	}
	return amend[*logInfo](ctx, d, &declareLog{Topic: t.name, Incarnation: t.incarnation, Partition: partition})
}

// follows sees to it that a shard follows a log from now on, before something is
// appended for one of its queues. To ask again costs a look.
func (d *queueDirectory) follows(ctx context.Context, t *Topic, l *logInfo, shard int) error {
	if l.feeds(shard) {
		return nil
	}
	if err := t.hold(ctx); err != nil {
		return err
	}
	// Whatever is appended after this is behind the end of now.
	bounds, err := t.Bounds(ctx, l.partition)
	if err != nil {
		return err
	}
	_, err = amend[done](ctx, d, &declareFeed{Log: l.id, Shard: shard, From: bounds.Next})
	return err
}
