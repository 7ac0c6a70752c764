package actor

import (
	"fmt"

	pactor "github.com/asynkron/protoactor-go/actor"
)

// SpawnOption configures one actor.
type SpawnOption func(*spawnOptions)

type spawnOptions struct {
	mailbox     mailboxOptions
	rank        rank
	supervision pactor.SupervisorStrategy
}

// WithMailbox sets how many data messages, and how many bytes of them, may wait
// before more are refused. The defaults are DefaultMailboxMessages and
// DefaultMailboxBytes.
func WithMailbox(messagesMax int, bytesMax int64) SpawnOption {
	return func(o *spawnOptions) { o.mailbox.messagesMax, o.mailbox.bytesMax = messagesMax, bytesMax }
}

// WithBatches makes the actor receive *Batch: all data messages that wait, at
// most messagesMax (0 means DefaultBatchMessages), in one Receive.
func WithBatches(messagesMax int) SpawnOption {
	if messagesMax <= 0 {
		messagesMax = DefaultBatchMessages
	}
	return func(o *spawnOptions) { o.mailbox.batchMax = messagesMax }
}

// WithChildSupervision sets how the actor supervises its children. The default
// is System.Supervision.
func WithChildSupervision(s pactor.SupervisorStrategy) SpawnOption {
	return func(o *spawnOptions) { o.supervision = s }
}

// rank says when an actor stops that others rely on while they stop: after those of lower
// ranks. While they do, actors of its rank can still be started.
type rank int

const (
	rankUser   rank = iota // the default: stopped at once
	rankQueues             // told to drain, once consumers are gone; they still write to logs
	rankLog                // told to drain, once nobody else writes
	ranks
)

// asService gives an actor a rank. It is stopped by the message drain.
func asService(r rank) SpawnOption { return func(o *spawnOptions) { o.rank = r } }

func (s *System) spawnOptions(opts []SpawnOption) spawnOptions {
	o := spawnOptions{
		mailbox:     mailboxOptions{messagesMax: DefaultMailboxMessages, bytesMax: DefaultMailboxBytes},
		supervision: s.Supervision(),
	}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Props returns the properties of an actor with the system's mailbox,
// dispatcher and supervision. Actors spawn their children with it. The producer
// is called again for every restart.
func (s *System) Props(producer func() pactor.Actor, opts ...SpawnOption) *pactor.Props {
	return s.props(producer, s.spawnOptions(opts))
}

func (s *System) props(producer func() pactor.Actor, o spawnOptions) *pactor.Props {
	return pactor.PropsFromProducer(producer,
		pactor.WithMailbox(func() pactor.Mailbox { return newMailbox(o.mailbox, s) }),
		pactor.WithDispatcher(s.dispatcher),
		pactor.WithSupervisor(o.supervision))
}

// Spawn starts an actor at the root, under the system's guardian. The name is
// its id; it must not be in use.
func (s *System) Spawn(name string, producer func() pactor.Actor, opts ...SpawnOption) (*pactor.PID, error) {
	o := s.spawnOptions(opts)
	s.mu.Lock()
	closed := o.rank < s.stopped
	s.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("spawn actor %q: %w", name, errSystemClosed)
	}
	pid, err := s.root.SpawnNamed(s.props(producer, o), name)
	if err != nil {
		return nil, fmt.Errorf("spawn actor %q: %w", name, err)
	}
	if !s.adopt(rootActor{pid: pid, rank: o.rank}) {
		s.root.Stop(pid)
		return nil, fmt.Errorf("spawn actor %q: %w", name, errSystemClosed)
	}
	return pid, nil
}

// adopt remembers an actor for Close. It returns false when Close came first.
func (s *System) adopt(r rootActor) bool {
	s.mu.Lock()
	if r.rank < s.stopped {
		s.mu.Unlock()
		return false
	}
	s.roots = append(s.roots, r)
	s.mu.Unlock()
	s.watches.then(r.pid, func() { s.forget(r.pid) })
	return true
}

func (s *System) forget(pid *pactor.PID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.roots {
		if r.pid == pid {
			s.roots = append(s.roots[:i:i], s.roots[i+1:]...)
			return
		}
	}
}

// Stop stops an actor without letting it handle the messages that wait.
func (s *System) Stop(pid *pactor.PID) { s.root.Stop(pid) }

// Watch returns a channel that is closed when the actor has stopped; at once
// when it never was.
func (s *System) Watch(pid *pactor.PID) <-chan struct{} {
	gone := make(chan struct{})
	s.watches.then(pid, func() { close(gone) })
	return gone
}
