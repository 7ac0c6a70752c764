package actor

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	pactor "github.com/asynkron/protoactor-go/actor"
)

// Errors with which a message is refused. Test for them with errors.Is.
var (
	// ErrMailboxFull: the mailbox holds as many messages, or as many bytes, as
	// it may. The message was not accepted; try again once some are done.
	ErrMailboxFull = errors.New("the actor's mailbox is full")
	// ErrStopped: the actor stopped before it handled the message.
	ErrStopped = errors.New("the actor has stopped")
)

// Sized marks a message as data. Data waits behind control messages, counts
// towards the bytes of its mailbox, and is refused when the mailbox is full.
// Every other message is control: it is never refused, so a protocol must bound
// how many of them can be under way.
type Sized interface {
	// MailboxBytes is what the message keeps in memory while it waits. It must
	// not change between calls.
	MailboxBytes() int
}

// Refusable is a message that wants to know when it will not be handled: the
// mailbox was full, the actor had stopped, or it panicked while it held the
// message. Refused is called on any goroutine and must not block. After a panic
// it is also called for messages that the actor had already taken in, so a
// message that carries an answer must give only the first.
type Refusable interface{ Refused(error) }

// PanicError is the reason of a failure: what the actor panicked with, and where.
type PanicError struct {
	Reason any
	Stack  []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("the actor panicked: %v", e.Reason) }

// panicError wraps what was recovered, unless it has been wrapped where it
// happened.
func panicError(reason any) *PanicError {
	if p, ok := reason.(*PanicError); ok {
		return p
	}
	return &PanicError{Reason: reason, Stack: debug.Stack()}
}

var errGoexit = errors.New("user code has ended its goroutine: runtime.Goexit, or FailNow of a test, is not for functions of a topology")

// Unwrap returns the reason if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Reason.(error)
	return err
}

// Batch is what an actor with the option WithBatches receives in place of
// single data messages: all that waited, in order, up to the limit of a batch.
// The slice is reused after Receive returns; the messages may be kept. A
// message sent with an envelope (by Request) still comes alone, so that Sender
// means something.
type Batch struct{ Messages []any }

// Defaults of a mailbox.
const (
	DefaultMailboxMessages = 16_384   // data messages that may wait
	DefaultMailboxBytes    = 64 << 20 // bytes of data that may wait
	DefaultBatchMessages   = 1_024    // data messages delivered in one Batch

	// A buffer with more slots than this is given back after a burst.
	laneSlotsKept = 4_096
)

// mailboxOptions are the limits of one mailbox.
type mailboxOptions struct {
	messagesMax int
	bytesMax    int64
	batchMax    int // 0: no batches
}

// mailboxHost is what a mailbox needs of its system.
type mailboxHost interface {
	refused(message any, err error)
	mailboxFull(actorID string)
	mailboxOpened(actorID string, m *Mailbox)
	mailboxClosed(actorID string)
}

// Mailbox implements Proto.Actor's mailbox with three lanes: system messages
// pass control messages, which pass data. Posting never blocks. Within a lane,
// and so for the data of one sender, order is kept.
//
// There is one lock, held for a few instructions by a poster (append to a
// slice) and once per refill by the runner (swap the slice it has used up for
// the one the posters filled). "Is there a runner?" is decided under that same
// lock as "is there a message?", so a wake-up cannot be lost: either the poster
// comes first and the runner sees its message, or the runner has already
// declared itself gone and the poster starts a new one.
type Mailbox struct {
	invoker    pactor.MessageInvoker
	dispatcher pactor.Dispatcher
	process    func() // m.run once, so that scheduling allocates nothing
	options    mailboxOptions
	host       mailboxHost

	mu        sync.Mutex
	running   bool // a runner exists, or Start was not called yet
	sizes     []int
	highCount int
	highBytes int64
	id        string // of the actor, once it is known
	closed    bool   // the actor is gone: nothing will be delivered any more

	system, control, data lane

	urgent atomic.Bool  // a poster added to the system or control lane
	count  atomic.Int64 // data messages that wait
	bytes  atomic.Int64 // their bytes

	// Only the runner touches these.
	suspended bool
	stopping  bool
	stopAgain bool // it panicked while stopping: stop it once it was restarted
	batch     Batch
	handling  []any // what is being delivered, to refuse it after a panic
	single    [1]any
	outSizes  []int // of data.out
	own       pactor.Process
}

// lane is a queue in two halves: posters append to in, the runner reads out.
type lane struct {
	in, out []any
	next    int // first unread slot of out
}

func (l *lane) unread() int { return len(l.out) - l.next }

// take swaps the halves when all of out has been read and in has something.
// The caller holds the lock.
func (l *lane) take() bool {
	if l.unread() > 0 || len(l.in) == 0 {
		return false
	}
	l.out, l.in, l.next = l.in, recycle(l.out), 0
	return true
}

// rest gives a large spare buffer back when the lane goes idle.
func (l *lane) rest() {
	l.out, l.next = recycle(l.out[:0]), 0
	if len(l.in) == 0 {
		l.in = recycle(l.in)
	}
}

func (l *lane) pop() any {
	m := l.out[l.next]
	l.out[l.next] = nil
	l.next++
	return m
}

// recycle empties a used buffer, or drops it when a burst made it large and the
// last use no longer needed it.
func recycle[T any](used []T) []T {
	if cap(used) > laneSlotsKept && len(used) < cap(used)/4 {
		return nil
	}
	return used[:0]
}

func newMailbox(o mailboxOptions, host mailboxHost) *Mailbox {
	m := &Mailbox{options: o, host: host, running: true}
	m.process = m.run
	return m
}

// RegisterHandlers is called by Proto.Actor before Start.
func (m *Mailbox) RegisterHandlers(invoker pactor.MessageInvoker, dispatcher pactor.Dispatcher) {
	m.invoker, m.dispatcher = invoker, dispatcher
	if ctx, ok := invoker.(registered); ok {
		m.mu.Lock()
		m.id = ctx.Self().Id
		m.mu.Unlock()
		m.host.mailboxOpened(ctx.Self().Id, m)
	}
}

// Start lets the mailbox deliver. What was posted before waits until now.
func (m *Mailbox) Start() {
	m.mu.Lock()
	wake := len(m.system.in)+len(m.control.in)+len(m.data.in) > 0
	m.running = wake
	m.mu.Unlock()
	if wake {
		m.dispatcher.Schedule(m.process)
	}
}

// UserMessageCount returns how many control and data messages wait.
func (m *Mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.control.in) + int(m.count.Load())
}

// Depth returns how many data messages wait.
func (m *Mailbox) Depth() int { return int(m.count.Load()) }

// Bytes returns how many bytes of data wait.
func (m *Mailbox) Bytes() int64 { return m.bytes.Load() }

// HighWater returns the largest depth and bytes there were.
func (m *Mailbox) HighWater() (messages int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.highCount, m.highBytes
}

// PostSystemMessage queues a message of the actor system. It never refuses.
func (m *Mailbox) PostSystemMessage(message any) {
	m.mu.Lock()
	m.system.in = append(m.system.in, message)
	m.urgent.Store(true)
	m.wakeAndUnlock()
}

// PostUserMessage queues a message, or refuses it when it is data and the
// mailbox is full.
func (m *Mailbox) PostUserMessage(message any) {
	size, isData := dataSize(message)
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		m.host.refused(message, ErrStopped)
		return
	}
	if !isData {
		m.control.in = append(m.control.in, message)
		m.urgent.Store(true)
		m.wakeAndUnlock()
		return
	}
	if err := m.admit(message, size); err != nil {
		id := m.id
		m.mu.Unlock()
		m.host.mailboxFull(id)
		m.host.refused(message, err)
		return
	}
	m.data.in = append(m.data.in, message)
	m.sizes = append(m.sizes, size)
	m.wakeAndUnlock()
}

// admit counts one data message in, unless that would pass a limit. The lock is
// held: only posters, one at a time, make the counts grow.
func (m *Mailbox) admit(message any, size int) error {
	count, bytes := m.count.Load(), m.bytes.Load()
	if count >= int64(m.options.messagesMax) || bytes+int64(size) > m.options.bytesMax {
		if _, isPill := message.(*pactor.PoisonPill); !isPill {
			return fmt.Errorf("%w: %d messages of %d bytes wait (limits %d and %d), one of %d bytes came",
				ErrMailboxFull, count, bytes, m.options.messagesMax, m.options.bytesMax, size)
		}
	}
	m.highCount = max(m.highCount, int(m.count.Add(1)))
	m.highBytes = max(m.highBytes, m.bytes.Add(int64(size)))
	return nil
}

func (m *Mailbox) wakeAndUnlock() {
	wake := !m.running
	m.running = true
	m.mu.Unlock()
	if wake {
		m.dispatcher.Schedule(m.process)
	}
}

// dataSize tells data from control. A poison pill means "stop after what waits",
// so it travels with the data although it weighs nothing.
func dataSize(message any) (int, bool) {
	switch m := message.(type) {
	case Sized:
		return max(m.MailboxBytes(), 0), true
	case *pactor.MessageEnvelope:
		return dataSize(m.Message)
	case *pactor.PoisonPill:
		return 0, true
	}
	return 0, false
}

// run delivers until nothing is left.
func (m *Mailbox) run() {
	for !m.deliver() {
	}
}

// deliver returns true when this goroutine has ceased to be the runner, and
// false when a message panicked: then there may be more to do.
func (m *Mailbox) deliver() (idle bool) {
	returned := false
	defer func() {
		switch reason := recover(); {
		case reason != nil:
			m.failed(panicError(reason))
		case !returned: // this goroutine is about to end: another one goes on
			m.failed(panicError(errGoexit))
			m.dispatcher.Schedule(m.process)
		}
	}()
	turn := m.dispatcher.Throughput()
	for n := 1; !m.refill(); n++ {
		if n%turn == 0 {
			goruntime.Gosched()
		}
		switch {
		case m.system.unread() > 0:
			m.deliverSystem(m.system.pop())
		case m.control.unread() > 0:
			m.deliverOne(m.control.pop())
		default:
			m.deliverData()
		}
	}
	returned = true
	return true
}

// deliverable tells whether the halves of the runner hold a message that may be
// delivered now: while suspended, only those of the system.
func (m *Mailbox) deliverable() bool {
	return m.system.unread() > 0 ||
		!m.suspended && (m.control.unread() > 0 || m.data.unread() > 0)
}

// refill comes before every step. It lets urgent messages pass, and fetches what
// the posters left. It returns true when nothing may be delivered now: from then
// on this goroutine is not the runner.
func (m *Mailbox) refill() (idle bool) {
	if !m.urgent.Load() && m.deliverable() {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.system.take()
	m.control.take()
	if m.data.take() {
		m.outSizes, m.sizes = m.sizes, recycle(m.outSizes)
	}
	m.urgent.Store(len(m.system.in)+len(m.control.in) > 0)
	if m.deliverable() {
		return false
	}
	m.rest()
	m.running = false
	return true
}

// rest gives back what a burst left behind. It must not touch lanes that wait
// for the end of a suspension.
func (m *Mailbox) rest() {
	m.system.rest()
	if m.suspended {
		return
	}
	m.control.rest()
	m.data.rest()
	m.outSizes, m.sizes = recycle(m.outSizes[:0]), recycle(m.sizes)
}

func (m *Mailbox) deliverSystem(message any) {
	switch message.(type) {
	case *pactor.SuspendMailbox:
		m.suspended = true
		return
	case *pactor.ResumeMailbox:
		m.suspended = false
		return
	case *pactor.Stop:
		m.noteOwnProcess()
	}
	m.invoker.InvokeSystemMessage(message)
	if !m.stopping {
		return
	}
	if _, restarted := message.(*pactor.Restart); restarted && m.stopAgain {
		m.stopping, m.stopAgain = false, false
		m.PostSystemMessage(&pactor.Stop{})
		return
	}
	m.closeIfGone()
}

func (m *Mailbox) deliverOne(message any) {
	m.single[0] = message
	m.handling = m.single[:]
	m.invoker.InvokeUserMessage(message)
	m.handling, m.single[0] = nil, nil
}

// deliverData delivers the next data message, or the run of plain ones that
// waits when the actor takes batches.
func (m *Mailbox) deliverData() {
	first := m.data.next
	n := m.plainRun()
	if n == 0 {
		m.uncount(1)
		m.deliverOne(m.data.pop())
		return
	}
	m.uncount(n)
	m.data.next += n
	m.batch.Messages = m.data.out[first : first+n : first+n]
	m.handling = m.batch.Messages
	m.invoker.InvokeUserMessage(&m.batch)
	clear(m.handling)
	m.handling, m.batch.Messages = nil, nil
}

// plainRun counts the messages that may go into one batch.
func (m *Mailbox) plainRun() int {
	waiting := m.data.out[m.data.next:]
	for n, message := range waiting[:min(m.options.batchMax, len(waiting))] {
		switch message.(type) {
		case *pactor.MessageEnvelope, *pactor.PoisonPill:
			return n
		}
	}
	return min(m.options.batchMax, len(waiting))
}

// uncount takes the next n data messages off the books.
func (m *Mailbox) uncount(n int) {
	sum := 0
	for _, size := range m.outSizes[m.data.next : m.data.next+n] {
		sum += size
	}
	m.bytes.Add(int64(-sum))
	m.count.Add(int64(-n))
}

// failed hands a panic to the supervisor, and tells those whose messages the
// actor held. Proto.Actor suspends the mailbox until the supervisor has decided.
func (m *Mailbox) failed(reason *PanicError) {
	held := m.handling
	var message any
	for i := range held {
		message = held[i]
		m.host.refused(held[i], reason)
		held[i] = nil
	}
	m.handling, m.batch.Messages = nil, nil
	m.stopAgain = m.stopping
	m.invoker.EscalateFailure(reason, message)
}

// registered is what of an actor's context tells whether it still is one.
type registered interface {
	Self() *pactor.PID
	ActorSystem() *pactor.ActorSystem
}

func (m *Mailbox) noteOwnProcess() {
	if ctx, ok := m.invoker.(registered); ok && !m.stopping {
		m.own, m.stopping = ctx.ActorSystem().ProcessRegistry.GetLocal(ctx.Self().Id)
	}
}

// closeIfGone refuses what still waits once the actor has left the registry.
// Proto.Actor would take these messages and drop them without a word.
func (m *Mailbox) closeIfGone() {
	ctx := m.invoker.(registered)
	if now, found := ctx.ActorSystem().ProcessRegistry.GetLocal(ctx.Self().Id); found && now == m.own {
		return
	}
	m.host.mailboxClosed(ctx.Self().Id)
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	for _, l := range []*lane{&m.control, &m.data} {
		m.refuseAll(l)
	}
	m.count.Store(0)
	m.bytes.Store(0)
}

func (m *Mailbox) refuseAll(l *lane) {
	m.mu.Lock()
	waiting := append(append([]any(nil), l.out[l.next:]...), l.in...)
	*l = lane{}
	m.mu.Unlock()
	for _, message := range waiting {
		m.host.refused(message, ErrStopped)
	}
}
