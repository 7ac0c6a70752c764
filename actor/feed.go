package actor

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"
)

// feed brings the queues of a shard what one log has for them.
//
//	owns      nothing; it reads the log from its partition
//	receives  follow, unfollow, fedTaken, from queues; feedAltered, askProgress, from the
//	          shard; what its reads give
//	sends     feedStarted, to the shard; fed, to queues; read, unread, to the partition
//	keeps     where each queue stands, and the places in the log from which it reads
//	has under way at most two reads from each place, and to each queue as much as feedRoom
//	dies      with the shard; a panic restarts it: it asks the queues where they stand
//
// All queues that are up with the log are fed from one place, which waits at its end. One
// that does not take what it is sent gets a place of its own, so that it keeps nobody
// waiting, and so does one that begins behind the others. Places that meet become one. It
// is the same after a restart, at the end of the log, and with one that was just declared.
type feed struct {
	sys    *System
	config feedConfig
	self   *pactor.PID

	run       uint64 // of its openings: what comes from an earlier one is ignored
	opening   bool
	tries     int
	topic     *Topic // nil: the log is not open
	ref       *partitionRef
	bounds    Bounds // when it was opened
	followers map[uint32]*follower
	cursors   []*feedCursor
	lastID    uint64
	sorter    sorter
	reached   atomic.Uint64 // up to where the log was read for all
}

// feedConfig says what is to be fed to whom.
type feedConfig struct {
	log   uint32
	shard *pactor.PID
	// intake says what a queue takes of the log, and from which offset on if it has not
	// read it before; false: nothing any more.
	intake func(queue uint32) (in intake, from uint64, ok bool)
	// room is how many messages may be under way to a queue, and one page; default
	// feedRoom.
	room int
	// shorter is called when the log ends in front of where a queue has read it.
	shorter func()
}

// Limits of a feed.
const (
	feedReadBytes = 1 << 20 // one read
	feedRoom      = 16_384  // messages under way to a queue
	feedPagesMax  = 256     // pages under way to a queue
	feedTurn      = 16      // pages before others have their turn
	// feedTold is how far a queue may be behind where nothing came for it, before it is
	// told: from there it reads after a restart.
	feedTold = 1 << 17
)

type (
	// feedAltered: what queues take of the log has changed. It is answered with feedHeard.
	feedAltered struct{}
	feedHeard   struct{}
	// askProgress has the feed tell all queues how far it is, and is answered with
	// progressTold when that is sent.
	askProgress  struct{}
	progressTold struct{ log uint32 }

	feedOpened struct {
		run    uint64
		topic  *Topic
		ref    *partitionRef
		bounds Bounds
		err    error
	}
	feedReopen struct{ run uint64 }
	feedRead   struct {
		run, cursor, asked uint64
		readReply
	}
	feedStep struct{ cursor uint64 }
)

func (feedOpened) IgnoreDeadLetterLogging()  {}
func (feedReopen) IgnoreDeadLetterLogging()  {}
func (feedRead) IgnoreDeadLetterLogging()    {}
func (feedStep) IgnoreDeadLetterLogging()    {}
func (feedAltered) IgnoreDeadLetterLogging() {}

func newFeed(sys *System, config feedConfig) *feed {
	orDefault(&config.room, feedRoom)
	return &feed{sys: sys, config: config, run: partitionRuns.Add(1), followers: map[uint32]*follower{}}
}

// Receive implements pactor.Actor.
func (f *feed) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *pactor.Started:
		f.self = ctx.Self()
		f.open()
	case feedOpened:
		f.opened(m)
	case feedReopen:
		if m.run == f.run {
			f.open()
		}
	case follow:
		f.follow(m)
	case unfollow:
		f.unfollow(m.queue)
	case fedTaken:
		f.taken(m)
	case feedRead:
		f.read(m)
	case feedStep:
		if c := f.cursor(m.cursor); c != nil {
			c.stepping = false
			f.advance(c)
		}
	case feedAltered:
		f.altered()
		if ctx.Sender() != nil {
			ctx.Respond(feedHeard{})
		}
	case askProgress:
		for _, fo := range f.followers {
			f.tellProgress(fo)
		}
		if ctx.Sender() != nil {
			ctx.Respond(progressTold{f.config.log})
		}
	case *pactor.Stopping, *pactor.Restarting:
		f.end()
	}
}

// open finds the partition, in the background.
func (f *feed) open() {
	if f.opening {
		return
	}
	f.opening, f.topic = true, nil
	f.run = partitionRuns.Add(1)
	sys, self, run, log, fresh := f.sys, f.self, f.run, f.config.log, f.tries > 0
	if !sys.Go(func(ctx context.Context) {
		m := feedOpened{run: run}
		var partition int
		if m.topic, partition, m.err = sys.queueLogs.topic(ctx, log, fresh); m.err == nil {
			if m.bounds, m.err = m.topic.Bounds(ctx, partition); m.err == nil {
				m.ref, m.err = m.topic.partition(partition)
			}
		}
		sys.Send(self, m)
	}) {
		f.opening = false // the system is closing
	}
}

func (f *feed) opened(m feedOpened) {
	if m.run != f.run {
		return
	}
	f.opening = false
	if m.err != nil {
		f.retry(m.err)
		return
	}
	first := f.ref == nil
	for _, c := range f.cursors {
		f.withdraw(c) // where it was asked nobody may be left
	}
	f.tries, f.topic, f.ref, f.bounds = 0, m.topic, m.ref, m.bounds
	if first {
		f.sys.Send(f.config.shard, feedStarted{f.config.log, f.self})
	}
	for _, fo := range f.followers {
		if fo.next > m.bounds.Next {
			f.isShorter(fo)
			return
		}
	}
	for _, c := range f.cursors {
		f.step(c)
	}
}

// isShorter: a power cut took the end of the log. What is appended from now on has
// offsets that the queue has seen: it needs another name.
func (f *feed) isShorter(fo *follower) {
	f.sys.log.Error("a log ends in front of where a queue has read it, as after a power cut where it is not synced: messages were lost",
		"topic", f.topic.name, "queue", fo.in.queue, "read", fo.next, "ends", f.bounds.Next)
	f.end()
	f.config.shorter()
}

// end feeds nobody any more.
func (f *feed) end() {
	for len(f.cursors) > 0 {
		f.drop(f.cursors[0])
	}
	for queue := range f.followers {
		f.sys.holds.follows(f.config.log, queue, 0, nil)
	}
	clear(f.followers)
}

// retry opens the log again after a pause that grows. If it is gone for good, the shard
// ends the feed.
func (f *feed) retry(err error) {
	if f.tries++; !errors.Is(err, ErrNoTopic) && f.tries > 1 {
		f.sys.log.Warn("the queues of a shard cannot read a log; it is tried again", "log", f.config.log, "error", err)
	}
	sys, self, run := f.sys, f.self, f.run
	time.AfterFunc(min(retryPauseFirst<<min(f.tries, 16), retryPauseMax), func() { sys.Send(self, feedReopen{run}) })
}

// follow begins to feed a queue.
func (f *feed) follow(m follow) {
	f.unfollow(m.queue)
	in, from, ok := f.config.intake(m.queue)
	if !ok {
		return
	}
	fo := &follower{in: in, run: m.run, pid: m.pid, next: m.next, told: m.next, room: f.config.room}
	if m.next == 0 {
		fo.next = from
	}
	f.followers[m.queue] = fo
	if f.topic != nil && fo.next > f.furthest() {
		f.tries = 0
		f.open() // to see where it ends now
	}
	f.place(fo)
	f.reach()
	f.sys.holds.follows(f.config.log, m.queue, m.next, &f.reached)
}

// furthest is how far the log is known to reach.
func (f *feed) furthest() uint64 {
	at := f.bounds.Next
	for _, c := range f.cursors {
		at = max(at, c.offset)
	}
	return at
}

func (f *feed) unfollow(queue uint32) {
	if fo := f.followers[queue]; fo != nil {
		f.sys.holds.follows(f.config.log, queue, 0, nil)
		delete(f.followers, queue)
		f.leave(fo)
	}
}

// altered looks up again what queues take. For one that nothing was fed to, that may
// begin further back.
func (f *feed) altered() {
	for id, fo := range f.followers {
		in, from, ok := f.config.intake(id)
		if !ok {
			f.unfollow(id)
			continue
		}
		fo.in = in
		if fo.told == 0 && from < fo.next {
			f.leave(fo)
			fo.next = from
			f.place(fo)
		}
	}
}

// taken gives a queue room again.
func (f *feed) taken(m fedTaken) {
	fo := f.followers[m.queue]
	if fo == nil || fo.run != m.run {
		return
	}
	if fo.taken(m.next) && !fo.cursor.stepping {
		f.advance(fo.cursor)
	}
}
