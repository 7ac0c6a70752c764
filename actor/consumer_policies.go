package actor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// The named error policies. They are read from the left: what is tried first
// comes first, and what follows when that is used up comes behind it.
//
//	actor.RetryInPlace(actor.Backoff{Attempts: 5}, actor.DeadLetter("orders-failed"))
//
// A policy of one's own is a FailurePolicy like any other, and may stand anywhere in
// them.

// Forever is a number of attempts without an end.
const Forever = -1

// Defaults of a Backoff.
const (
	DefaultBackoffAttempts = 5
	DefaultBackoffBase     = 100 * time.Millisecond
	DefaultBackoffCap      = 10 * time.Second
)

// Backoff says how often a record is tried, and how long is waited in between:
// before attempt n+1 a random time of up to Base·2ⁿ⁻¹, and of up to Cap. The whole
// of it is random ("full jitter": M. Brooker, Exponential Backoff And Jitter, AWS
// Architecture Blog, 2015), so that what failed together does not come again
// together.
type Backoff struct {
	Attempts int           // in all, with the first; default 5; Forever
	Base     time.Duration // default 100 ms
	Cap      time.Duration // default 10 s
}

func (b *Backoff) withDefaults() {
	orDefault(&b.Attempts, DefaultBackoffAttempts)
	orDefault(&b.Base, DefaultBackoffBase)
	orDefault(&b.Cap, max(DefaultBackoffCap, b.Base))
}

// ceiling is the most that is waited after so many attempts.
func (b *Backoff) ceiling(attempts int) time.Duration {
	wait := b.Base
	for ; attempts > 1 && wait < b.Cap; attempts-- {
		wait *= 2
	}
	return min(wait, b.Cap)
}

// RetryInPlace tries a record again where it is: later records of its key wait,
// and all later ones of the partition if Concurrency is 1. When the attempts are
// used up, then decides. Attempts are counted from when the record was taken in, so
// a record that comes out of a delay topic or of the parking has all of them again.
func RetryInPlace(b Backoff, then FailurePolicy) FailurePolicy {
	b.withDefaults()
	return retryInPlace{b, then}
}

type retryInPlace struct {
	backoff Backoff
	then    FailurePolicy
}

func (r retryInPlace) Failed(ctx context.Context, d *Delivery, err error) Verdict {
	if r.backoff.Attempts == Forever || d.here < r.backoff.Attempts {
		return RetryAfter(rand.N(r.backoff.ceiling(d.here) + 1))
	}
	return r.then.Failed(ctx, d, err)
}

func (r retryInPlace) inner() []FailurePolicy { return []FailurePolicy{r.then} }

func (r retryInPlace) check(*ConsumerOptions) error {
	b := r.backoff
	if b.Attempts < Forever || b.Base < 0 || b.Cap < b.Base {
		return fmt.Errorf("RetryInPlace(%+v): Attempts must be positive or Forever, Base positive, and Cap at least Base", b)
	}
	return nil
}

// DeadLetter puts a record that failed into a topic, which is declared if there is
// none (records are kept for DeadLetterRetention), and goes on. The letter has the
// record's key, value, headers and time, and behind its headers HeaderGroup,
// HeaderOrigin, HeaderAttempts, HeaderError and, after a panic, HeaderStack. The
// record counts as done when the letter is as durable as its topic promises, and
// not before; when a consumer crashes in between there are two letters.
func DeadLetter(topic string) FailurePolicy { return deadLetter{topic} }

type deadLetter struct{ topic string }

func (p deadLetter) Failed(context.Context, *Delivery, error) Verdict { return ToTopic(p.topic) }

func (p deadLetter) check(o *ConsumerOptions) error {
	if slices.Contains(o.Topics, p.topic) {
		return fmt.Errorf("DeadLetter(%q): the consumer reads that topic, its letters would come back to it", p.topic)
	}
	if err := CheckName(p.topic); err != nil {
		return fmt.Errorf("DeadLetter: %w", err)
	}
	return nil
}

// Skip passes over a record that failed. It is counted, and lost to the group.
func Skip() FailurePolicy { return skip{} }

type skip struct{}

func (skip) Failed(context.Context, *Delivery, error) Verdict { return Settled() }

// ParkKey sets the key of a record aside: the record waits, and so do later ones of
// its key, in order, until somebody releases them (Group.Release, Skip, Edit). Other
// keys go on, and so do commits: what waits is kept in the group's parking topic,
// which retention does not touch, and in the group's journal, before a commit passes
// it. A crash or another owner of the partition changes nothing. A record without a
// key waits alone.
//
// Limits of the group bound what waits (group.Limits: ParkedKeys, ParkedPerKey,
// ParkedBytes). Beyond them the partition stalls, and says so, until there is room.
func ParkKey() FailurePolicy { return parkKey{} }

type parkKey struct{}

func (parkKey) Failed(context.Context, *Delivery, error) Verdict { return Park() }

func (parkKey) check(o *ConsumerOptions) error {
	if checkName(parkedTopic(o.Group)) != nil {
		return fmt.Errorf("ParkKey: the name of the group has %d characters, and can have %d: its parking topic is %s and that", len(o.Group), 63-len(parkedPrefix), parkedPrefix)
	}
	return nil
}

// If has one policy for errors that match, and another for the others: so that
// what will never work is not tried again, say.
func If(match func(error) bool, then, otherwise FailurePolicy) FailurePolicy {
	return branch{match, then, otherwise}
}

// IfError is If for errors that are target, in the sense of errors.Is.
func IfError(target error, then, otherwise FailurePolicy) FailurePolicy {
	return If(func(err error) bool { return errors.Is(err, target) }, then, otherwise)
}

type branch struct {
	match           func(error) bool
	then, otherwise FailurePolicy
}

func (b branch) Failed(ctx context.Context, d *Delivery, err error) Verdict {
	if b.match(err) {
		return b.then.Failed(ctx, d, err)
	}
	return b.otherwise.Failed(ctx, d, err)
}

func (b branch) inner() []FailurePolicy { return []FailurePolicy{b.then, b.otherwise} }

// walk calls f for a policy and those in it.
func walk(p FailurePolicy, f func(FailurePolicy)) {
	f(p)
	if outer, ok := p.(interface{ inner() []FailurePolicy }); ok {
		for _, i := range outer.inner() {
			walk(i, f)
		}
	}
}

// checkPolicy says what is wrong with a policy, all of it.
func checkPolicy(p FailurePolicy, o *ConsumerOptions) error {
	var errs []error
	walk(p, func(p FailurePolicy) {
		if p == nil {
			errs = append(errs, errors.New("OnFailure: a policy says nothing of what comes when it is used up: its last argument is nil; Stop is StopOnFailure{}"))
		} else if c, ok := p.(interface{ check(*ConsumerOptions) error }); ok {
			errs = append(errs, c.check(o))
		}
	})
	return errors.Join(errs...)
}

// topicsOf are the topics that a policy writes to.
func topicsOf(p FailurePolicy) (all []string) {
	walk(p, func(p FailurePolicy) {
		if d, ok := p.(deadLetter); ok && !slices.Contains(all, d.topic) {
			all = append(all, d.topic)
		}
	})
	return all
}
