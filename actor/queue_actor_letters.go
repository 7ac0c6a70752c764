package actor

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/queue"
)

// letterWriter writes the dead letters of a queue.
type letterWriter struct {
	cancel   context.CancelFunc // ends the writing under way
	ctx      context.Context
	failures int  // in a row
	underWay int  // portions
	stuck    bool // publishers wait until there are less
}

// dyingMost is how many messages of a queue wait to be dead-lettered, before those who
// publish to it wait. Each takes some hundred bytes of memory.
const dyingMost = 65_536

// door has publishers wait where messages cannot be dead-lettered as fast as they die, and
// until half of them are.
func (l *letterWriter) door(q *queueActor) {
	most, n := cmp.Or(q.sys.shards.dyingMost, dyingMost), q.core.Dying()
	switch {
	case n >= most && !l.stuck:
		l.stuck = true
		q.info.admission.sticks(fmt.Errorf("%d of its messages wait for their dead-letter exchange", n))
	case n <= most/2 && l.stuck:
		l.stuck = false
		q.info.admission.sticks(nil)
	}
}

// How long a dead letter waits that could not be written.
const (
	letterRetryFirst = 100 * time.Millisecond
	letterRetryMax   = 30 * time.Second
	// lettersLast is how long a queue that ends waits for those under way. What is not
	// written by then is written when it begins again, and may be there twice.
	lettersLast = 2 * time.Second
)

// lettersWritten says which dead letters are durable, and which could not be written.
type lettersWritten struct {
	run     uint64
	durable []queue.Ref
	why     [queue.Reasons]uint64 // of these
	failed  []queue.Ref
	err     error // of the first that failed
}

func (lettersWritten) IgnoreDeadLetterLogging() {}

// deadMessage is a dead letter and its record; no record: the log has lost it.
type deadMessage struct {
	queue.Letter
	record codec.Record
	found  bool
}

// deadLetter publishes dead letters. The queue keeps the messages until they are durable.
func (q *queueActor) deadLetter(letters []queue.Letter) {
	l := &q.letters
	if q.draining {
		return // they are written when it begins again
	}
	if l.underWay++; l.cancel == nil {
		l.ctx, l.cancel = context.WithCancel(context.Background())
	}
	sys, run, info, until := q.sys, q.run, q.info, l.ctx
	q.background(func(ctx context.Context) any {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(until, cancel)()
		return sys.writeLetters(ctx, run, info, letters)
	})
}

func (s *System) writeLetters(ctx context.Context, run uint64, info *queueInfo, letters []queue.Letter) lettersWritten {
	done := lettersWritten{run: run}
	for i, err := range s.publishDead(ctx, info, s.readLetters(ctx, info, letters)) {
		if err == nil {
			done.durable = append(done.durable, letters[i].Ref)
			done.why[letters[i].Reason]++
			continue
		}
		done.failed = append(done.failed, letters[i].Ref)
		if done.err == nil {
			done.err = err
		}
	}
	return done
}

func (s *System) readLetters(ctx context.Context, info *queueInfo, letters []queue.Letter) []deadMessage {
	dead := make([]deadMessage, len(letters))
	at := make(map[queue.Ref][]int, len(letters))
	var missing []queue.Ref
	var p *page
	for i, l := range letters {
		dead[i].Letter = l
		if !p.covers(l.Body) {
			p = s.pages.find(l.Body.Log, l.Body.Offset)
		}
		if p != nil {
			dead[i].found = p.record(l.Body.Offset, &dead[i].record)
			continue
		}
		at[l.Body] = append(at[l.Body], i)
		missing = append(missing, l.Body)
	}
	s.readPages(ctx, info.name, missing, func(ref queue.Ref, p *page) {
		for _, i := range at[ref] {
			dead[i].found = p.record(ref.Offset, &dead[i].record)
		}
	})
	return dead
}

// lettersWritten has the queue let go of what is durable, and try the rest later.
func (q *queueActor) lettersWritten(m lettersWritten) {
	if m.run != q.run {
		return
	}
	if q.letters.underWay--; q.draining && q.letters.underWay == 0 {
		defer q.conclude()
	}
	if len(m.durable) > 0 {
		q.letters.failures = 0
		q.tally.die(m.why)
		q.apply(queue.DeadLettered{Refs: m.durable})
	}
	if len(m.failed) == 0 {
		return
	}
	after := min(letterRetryFirst<<min(q.letters.failures, 16), letterRetryMax)
	if q.letters.failures++; q.letters.failures == 1 {
		q.sys.log.Warn("dead letters cannot be written; it is tried again", "queue", q.info.name, "letters", len(m.failed), "error", m.err)
	}
	q.apply(queue.NotDeadLettered{Refs: m.failed, Delay: after})
}

func (l *letterWriter) stop() {
	if l.cancel != nil {
		l.cancel()
	}
	*l = letterWriter{}
}
