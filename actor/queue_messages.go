package actor

import (
	"errors"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/queue"
)

// ErrQueueFailed: the queue's actor failed, and reads its state again, unless it did so too
// often: then it waits for a new process. Deliveries that were not settled come again;
// whoever consumes subscribes anew.
var ErrQueueFailed = errors.New("the queue has failed")

// What is said to the actor of a queue, and what it says. All of it is control: how
// much of each can be under way is bounded by its protocol.

// queueRequest is a command to a queue. Whoever sends it with Ask is told the error,
// or queueDone once it is durable.
type queueRequest struct{ command queue.Command }

// queueDone answers what went well.
type queueDone struct{}

// subscribe makes a consumer, and says where its deliveries go. It is answered as a
// queueRequest. When that actor ends without a Cancel, its consumers are Gone.
type subscribe struct {
	queue.Subscribe
	consumer *pactor.PID
}

// settle is what a consumer's actor has to say of its deliveries. It has one under
// way at most, and collects meanwhile; deliveriesSettled is the answer.
type settle struct {
	consumer string
	seq      uint64       // counts them, for the answer
	acks     []uint64     // tags
	nacks    []queue.Nack // the consumer is filled in by the queue
	started  []uint64     // each of those on probation is answered with queue.Charged as well
	extend   bool         // the handlers live: the settle timeout of all it has begins anew
	hurry    bool         // somebody waits for the answer
}

// deliveriesSettled answers a settle once it is durable, to the actor that subscribed.
type deliveriesSettled struct {
	consumer string
	seq      uint64
	refused  []error // queue.ErrSettled, queue.ErrUnknownTag, queue.ErrUnknownConsumer; nil: all went well
}

// askQueue asks a queue something, by Ask; look runs in its actor, and must only look.
// The answer may be an error.
type askQueue struct{ look func(*queue.Queue) any }

// feedStarted tells the queues of a shard, by way of the shard, that there is a feed of
// a log, or a new one. Each that shall have the log answers to it with follow.
type feedStarted struct {
	log  uint32
	feed *pactor.PID
}

// follow asks a feed for what its log has for a queue, from next on; 0 is where the feed
// of the log begins, for a queue that has not read it before. A follow with another run
// takes the place of the one before: the queue was read anew and begins where its state
// says.
type follow struct {
	queue uint32
	run   uint64
	pid   *pactor.PID
	next  uint64
}

// unfollow ends it: the queue is deleted.
type unfollow struct{ queue uint32 }

// fed brings what a log has for a queue, in order and without a gap. It is answered with
// fedTaken, by which the feed bounds what is under way.
type fed struct {
	run     uint64 // of the follow; the queue drops what is of another
	log     uint32
	page    *page         // that the entries are in; nil: it is progress alone
	entries []queue.Entry // belong to the queue from now on
	next    uint64        // the log was read up to here
	feed    *pactor.PID
}

// fedTaken says that a queue has what its log has before next.
type fedTaken struct {
	queue uint32
	run   uint64
	next  uint64
}

// delivered brings messages to a consumer's actor.
type delivered struct {
	consumer   string
	deliveries []arrival
}

// arrival is one of them.
type arrival struct {
	queue.Delivery
	page *page // holds its Body; nil: the log does not have it any more
}

// consumerEnded says that a consumer is none any more, and that its deliveries are
// void: the queue was deleted (ErrNoQueue), or has failed and is read anew
// (ErrQueueFailed: subscribe again).
type consumerEnded struct {
	consumer string
	err      error
}

// IgnoreDeadLetterLogging: an actor that has ended misses nothing of these.
func (delivered) IgnoreDeadLetterLogging()         {}
func (deliveriesSettled) IgnoreDeadLetterLogging() {}
func (fedTaken) IgnoreDeadLetterLogging()          {}
func (follow) IgnoreDeadLetterLogging()            {}
func (unfollow) IgnoreDeadLetterLogging()          {}
func (fed) IgnoreDeadLetterLogging()               {}
func (settle) IgnoreDeadLetterLogging()            {}
func (consumerEnded) IgnoreDeadLetterLogging()     {}
