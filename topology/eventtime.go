package topology

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/watermark"
	"github.com/troupestream/troupe/internal/window"
)

// EventTime gives every record the time that at reads from it, and lets event
// time advance by them: records may come up to bound behind the newest one of
// their split. The watermark, up to which no more records are expected, is that
// newest time less bound less one millisecond; it is kept for each split, the
// slowest one counts, and it never moves back.
//
// Whether a record is late is decided by the records in front of it in its
// split, not by the moment at which they were read. At the end of the input
// event time ends too, and every window closes.
//
// It stands in the stream of one source, in front of a KeyBy and of a Merge with
// other sources: behind those the splits cannot be told apart, and Build says so.
// What is read back from a topic, by Through for one, is a source again, and needs
// an EventTime of its own.
//
// Times count in whole milliseconds. A record whose time is more than 73
// million years away fails like one on which at panics.
func EventTime[T any](s Stream[T], name string, bound time.Duration, at func(T) time.Time,
	opts ...EventTimeOption) Stream[T] {
	set := gather(opts, EventTimeOption.eventTime)
	o := add(s.b, kindEventTime, name, dataflow.Operator, set, s.ref)
	o.node.Bounded = true
	o.require(at != nil, "its function is nil")
	o.require(bound >= 0, "the bound is %v: it cannot be negative", bound)
	rules := watermark.Rules{Bound: bound.Milliseconds(), Idle: set.idle.Milliseconds(),
		Drift: time.Hour.Milliseconds(), Jump: set.maxJump.Milliseconds()}
	if set.maxDrift > 0 {
		rules.Drift = set.maxDrift.Milliseconds()
	}
	policy := o.node.Policy
	o.node.NewInstance = func(env *dataflow.Env) (dataflow.Instance, error) {
		return &eventTimer[T]{looper: newLooper[T](env, policy), read: at,
			clock: watermark.NewGenerator(rules, len(env.Origins)), told: watermark.Min}, nil
	}
	return output[T](o, "")
}

// IdleOption is what Idle returns.
type IdleOption time.Duration

// Idle lets event time advance without a split that has given no record for so
// long, until it gives one again. The clock does not run while the source is
// held back. Without this option a silent split holds event time for ever.
func Idle(after time.Duration) IdleOption { return IdleOption(after) }

func (d IdleOption) eventTime(s *settings) {
	s.idle = atLeastMilli(s, "Idle", time.Duration(d))
}

// MaxDriftOption is what MaxDrift returns.
type MaxDriftOption time.Duration

// MaxDrift says how far ahead of the clock a record's time may be, one hour
// unless set. A record beyond it is processed and counted, but does not advance
// event time: otherwise one wrong date would close every window.
func MaxDrift(d time.Duration) MaxDriftOption { return MaxDriftOption(d) }

func (d MaxDriftOption) eventTime(s *settings) {
	s.maxDrift = atLeastMilli(s, "MaxDrift", time.Duration(d))
}

// MaxJumpOption is what MaxJump returns.
type MaxJumpOption time.Duration

// MaxJump says how far ahead of the newest record of its split a record's time
// may be. One beyond it advances event time only together with the 15 that
// follow it, if they are as far ahead: then the lowest of their times holds.
// Unlike MaxDrift it also protects the replay of old data. Without this option
// any distance will do.
//
// A split's first record has none in front of it that could show its date to be
// wrong. So it does not advance event time by itself: that begins once two records
// of the split are within d of each other, or, should no two be, with the median of
// the first 16.
func MaxJump(d time.Duration) MaxJumpOption { return MaxJumpOption(d) }

func (d MaxJumpOption) eventTime(s *settings) {
	s.maxJump = atLeastMilli(s, "MaxJump", time.Duration(d))
}

func atLeastMilli(s *settings, option string, d time.Duration) time.Duration {
	if d < time.Millisecond {
		s.wrong("%s is %v: it must be at least a millisecond", option, d)
		return 0
	}
	return d
}

type eventTimer[T any] struct {
	looper[T]
	read  func(T) time.Time
	clock *watermark.Generator
	port  dataflow.Port[T]

	first        int // the times and marks are those of the records from first to before at
	times, marks []int64
	out          dataflow.Batch[T] // of the values of in
	told         int64             // watermark that was handed on
	toldIdle     bool
	ended        bool
}

func (e *eventTimer[T]) Input(int) any                   { return e }
func (e *eventTimer[T]) Connect(_ int, reader any) error { return e.port.Connect(reader) }

func (e *eventTimer[T]) Receive(in *dataflow.Batch[T]) error {
	e.clock.Begin(in.Origin, e.env.Now().UnixMilli())
	if err := e.each(in, e); err != nil {
		return err
	}
	return e.tell()
}

// Run implements dataflow.Loop.
func (e *eventTimer[T]) Run(from int) int {
	in, read := e.in.Values, e.read
	e.first, e.times, e.marks = from, e.times[:0], e.marks[:0]
	for i := from; i < len(in); i++ {
		e.at = i
		t := read(in[i]).UnixMilli()
		if t < window.MinTime || t > window.MaxTime {
			panic(fmt.Errorf("the event time %d ms is out of range", t))
		}
		mark, future := e.clock.Observe(t)
		e.times, e.marks = append(e.times, t), append(e.marks, mark)
		if future {
			e.env.Metrics.Future.Add(1)
		}
	}
	return len(in)
}

func (e *eventTimer[T]) Undo() {} // a record counts once its time is known

// Flush hands on the values of the input, with times and marks of our own.
func (e *eventTimer[T]) Flush() error {
	n := len(e.times)
	e.env.Metrics.Out.Add(int64(n))
	e.out.Values = e.in.Values[e.first : e.first+n]
	e.out.Columns = e.in.Slice(e.first, e.first+n)
	e.out.Times, e.out.Marks = e.times, e.marks
	return e.port.Receive(&e.out)
}

// tell hands on the watermark when it has changed.
func (e *eventTimer[T]) tell() error {
	time, idle := e.clock.Watermark()
	if e.ended || time == e.told && idle == e.toldIdle {
		return nil
	}
	e.told, e.toldIdle = time, idle
	e.env.Metrics.Watermark.Store(time)
	return e.port.Watermark(time, idle)
}

// Watermark ignores the event time of those in front, but for its end.
func (e *eventTimer[T]) Watermark(time int64, _ bool) error {
	if time != watermark.Max || e.ended {
		return nil
	}
	e.ended = true
	e.env.Metrics.Watermark.Store(time)
	return e.port.Watermark(time, false)
}

// EndOrigin implements dataflow.OriginEnder.
func (e *eventTimer[T]) EndOrigin(origin int) error {
	e.clock.End(origin)
	return e.tell()
}

// Tick implements dataflow.Ticker.
func (e *eventTimer[T]) Tick(now int64) error {
	e.clock.Tick(now)
	return e.tell()
}

// NextTick implements dataflow.Ticker.
func (e *eventTimer[T]) NextTick() (int64, bool) { return e.clock.NextTick() }

// SavePositions implements dataflow.Positioned.
func (e *eventTimer[T]) SavePositions() map[string][]byte {
	saved := map[string][]byte{}
	for i, id := range e.env.Origins {
		if s, ok := e.clock.Save(i); ok {
			saved[id] = appendVarints(appendVarints(nil, s.Newest, int64(s.Suspects), s.Lowest), s.First...)
		}
	}
	return saved
}

// RestorePositions implements dataflow.Positioned.
func (e *eventTimer[T]) RestorePositions(saved map[string][]byte) error {
	for i, id := range e.env.Origins {
		b, ok := saved[id]
		if !ok {
			continue
		}
		v, err := readVarints(b, 3, 3+watermark.Confirmations-1)
		if err != nil {
			return fmt.Errorf("event time of %q: %w", id, err)
		}
		e.clock.Restore(i, watermark.OriginState{Newest: v[0], Suspects: int(v[1]), Lowest: v[2], First: v[3:]})
	}
	return nil
}

var errCorruptState = errors.New("the stored state is corrupt")

func appendVarints(dst []byte, v ...int64) []byte {
	for _, n := range v {
		dst = binary.AppendVarint(dst, n)
	}
	return dst
}

// readVarints reads numbers to the end, and fails unless there are so many.
func readVarints(b []byte, least, most int) (v []int64, err error) {
	for len(b) > 0 && len(v) < most {
		n, w := binary.Varint(b)
		if w <= 0 {
			return nil, errCorruptState
		}
		v, b = append(v, n), b[w:]
	}
	if len(b) > 0 || len(v) < least {
		return nil, errCorruptState
	}
	return v, nil
}
