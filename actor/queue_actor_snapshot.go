package actor

import (
	"fmt"

	"github.com/troupestream/troupe/internal/queue"
)

// After so much of its logs a queue makes a snapshot by itself: a restart reads from
// there, and what is before it need not be kept for the queue.
const (
	queueSnapshotOffsets = 1 << 18
	queueSnapshotBytes   = 64 << 20
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
}

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
		return nil, 0
	}
	if err := q.core.Check(); err != nil {
		panic(fmt.Errorf("queue %s has lost count of its messages: %w", q.info.name, err))
	}
	state, s.releases = q.core.Snapshot()
	round = s.round
	*s = queueSnapshots{flying: true, releases: s.releases}
	return state, round
}

// snapshotDurable: the logs need not keep what is before it.
func (q *queueActor) snapshotDurable() {
	q.snapshot.flying = false
	q.sys.release(q.info.id, q.snapshot.releases, q.core.Relocated())
	q.snapshot.releases = nil
}
