package actor

import (
	"context"
	"errors"
	"fmt"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/group"
)

// commitRound is one commit, of all partitions that have moved. There is one at a
// time: so what is committed later is never less.
type commitRound struct {
	offsets []group.Offset
	lanes   []*consumerLane // of the offsets
	done    []func(error)
}

// consumerCommits is how many calls of Commit and CommitAsync wait for the commit
// under way, before more are refused with ErrBackpressure.
const consumerCommits = 10_000

// commitFor commits for somebody who waits.
func (a *consumerActor) commitFor(m commitNow, sender *pactor.PID) {
	done := func(err error) {
		switch {
		case m.done != nil:
			a.consumer.guard(func() { m.done(err) })
		case err != nil:
			a.consumer.sys.Send(sender, err)
		default:
			a.consumer.sys.Send(sender, consumerDone{})
		}
	}
	if len(a.waiting) >= consumerCommits {
		done(fmt.Errorf("consumer of group %s: commit: %w", a.group.name, ErrBackpressure))
		return
	}
	a.waiting = append(a.waiting, done)
	a.commit(true)
}

// commit commits how far the lanes have come; unless all, only where those have
// begun that had nothing committed.
func (a *consumerActor) commit(all bool) {
	a.commitDue, a.commitAll = true, a.commitAll || all
	a.nextCommit()
}

func (a *consumerActor) nextCommit() {
	if a.committing || !a.commitDue {
		return
	}
	round := &commitRound{done: a.waiting}
	for _, l := range a.lanes {
		if o, ok := l.due(!a.commitAll); ok {
			round.offsets, round.lanes = append(round.offsets, o), append(round.lanes, l)
		}
	}
	a.waiting, a.commitDue, a.commitAll = nil, false, false
	switch {
	case a.epoch == 0:
		round.answer(fmt.Errorf("consumer of group %s: commit: %w: it has to join again", a.group.name, ErrMemberFenced))
	case len(round.offsets) == 0:
		round.answer(nil)
	default:
		a.send(round)
	}
}

func (a *consumerActor) send(round *commitRound) {
	a.committing = true
	run, g, command := a.run, a.group, group.Commit{Member: a.id, Offsets: round.offsets}
	a.background(func(ctx context.Context) any {
		ctx, cancel := context.WithTimeout(ctx, consumerAsk)
		defer cancel()
		return commitEnded{run, round, g.tell(ctx, command)}
	})
}

func (r *commitRound) answer(err error) {
	for _, done := range r.done {
		done(err)
	}
}

func (a *consumerActor) commitEnded(m commitEnded) {
	a.committing = false
	var partly *group.CommitError
	switch {
	case m.err == nil || errors.As(m.err, &partly):
		m.round.committed(partly)
		if partly != nil {
			a.refused(m, partly)
		}
	case errors.Is(m.err, ErrMemberFenced) && m.run == a.run:
		a.fenced(m.err)
	default:
		a.consumer.sys.log.Warn("a consumer could not commit, and tries again", "group", a.group.name, "error", m.err)
	}
	m.round.answer(m.err)
	a.nextCommit()
}

// committed notes what is durable now.
func (r *commitRound) committed(but *group.CommitError) {
	refused := map[TopicPartition]bool{}
	if but != nil {
		for _, f := range but.Refusals {
			refused[TopicPartition{f.Topic, f.Partition}] = true
		}
	}
	for i, l := range r.lanes {
		if !refused[l.TopicPartition] {
			l.committed(r.offsets[i])
		}
	}
}

// refused: who may not commit for a partition does not own it, unless it was
// rewound: then the group's Seek is on its way.
func (a *consumerActor) refused(m commitEnded, partly *group.CommitError) {
	var lost []group.Claim
	for _, f := range partly.Refusals {
		if errors.Is(f.Err, group.ErrRewound) {
			continue
		}
		a.consumer.sys.log.Warn("a commit was refused", "group", a.group.name, "topic", f.Topic, "partition", f.Partition, "error", f.Err)
		if !errors.Is(f.Err, ErrMemberFenced) && !errors.Is(f.Err, group.ErrUnknownPartition) {
			continue
		}
		for _, o := range m.round.offsets {
			if o.Topic == f.Topic && o.Partition == f.Partition {
				lost = append(lost, o.Claim)
			}
		}
	}
	if m.run == a.run && len(lost) > 0 {
		a.lost(lost)
	}
}

// due is what there is to commit. With begun, it is where the lane began, if that
// was not committed.
func (l *consumerLane) due(begun bool) (o group.Offset, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o = group.Offset{Claim: l.claim, Next: l.window.Position()}
	if begun {
		o.Next = l.start
		return o, l.began && !l.stored.known
	}
	if handed := max(l.window.Handed(), l.before.handed); handed > o.Next {
		o.Metadata = l.note(handed)
	}
	fresh := !l.stored.known || o.Next > l.stored.next || o.Next == l.stored.next && o.Metadata != l.stored.note
	return o, l.began && fresh
}

func (l *consumerLane) note(handed uint64) string {
	cause := Crash
	switch {
	case l.before.handed > l.window.Handed():
		cause = l.before.cause // some of what the owner before had was not even begun
	case l.leaving:
		cause = Rebalance
	}
	return consumerNote{cause, handed}.String()
}

// committed notes that a commit is durable.
func (l *consumerLane) committed(o group.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.Claim == l.claim {
		l.stored = stored{true, o.Next, o.Metadata}
	}
}
