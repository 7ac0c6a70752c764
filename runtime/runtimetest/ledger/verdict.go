package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Class is a kind of violation.
type Class string

// The classes.
const (
	LostPrefix         Class = "lost at the beginning"    // acknowledged, missing, before everything of its producer that is there
	LostMiddle         Class = "lost in the middle"       // acknowledged, missing, between others of its producer
	LostPostfix        Class = "lost at the end"          // acknowledged, missing, behind everything of its producer that is there
	Unexpected         Class = "unexpected"               // there, but never sent, or not meant for that place
	Aborted            Class = "aborted but there"        // there, although its send has failed for certain
	InconsistentOffset Class = "inconsistent offset"      // one offset, two messages; or not the offset that was acknowledged
	DuplicateInLog     Class = "duplicate in the log"     // one message at two offsets
	DuplicateDelivery  Class = "unexplained duplicate"    // delivered again without a cause, or too often
	VisibleDuplicate   Class = "visible duplicate"        // delivered again at an effectively-once sink
	WrongOrder         Class = "wrong order"              // a later message of a key before an earlier one of the same producer
	ReadOrder          Class = "reader skipped or jumped" // a reader's offsets do not follow each other
	Zombie             Class = "write of a fenced owner"  // an epoch lower than that of an earlier offset
	StateMismatch      Class = "state differs"            // from the oracle's
	Incomplete         Class = "incomplete check"         // a reader did not come to the end
)

// Errors of a verdict. Test for them with errors.Is.
var (
	// ErrViolated: the system broke a promise.
	ErrViolated = errors.New("the ledger does not balance")
	// ErrUnknown: the check was not complete, so nothing is proven.
	ErrUnknown = errors.New("the ledger's check is incomplete, the verdict is unknown")
)

// MaxExamples is how many examples of a class a verdict keeps.
const MaxExamples = 10

// Finding is what was found of one class.
type Finding struct {
	Class    Class
	Count    int
	Examples []string // the first MaxExamples
}

// Verdict is the result of a check.
type Verdict struct {
	OK, Fail, Info int // sends by outcome
	Logged         int // records read from logs
	Delivered      int
	Repeated       int // deliveries beyond the first at sinks that allow it
	Reads          int
	States         int // comparisons with an oracle
	Findings       []Finding
}

func (v *Verdict) add(c Class, format string, args ...any) {
	i := slices.IndexFunc(v.Findings, func(f Finding) bool { return f.Class == c })
	if i < 0 {
		i = len(v.Findings)
		v.Findings = append(v.Findings, Finding{Class: c})
	}
	f := &v.Findings[i]
	f.Count++
	if len(f.Examples) < MaxExamples {
		f.Examples = append(f.Examples, fmt.Sprintf(format, args...))
	}
}

// Count is how many violations of a class were found.
func (v *Verdict) Count(c Class) int {
	for _, f := range v.Findings {
		if f.Class == c {
			return f.Count
		}
	}
	return 0
}

// Green says whether the check was complete and found nothing.
func (v *Verdict) Green() bool { return len(v.Findings) == 0 }

// Err is nil when the verdict is green. Otherwise its text is the verdict's,
// and it is ErrUnknown when the check was incomplete, or else ErrViolated.
func (v *Verdict) Err() error {
	switch {
	case v.Green():
		return nil
	case v.Count(Incomplete) > 0:
		return fmt.Errorf("%w\n%s", ErrUnknown, v)
	default:
		return fmt.Errorf("%w\n%s", ErrViolated, v)
	}
}

// String is the verdict in words, a line for each class and each example.
func (v *Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: sent %d ok, %d failed, %d unknown; %d in the log; %d delivered, %d of them again; %d readers, %d states compared\n",
		v.colour(), v.OK, v.Fail, v.Info, v.Logged, v.Delivered, v.Repeated, v.Reads, v.States)
	for _, f := range v.Findings {
		fmt.Fprintf(&b, "  %s: %d\n", f.Class, f.Count)
		for _, e := range f.Examples {
			fmt.Fprintf(&b, "    %s\n", e)
		}
		if more := f.Count - len(f.Examples); more > 0 {
			fmt.Fprintf(&b, "    and %d more\n", more)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (v *Verdict) colour() string {
	switch {
	case v.Green():
		return "GREEN"
	case v.Count(Incomplete) > 0:
		return "UNKNOWN"
	default:
		return "RED"
	}
}
