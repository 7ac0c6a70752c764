package dataflow

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"
)

// Loop is one operator's work on one batch, with user code in it.
type Loop interface {
	// Run handles records from index from on and returns the index after the
	// last one handled: the end, or earlier where Flush is due. It must not
	// call other operators: a panic in Run is taken for the user's.
	Run(from int) (next int)
	// At is the index of the record that Run is at.
	At() int
	// Undo takes back whatever the record at At has changed or emitted so far.
	Undo()
	// Flush hands on what Run has produced.
	Flush() error
	// Encode renders record i for a dead letter.
	Encode(i int) DeadLetter
	// Subject describes record i for an error.
	Subject(i int) Subject
}

// Guard runs user code: it catches panics with their stack, tries again with
// backoff, and then does what the operator's policy says.
type Guard struct {
	env    *Env
	policy Policy
	failed int // the record of the batch at hand that failed last, or -1
	tried  int // calls that failed on it
}

// NewGuard returns the guard of an operator.
func NewGuard(env *Env, p Policy) *Guard { return &Guard{env: env, policy: p} }

// Failure is a panic in user code that its policy did not absorb.
type Failure struct {
	Node     string
	Subject  string // the record, its key and where it came from, as far as they are known; shortened
	Cause    any
	Stack    string
	Attempts int
}

func (f *Failure) Error() string {
	times := "once"
	if f.Attempts > 1 {
		times = fmt.Sprintf("%d times", f.Attempts)
	}
	return fmt.Sprintf("operator %q failed %s on one record%s: %v; give the operator another error policy (OnError) to pass over such records",
		f.Node, times, f.Subject, f.Cause)
}

// Unwrap returns the cause when the panic's value was an error.
func (f *Failure) Unwrap() error {
	err, _ := f.Cause.(error)
	return err
}

// Each runs the loop over n records.
//
// User code runs on the task's goroutine, and so does the wait before another
// try: a record's successors must not overtake it, and the task has nothing
// else to do meanwhile. The wait ends early when the task is told to stop.
func (g *Guard) Each(n int, l Loop) error {
	g.failed = -1
	for from := 0; from < n; {
		next, failure := g.protect(l, from)
		if failure != nil {
			var err error
			if next, err = g.handle(l, failure); err != nil {
				return err
			}
		}
		from = next
		if err := l.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (g *Guard) protect(l Loop, from int) (next int, f *Failure) {
	defer func() {
		if cause := recover(); cause != nil {
			f = &Failure{Node: g.env.Node, Cause: cause, Stack: string(debug.Stack())}
		}
	}()
	return l.Run(from), nil
}

// handle deals with a failure and returns the record to go on with: the failed
// one, to try it again, or the next.
func (g *Guard) handle(l Loop, f *Failure) (next int, err error) {
	at := l.At()
	if at != g.failed {
		g.failed, g.tried = at, 0
	}
	g.tried++
	f.Attempts = g.tried
	l.Undo()
	skip, err := g.decide(l, f)
	if skip {
		at++
	}
	return at, err
}

// decide says whether to pass over the failed record; false means try again.
func (g *Guard) decide(l Loop, f *Failure) (skip bool, err error) {
	g.env.Metrics.Failures.Add(1)
	if g.tried < g.policy.Attempts {
		return false, g.env.wait(g.policy, g.tried)
	}
	switch g.policy.Then {
	case ToTopic:
		d := encode(l)
		d.Topic, d.Node, d.Attempts = g.policy.Topic, g.env.Node, g.tried
		d.Error, d.Stack = fmt.Sprint(f.Cause)+d.Error, f.Stack
		g.env.Metrics.DeadLetters.Add(1)
		return true, g.env.DeadLetter(d)
	case SkipRecord:
		g.env.Metrics.Skipped.Add(1)
		return true, nil
	default:
		f.Subject = describe(l)
		return false, f
	}
}

// encode renders the record at hand. Its type's own encoding is user code, too;
// a letter without the record is better than none.
func encode(l Loop) (d DeadLetter) {
	defer func() {
		if cause := recover(); cause != nil {
			d = DeadLetter{Time: NoTime, Error: encodingPanicked(cause)}
		}
	}()
	return l.Encode(l.At())
}

// Subject is a record as an error names it. What is not known, or not there, is nil
// or "".
type Subject struct {
	Value, Key any
	Origin     string
}

// subjectRunes is how much of a record, and of a key, is in an error.
const subjectRunes = 64

// describe puts the record at hand into words: " (…)", or "" where nothing is known.
// It does not panic: the failure at hand counts.
func describe(l Loop) (text string) {
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	s, parts := l.Subject(l.At()), []string(nil)
	if s.Value != nil {
		parts = append(parts, shown(s.Value))
	}
	if s.Key != nil {
		parts = append(parts, "key "+shown(s.Key))
	}
	if s.Origin != "" {
		parts = append(parts, "from "+s.Origin)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// shown renders a value, shortened. Its type's own way to do so may be user code;
// fmt catches its panics.
func shown(v any) string {
	switch v.(type) {
	case string, []byte:
		return fmt.Sprintf("%.*q", subjectRunes, v)
	}
	text := fmt.Sprintf("%+v", v)
	if short := fmt.Sprintf("%.*s", subjectRunes, text); short != text {
		text = short + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, text)
}

func encodingPanicked(cause any) string {
	return fmt.Sprintf(" (and its encoding panicked: %v)", cause)
}

// wait lets time pass behind the call that was so many tries into a record.
func (e *Env) wait(p Policy, tried int) error {
	if d := p.backoff(tried); d > 0 {
		return e.sleep(d)
	}
	return nil
}

// backoff is exponential, with full jitter over its upper half.
func (p Policy) backoff(tried int) time.Duration {
	d := min(p.Backoff<<min(tried-1, 20), p.BackoffMax)
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d/2+1)
}
