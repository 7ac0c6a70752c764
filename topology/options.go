package topology

import (
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/keygroup"
)

// Options are sealed and narrow: each interface names the one kind of operator
// that its options fit, so that a misplaced option does not compile.
type (
	// BuilderOption is an option of New: KeyGroups, OnError.
	BuilderOption interface{ builder(*Builder) }
	// FromOption is an option of From: Parallelism, OnError.
	FromOption interface{ from(*settings) }
	// ToOption is an option of To: Parallelism, OnError.
	ToOption interface{ to(*settings) }
	// MapOption is an option of Map: OnError.
	MapOption interface{ mapping(*settings) }
	// FilterOption is an option of Filter: OnError.
	FilterOption interface{ filter(*settings) }
	// FlatMapOption is an option of FlatMap: OnError.
	FlatMapOption interface{ flatMap(*settings) }
	// TryOption is an option of Try: OnError.
	TryOption interface{ try(*settings) }
	// KeyByOption is an option of KeyBy: Parallelism, OnError.
	KeyByOption interface{ keyBy(*settings) }
	// ThroughOption is an option of Through: OnError.
	ThroughOption interface{ through(*settings) }
	// EventTimeOption is an option of EventTime: Idle, MaxDrift, MaxJump, OnError.
	EventTimeOption interface{ eventTime(*settings) }
	// FoldOption is an option of Fold: KeyLimits, OnError.
	FoldOption interface{ fold(*settings) }
	// WindowOption is an option of WindowFold: AllowedLateness, KeyLimits, OnError.
	WindowOption interface{ window(*settings) }
	// ProcessOption is an option of Process: SideOutput, KeyLimits, OnError.
	ProcessOption interface{ process(*settings) }
)

// settings are what options set. The interfaces above see to it that an
// operator only ever meets those that concern it.
type settings struct {
	parallelism int
	policy      *dataflow.Policy // nil: the builder's
	idle        time.Duration
	maxDrift    time.Duration
	maxJump     time.Duration
	lateness    time.Duration
	limits      KeyLimits
	sides       []side
	mistakes    []string
}

func (s *settings) wrong(format string, args ...any) {
	s.mistakes = append(s.mistakes, fmt.Sprintf(format, args...))
}

// gather applies options; apply is the method of their interface.
func gather[O any](opts []O, apply func(O, *settings)) *settings {
	s := &settings{}
	for _, o := range opts {
		if any(o) != nil {
			apply(o, s)
		}
	}
	return s
}

// KeyGroups sets into how many groups the keys of the topology's keyed state
// are divided, which bounds the parallelism of keyed operators: 1 to 32,768,
// 128 unless set. It is fixed for the life of a job's state.
func KeyGroups(n int) BuilderOption { return keyGroups(n) }

type keyGroups int

func (n keyGroups) builder(b *Builder) {
	if n < 1 || n > keygroup.Max {
		b.mistakes = append(b.mistakes, fmt.Errorf("topology %q: KeyGroups is %d: it must be 1 to %d", b.name, n, keygroup.Max))
		return
	}
	b.keyGroups = int(n)
}

// ParallelismOption is what Parallelism returns.
type ParallelismOption int

// Parallelism sets the number of tasks: those that read a source, that the
// keys of a KeyBy are divided among, or that write to a sink. A source never
// has more tasks than splits, a sink never more than it allows for. Without
// this option the job's parallelism holds, and for a sink that of its
// producer.
func Parallelism(tasks int) ParallelismOption { return ParallelismOption(tasks) }

const maxParallelism = keygroup.Max

func (n ParallelismOption) apply(s *settings) {
	if n < 1 || n > maxParallelism {
		s.wrong("Parallelism is %d: it must be 1 to %d", n, maxParallelism)
		return
	}
	s.parallelism = int(n)
}

func (n ParallelismOption) from(s *settings)  { n.apply(s) }
func (n ParallelismOption) keyBy(s *settings) { n.apply(s) }
func (n ParallelismOption) to(s *settings)    { n.apply(s) }
