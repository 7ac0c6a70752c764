package actor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/troupestream/troupe/internal/queue"
)

// admission is the door of a queue: it says to publishers, before they append
// anything, whether the queue takes a message. There is one for as long as the queue
// is declared. Publishers reserve room; the queue's actor says what waits, and gives
// room back for what it has indexed.
type admission struct {
	name string

	mu      sync.Mutex
	waiting queue.Counter // in the queue
	ahead   queue.Counter // published, or about to be, and not indexed yet
	max     queue.Counter // of what waits; negative: no limit
	gate    int           // how many may be ahead
	rejects bool          // what is beyond max is refused; otherwise the queue drops something
	unread  bool          // what waits is not known yet: the queue's state is being read
	trouble error         // why that takes so long; nil: it does not
	stuck   error         // too many of its messages wait to be dead-lettered; nil: they do not
	paused  bool
	shut    int // who looks whether the queue is empty, to delete it
	closed  bool
	changed chan struct{} // closed with the next change; nil: nobody waits
}

// errBehind: the queue has to index what was published before it takes more.
var errBehind = errors.New("the queue is behind with what was published to it")

func newAdmission(name string, c *QueueConfig) *admission {
	a := &admission{name: name}
	a.configure(c)
	return a
}

// configure follows the configuration of the queue.
func (a *admission) configure(c *QueueConfig) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.max = queue.Counter{Messages: c.MaxLength, Bytes: c.MaxBytes}
	a.gate, a.rejects = c.PublishAhead, c.Overflow != DropHead
	a.wake()
}

// pause has publishers refused with ErrQueuePaused, or ends that.
func (a *admission) pause(paused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paused = paused
	a.wake()
}

// wait has publishers wait until it is known what the queue has: see opens.
func (a *admission) wait() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unread = true
}

// fails says why the queue's state cannot be read for now.
func (a *admission) fails(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unread, a.trouble = true, err
}

// why says more of an error of admit.
func (a *admission) why(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if why := cmp.Or(a.trouble, a.stuck); err == errBehind && why != nil {
		return fmt.Errorf("%w: %w", err, why)
	}
	return err
}

// sticks has publishers wait, but for those of dead letters, for these may be its own; nil
// ends that.
func (a *admission) sticks(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stuck = err
	a.wake()
}

// opens says what the queue has, when its state was read; or that it cannot be read: then
// what is published waits in the log.
func (a *admission) opens(waiting queue.Counter, paused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unread, a.trouble, a.stuck, a.waiting, a.paused = false, nil, nil, waiting, paused
	a.wake()
}

// shuts has publishers wait until reopens is called, whatever becomes of the queue.
func (a *admission) shuts() (reopens func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shut++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.shut--
		a.wake()
	}
}

// onTheWay is how many messages are published, or about to be, and not indexed yet.
func (a *admission) onTheWay() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ahead.Messages
}

// close has publishers refused with ErrNoQueue: the queue is deleted.
func (a *admission) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.wake()
}

// admit reserves room for a message. The error is errBehind, ErrQueueFull,
// ErrQueuePaused or ErrNoQueue, without a name.
func (a *admission) admit(bytes int) error { return a.admitFrom(false, bytes) }

// admitFrom is admit; inside: of a message that was published before.
func (a *admission) admitFrom(inside bool, bytes int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return ErrNoQueue
	case a.unread, a.shut > 0, a.stuck != nil && !inside:
		return errBehind
	case a.paused:
		return ErrQueuePaused
	case a.rejects && (over(a.waiting.Messages+a.ahead.Messages+1, a.max.Messages) ||
		over(a.waiting.Bytes+a.ahead.Bytes+int64(bytes), a.max.Bytes)):
		return ErrQueueFull
	case a.ahead.Messages >= a.gate:
		return errBehind
	}
	a.ahead.Messages++
	a.ahead.Bytes += int64(bytes)
	return nil
}

func over[N int | int64](v, most N) bool { return most >= 0 && v > most }

// couldHold says whether the queue, were it empty, would admit a message of that size.
func (a *admission) couldHold(bytes int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !over(int64(bytes), a.max.Bytes)
}

// abandon gives room back: the message was not published after all.
func (a *admission) abandon(bytes int) { a.leave(1, int64(bytes)) }

func (a *admission) leave(messages int, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.less(messages, bytes)
	a.wake()
}

// less takes from what is ahead, down to nothing: a message whose fate was not known
// was given back, and may be indexed after all.
func (a *admission) less(messages int, bytes int64) {
	a.ahead.Messages = max(a.ahead.Messages-messages, 0)
	a.ahead.Bytes = max(a.ahead.Bytes-bytes, 0)
}

// indexed is said by the queue's actor: so many of those that were published while
// the system runs are in the index now, and so many wait in all. What the queue reads
// of the time before a restart is not to be counted among them: nobody has reserved
// room for it.
func (a *admission) indexed(messages int, bytes int64, waiting queue.Counter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.less(messages, bytes)
	a.waiting = waiting
	a.wake()
}

// waits is indexed for when nothing came but something left.
func (a *admission) waits(waiting queue.Counter) { a.indexed(0, 0, waiting) }

// wake tells those who wait to look again.
func (a *admission) wake() {
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// change is closed with the next change.
func (a *admission) change() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.changed
}

// await waits until there may be room for a message; whoever comes first has it.
func (a *admission) await(ctx context.Context, bytes int) error {
	changed := a.change()
	if err := a.admit(bytes); err == nil { // there is by now
		a.abandon(bytes)
		return nil
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// named says which queue it is that has refused a message.
func (a *admission) named(err error) error { return fmt.Errorf("queue %s: %w", a.name, err) }
