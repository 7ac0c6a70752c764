package ledger

import (
	"fmt"
	"sync"
)

// Outcome is what a sender knows about a send.
type Outcome uint8

// The outcomes.
const (
	OK   Outcome = iota // acknowledged: it must be there
	Fail                // refused for certain: it must not be there
	Info                // time-out, lost connection: it may be there or not
)

// String names the outcome.
func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case Fail:
		return "fail"
	default:
		return "info"
	}
}

// ID identifies a message: its producer, and its place in what that producer
// sent. A producer that repeats a send after a doubtful outcome uses the same ID.
type ID struct {
	Producer string
	Seq      uint64
}

// String is "producer/seq".
func (id ID) String() string { return fmt.Sprintf("%s/%d", id.Producer, id.Seq) }

// NoOffset says that an offset is not known.
const NoOffset int64 = -1

// Send is one attempt to send a message.
type Send struct {
	ID        ID
	Key       string
	Outcome   Outcome
	Partition int
	Offset    int64 // as acknowledged; NoOffset: not told
}

// Entry is one record that a reader found in a log.
type Entry struct {
	Reader    string // who read; one pass over one partition, in order
	Partition int
	Offset    int64
	ID        ID
	Key       string
	Epoch     uint64 // of the writer; 0: not known
}

// Delivery is one message that arrived at a sink.
type Delivery struct {
	Sink    string
	ID      ID
	Key     string
	Attempt int    // 1 the first time
	Cause   string // why it was delivered again: "crash", "timeout", …
}

// Sink declares a sink whose deliveries are checked.
type Sink struct {
	Name string
	// EffectivelyOnce: what is delivered twice is a violation. Otherwise it is
	// one only when there are more repeats than MaxRepeats, or one without a cause.
	EffectivelyOnce bool
	MaxRepeats      int
	// Expect says which of the messages sent belong at this sink; nil: all.
	Expect func(Send) bool
	// Unordered: the order of messages of one key is not promised.
	Unordered bool
}

// Read declares how far a reader of a partition, or of a sink's output, had to
// come and came.
type Read struct {
	What    string // "orders/3", or the name of a sink
	Want    int64  // how many records there are to read, according to the log
	Got     int64
	Errors  int
	Problem string // of the first error
}

// Ledger is the history of one run. The zero value is empty and ready.
type Ledger struct {
	mu         sync.Mutex
	sends      []Send
	entries    []Entry
	deliveries []Delivery
	sinks      []Sink
	reads      []Read
	states     []mismatch
	compared   int
	logs       bool
}

// Sent notes an attempt to send.
func (l *Ledger) Sent(s Send) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sends = append(l.sends, s)
}

// Logged notes a record found in a log. From the first one on, everything that
// was acknowledged must be in the logs.
func (l *Ledger) Logged(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries, l.logs = append(l.entries, e), true
}

// CheckLogs says that logs are part of the check even if nothing is found in
// them.
func (l *Ledger) CheckLogs() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logs = true
}

// Declare adds a sink to the check.
func (l *Ledger) Declare(s Sink) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sinks = append(l.sinks, s)
}

// Delivered notes a message that arrived at a sink.
func (l *Ledger) Delivered(d Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries = append(l.deliveries, d)
}

// Finished notes how far a reader came.
func (l *Ledger) Finished(r Read) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads = append(l.reads, r)
}

type mismatch struct{ what, text string }

// CompareState compares the state that a run ended with to what the oracle, a
// recomputation over everything that was sent, says it must be.
func CompareState[K comparable, V comparable](l *Ledger, what string, want, got map[K]V) {
	var found []mismatch
	for k, w := range want {
		if g, ok := got[k]; !ok {
			found = append(found, mismatch{what, fmt.Sprintf("%v is missing, want %v", k, w)})
		} else if g != w {
			found = append(found, mismatch{what, fmt.Sprintf("%v is %v, want %v", k, g, w)})
		}
	}
	for k, g := range got {
		if _, ok := want[k]; !ok {
			found = append(found, mismatch{what, fmt.Sprintf("%v is %v, want nothing", k, g)})
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compared++
	l.states = append(l.states, found...)
}
