package actor

import (
	"time"

	"github.com/troupestream/troupe/internal/inflight"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int
}

// Cause is why a record is delivered.
type Cause uint8

// The causes. A group does not know of every delivery: what was handed out after
// the last commit of an owner that crashed is delivered again as First.
const (
	First     Cause = iota // for the first time, as far as is known
	Crash                  // an owner before had it, and was not heard of again
	Rebalance              // an owner before had it, and gave the partition up
	Timeout                // its handler ran out of time
	Nack                   // its handler failed
	Replay                 // the group was moved back, or this consumer was; or Consumer.Replay
	Released               // its key was parked, and was released
)

var causes = [...]string{"first", "crash", "rebalance", "timeout", "nack", "replay", "released"}

// String returns the cause in a word.
func (c Cause) String() string {
	if int(c) < len(causes) {
		return causes[c]
	}
	return "unknown"
}

// Delivery is a record in the hands of a handler. Its fields are for reading; they
// stay valid after the handler has returned.
type Delivery struct {
	Record
	TopicPartition
	Offset     uint64
	AppendTime int64 // when it arrived in the topic, Unix ms
	Attempt    int   // 1 for the first
	Cause      Cause
	LastError  string // of the attempt before, if it is known
	Via        string // the delay topic that it comes out of; "": none, it comes from Topic

	at     uint64 // where the lane has it: Offset, unless it comes out of a delay topic
	later  int    // delays that it has been through
	here   int    // attempts since the record was taken in
	ticket inflight.Ticket
	lane   *consumerLane

	released *released   // it comes out of the parking, and has no ticket
	replay   *replayLane // it is of a replay, and of no lane
}

// EventTime is the time that the record says it is of; ok is false when it says
// none.
func (d *Delivery) EventTime() (t time.Time, ok bool) {
	if d.Time == NoTime {
		return time.Time{}, false
	}
	return time.UnixMilli(d.Time), true
}

// Progress tells the group that work on the record goes on. A handler that takes
// long calls it now and then, so that its consumer does not count as stuck. Of a
// replay the group is told nothing: it would hide that live deliveries are stuck.
func (d *Delivery) Progress() {
	if d.replay == nil {
		d.consumer().progress.Add(1)
	}
}

func (d *Delivery) consumer() *Consumer {
	if d.replay != nil {
		return d.replay.replay.consumer
	}
	return d.lane.consumer
}

// Ack says that a record is done, where ManualAck leaves that to the handler. It
// may be called after the handler has returned, from any goroutine, and more than
// once. It returns false if it came too late: the partition has moved, or the
// record was already acknowledged or has failed. Then the record may be delivered
// again.
func (d *Delivery) Ack() bool {
	if d.replay != nil {
		return d.replay.ack(d)
	}
	if d.released != nil {
		return d.lane.consumer.options.ManualAck && d.released.ack()
	}
	return d.lane.ack(d)
}

// size is about what the delivery takes while it waits.
func (d *Delivery) size() int { return recordSize(&d.Record) }
