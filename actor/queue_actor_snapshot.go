package actor

import (
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/queue"
)

// After so much of its logs a queue makes a snapshot by itself: a restart reads from
// there, and what is before it need not be kept for the queue.
const (
	queueSnapshotOffsets = 1 << 18
	queueSnapshotBytes   = 64 << 20
	// queueSnapshotAfter is how old a change gets without a snapshot: a queue with little
	// to do does not keep its logs from being trimmed.
	queueSnapshotAfter = time.Minute
)

// queueSnapshots says when a queue is to make a snapshot. One is under way at most.
type queueSnapshots struct {
	due      bool
	round    uint64 // of the shard, that asked for it; 0: none did
	flying   bool
	releases []queue.Release // of the one under way
	offsets  uint64          // read since the last one
	bytes    int64           // and taken
	changed  bool            // since the last one
	awaited  bool            // a snapshotDue is on its way
}

// snapshotDue says that a change is old enough.
type snapshotDue struct{ run uint64 }

// IgnoreDeadLetterLogging: the timer outlives the queue.
func (snapshotDue) IgnoreDeadLetterLogging() {}

// awaitSnapshot has a snapshot made of what has changed, when that is old enough.
func (q *queueActor) awaitSnapshot() {
	s := &q.snapshot
	if !s.changed || s.awaited {
		return
	}
	s.awaited = true
	sys, self, run := q.sys, q.self, q.run
	q.aging = time.AfterFunc(queueSnapshotAfter, func() { sys.Send(self, snapshotDue{run}) })
}

// aged: what has changed since the last snapshot is old enough for one.
func (s *queueSnapshots) aged() { s.awaited, s.due = false, s.due || s.changed }

// asked: the shard rewrites its journal.
func (s *queueSnapshots) asked(round uint64) { s.due, s.round = true, round }

// last: the next start shall have little to read.
func (s *queueSnapshots) last() { s.due = s.due || s.changed }

// took counts what came from the logs. Progress alone is told seldom, and so that the logs
// need not be kept.
func (s *queueSnapshots) took(offsets uint64, progress bool) {
	s.offsets += offsets
	s.changed = true
	s.due = s.due || progress || s.offsets >= queueSnapshotOffsets || s.bytes >= queueSnapshotBytes
}

// takeSnapshot makes one if it is time. A queue that has lost count of a message must not
// go on: what it would write is worse than what is in the journal.
func (q *queueActor) takeSnapshot() (state []byte, round uint64) {
	s := &q.snapshot
	s.changed = s.changed || len(q.events) > 0
	if !s.due || s.flying {
		q.awaitSnapshot()
		return nil, 0
	}
	if err := q.core.Check(); err != nil {
		panic(fmt.Errorf("queue %s has lost count of its messages: %w", q.info.name, err))
	}
	state, s.releases = q.core.Snapshot()
	round = s.round
	*s = queueSnapshots{flying: true, releases: s.releases, awaited: s.awaited}
	return state, round
}

// snapshotDurable: the logs need not keep what is before it.
func (q *queueActor) snapshotDurable() {
	q.snapshot.flying = false
	q.sys.release(q.info.id, q.snapshot.releases, q.core.Relocated())
	q.snapshot.releases = nil
}
