package topology

import (
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
)

// Reaction is one part of what OnError asks for.
type Reaction func(*reactions)

type reactions struct {
	policy   dataflow.Policy
	mistakes []string
}

// Retry sets how often user code is called on one record in all, and how long
// to wait before the second call. The wait doubles with each further call, up
// to a second or the given backoff, whichever is longer, with jitter.
// The default is 3 calls and 10 ms.
func Retry(attempts int, backoff time.Duration) Reaction {
	return func(r *reactions) {
		if attempts < 1 || backoff < 0 {
			r.mistakes = append(r.mistakes, fmt.Sprintf(
				"Retry(%d, %v): there must be at least one attempt, and the backoff cannot be negative", attempts, backoff))
			return
		}
		r.policy.Attempts, r.policy.Backoff = attempts, backoff
		r.policy.BackoffMax = max(backoff, r.policy.BackoffMax)
	}
}

// DeadLetter sends a record that keeps failing to a topic, with the error, its
// stack and its origin, and goes on. Nothing is lost: the next checkpoint
// waits until the letter is durable.
func DeadLetter(topic string) Reaction {
	return func(r *reactions) {
		if err := checkName("dead-letter topic", topic); err != nil {
			r.mistakes = append(r.mistakes, err.Error())
			return
		}
		r.policy.Then, r.policy.Topic = dataflow.ToTopic, topic
	}
}

// Skip counts and drops a record that keeps failing.
func Skip() Reaction {
	return func(r *reactions) { r.policy.Then = dataflow.SkipRecord }
}

// FailJob lets a record that keeps failing fail the job. It is the default.
func FailJob() Reaction {
	return func(r *reactions) { r.policy.Then = dataflow.Fail }
}

// ErrorOption is what OnError returns.
type ErrorOption struct{ reactions }

// OnError says what becomes of a record that user code panics on, that a
// source cannot read or a sink cannot write. Without it, the option of New
// holds; without that, a record is tried three times within about 30 ms, and
// then the job fails.
//
//	topology.OnError(topology.Retry(5, time.Second), topology.DeadLetter("bad-orders"))
func OnError(what ...Reaction) ErrorOption {
	r := reactions{policy: dataflow.DefaultPolicy()}
	for _, f := range what {
		if f != nil {
			f(&r)
		}
	}
	return ErrorOption{r}
}

func (o ErrorOption) apply(s *settings) {
	s.policy = &o.policy
	s.mistakes = append(s.mistakes, o.mistakes...)
}

func (o ErrorOption) builder(b *Builder) {
	b.policy = o.policy
	for _, text := range o.mistakes {
		b.mistakes = append(b.mistakes, fmt.Errorf("topology %q: %s", b.name, text))
	}
}

func (o ErrorOption) from(s *settings)      { o.apply(s) }
func (o ErrorOption) to(s *settings)        { o.apply(s) }
func (o ErrorOption) mapping(s *settings)   { o.apply(s) }
func (o ErrorOption) filter(s *settings)    { o.apply(s) }
func (o ErrorOption) flatMap(s *settings)   { o.apply(s) }
func (o ErrorOption) try(s *settings)       { o.apply(s) }
func (o ErrorOption) keyBy(s *settings)     { o.apply(s) }
func (o ErrorOption) through(s *settings)   { o.apply(s) }
func (o ErrorOption) eventTime(s *settings) { o.apply(s) }
func (o ErrorOption) fold(s *settings)      { o.apply(s) }
func (o ErrorOption) window(s *settings)    { o.apply(s) }
func (o ErrorOption) process(s *settings)   { o.apply(s) }
