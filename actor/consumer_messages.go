package actor

import (
	"context"

	"github.com/troupestream/troupe/internal/group"
)

// Requests to a consumer's actor. They are answered with a consumerDone or an
// error, unless it says otherwise.

// consumerDone answers a request that went well.
type consumerDone struct{}

// askAssigned is answered with the partitions, a []TopicPartition.
type askAssigned struct{}

// askStands is answered with where it stands in each of them, a []laneStand.
type askStands struct{}

// pauseLanes pauses partitions, or ends that.
type pauseLanes struct {
	partitions []TopicPartition
	on         bool
}

// seekLane moves the consumer in a partition. The answer comes when it is
// accepted.
type seekLane struct {
	partition TopicPartition
	to        From
}

// changeConcurrency says that the number of workers has changed.
type changeConcurrency struct{}

// commitNow commits. Without a function, whoever asks is answered.
type commitNow struct{ done func(error) }

// Refused tells whoever waits when the consumer has ended.
func (m commitNow) Refused(err error) {
	if m.done != nil {
		m.done(err)
	}
}

// closeConsumer ends the consumer. Nobody is waited for after the end of ctx.
type closeConsumer struct{ ctx context.Context }

// What a consumer's actor tells itself. The run says for which membership it is.

// joinEnded is the outcome of an attempt to join.
type joinEnded struct {
	run uint64
	err error
}

// joinDue begins the next attempt.
type joinDue struct{ run uint64 }

// heartbeatDue comes when it is time for a sign of life.
type heartbeatDue struct{ run uint64 }

// memberRefused: the group does not want to hear from this member.
type memberRefused struct {
	run uint64
	err error
}

// commitDue comes when it is time to commit.
type commitDue struct{}

// commitEnded is the outcome of a commit.
type commitEnded struct {
	run   uint64
	round *commitRound
	err   error
}

// changeEnded says that the background part of a change is over.
type changeEnded struct{ change *change }

// laneBegan: a lane knows where it begins.
type laneBegan struct{ lane *consumerLane }

// laneStopped: work on a partition has ended with an error.
type laneStopped struct {
	lane *consumerLane
	err  error
}

// topicsDue comes when it is time to look whether topics have grown.
type topicsDue struct{}

// sweepDue comes when it is time to tidy the parking topic.
type sweepDue struct{}

// topicsSeen is what there was to be seen.
type topicsSeen struct{ topics []group.Topic }

// Timers and background work outlive the consumer.
func (closeConsumer) IgnoreDeadLetterLogging() {}
func (joinEnded) IgnoreDeadLetterLogging()     {}
func (joinDue) IgnoreDeadLetterLogging()       {}
func (heartbeatDue) IgnoreDeadLetterLogging()  {}
func (memberRefused) IgnoreDeadLetterLogging() {}
func (commitDue) IgnoreDeadLetterLogging()     {}
func (commitEnded) IgnoreDeadLetterLogging()   {}
func (changeEnded) IgnoreDeadLetterLogging()   {}
func (laneBegan) IgnoreDeadLetterLogging()     {}
func (laneStopped) IgnoreDeadLetterLogging()   {}
func (topicsDue) IgnoreDeadLetterLogging()     {}
func (sweepDue) IgnoreDeadLetterLogging()      {}
func (topicsSeen) IgnoreDeadLetterLogging()    {}
