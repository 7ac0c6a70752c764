package actor

import (
	"slices"

	pactor "github.com/asynkron/protoactor-go/actor"
)

const (
	// shardEntryBytes is about how much one append of a shard has at most, beside a
	// part of a snapshot.
	shardEntryBytes = 1 << 20
	// shardPartBytes is how much of a large snapshot one append has: the queues of a
	// shard wait for each other's snapshots no longer than it takes to write that.
	shardPartBytes = 256 << 10
)

// journalWrite is what a queue has for the journal of its shard. It has one under way.
type journalWrite struct {
	queue    uint32
	run      uint64 // of the queue's actor
	pid      *pactor.PID
	events   []byte // the shard is done with them when it answers
	sequence uint64 // of the last command that is in them
	snapshot []byte // nil: none; after the events
	round    uint64 // of the snapshot
}

// journalDurable answers a journalWrite; what it has a snapshot of is answered once more.
type journalDurable struct {
	run      uint64
	sequence uint64
	snapshot bool // it is about the snapshot
}

func (journalWrite) IgnoreDeadLetterLogging()   {}
func (journalDurable) IgnoreDeadLetterLogging() {}

// shardOutbox is what waits for the journal of a shard: events in their order, and the
// parts of large snapshots, one in an append, so that nobody waits long for another.
type shardOutbox struct {
	writes []shardWrite
	parts  []shardWrite
	entry  []byte // is used again
}

// shardWrite is frames of one queue, and what to do when all of them are durable.
type shardWrite struct {
	queue    uint32
	data     []byte
	snapshot bool
	durable  func()
}

func (o *shardOutbox) isEmpty() bool { return len(o.writes)+len(o.parts) == 0 }

func (o *shardOutbox) add(w shardWrite) { o.writes = append(o.writes, w) }

// has says whether something of a queue waits.
func (o *shardOutbox) has(queue uint32) bool {
	of := func(w shardWrite) bool { return w.queue == queue }
	return slices.ContainsFunc(o.writes, of) || slices.ContainsFunc(o.parts, of)
}

// next makes an entry of what waits. done is to be called when it is durable.
func (o *shardOutbox) next() (entry []byte, done []func()) {
	o.entry = beginEntry(o.entry)
	n := 0
	for ; n < len(o.writes) && len(o.entry) < shardEntryBytes; n++ {
		w := &o.writes[n]
		switch {
		case !w.snapshot && len(w.data) > shardEntryBytes:
			o.entry = appendFrame(o.entry, w.queue, frameEventsMore, w.data[:shardEntryBytes])
			w.data = w.data[shardEntryBytes:]
			n--
		case w.snapshot && len(w.data) > shardPartBytes:
			o.entry = appendFrame(o.entry, w.queue, frameSnapshotBegin, nil)
			o.parts = append(o.parts, *w)
		default:
			o.entry = appendFrame(o.entry, w.queue, w.wholeKind(), w.data)
			done = w.addTo(done)
		}
	}
	clear(o.writes[:n])
	o.writes = append(o.writes[:0], o.writes[n:]...)
	done = o.nextPart(done)
	o.entry = endEntry(o.entry)
	return o.entry, done
}

func (w *shardWrite) wholeKind() frameKind {
	if w.snapshot {
		return frameSnapshot
	}
	return frameEvents
}

func (w *shardWrite) addTo(done []func()) []func() {
	if w.durable != nil {
		done = append(done, w.durable)
	}
	return done
}

func (o *shardOutbox) nextPart(done []func()) []func() {
	if len(o.parts) == 0 {
		return done
	}
	w := &o.parts[0]
	if len(w.data) > shardPartBytes {
		o.entry = appendFrame(o.entry, w.queue, frameSnapshotMore, w.data[:shardPartBytes])
		w.data = w.data[shardPartBytes:]
		return done
	}
	o.entry = appendFrame(o.entry, w.queue, frameSnapshotEnd, w.data)
	done = w.addTo(done)
	o.parts[0] = shardWrite{}
	o.parts = o.parts[1:]
	return done
}
