package topics

import (
	"context"
	"errors"

	"github.com/troupestream/troupe/actor"
)

// readerLane is one partition of a Reader. While it runs, a goroutine reads batch
// after batch and hands each over; so at most one that was not asked for waits. The
// fields are the Reader's, under its lock, but for raw, which belongs to the
// goroutine as long as there is one.
type readerLane struct {
	at  actor.TopicPartition
	raw *actor.Reader

	next    uint64 // offset of the next record to give out
	limit   uint64 // it ends in front of this, if bounded
	bounded bool
	paused  bool
	failed  error // it stands still, until it is moved

	run    uint64 // counts starts: what an earlier one has read is ignored
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended; nil: there is none
}

// fetched is what a lane has read.
type fetched struct {
	lane  *readerLane
	run   uint64
	batch *actor.RecordBatch
	err   error
}

// ended says whether there is nothing left of a bounded lane.
func (l *readerLane) ended() bool { return l.bounded && l.next >= l.limit }

// start reads from the lane's position on, unless it is running or has no reason to.
func (l *readerLane) start(out chan<- fetched) {
	if l.done != nil || l.paused || l.failed != nil || l.ended() {
		return
	}
	l.run++
	l.raw.Seek(l.next)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel, l.done = cancel, make(chan struct{})
	go l.read(ctx, l.run, out, l.done)
}

func (l *readerLane) read(ctx context.Context, run uint64, out chan<- fetched, done chan struct{}) {
	defer close(done)
	for {
		batch, err := l.raw.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case out <- fetched{l, run, batch, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// stop ends the goroutine, and what it has read is ignored.
func (l *readerLane) stop() {
	if l.done == nil {
		return
	}
	l.cancel()
	<-l.done
	l.done = nil
	l.run++
}

// trimmed moves a lane to the oldest record there is, if an error says that those in
// front of it were dropped.
func (l *readerLane) trimmed(err error) bool {
	var gone *actor.OffsetError
	if !errors.As(err, &gone) || gone.First <= l.next {
		return false
	}
	l.next = gone.First
	return true
}
