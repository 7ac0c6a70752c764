package topology

import (
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/watermark"
	"github.com/troupestream/troupe/internal/window"
)

// Windows says how event time is divided: see Tumbling and Sliding.
type Windows = window.Windows

// Tumbling windows have a size and follow each other without gap or overlap.
// They are aligned to the epoch: hours begin at full hours, UTC. The size is
// in whole milliseconds.
func Tumbling(size time.Duration) Windows { return window.Tumbling(size) }

// Sliding windows of a size begin every so often, and overlap. They are aligned
// to the epoch. Both are in whole milliseconds, every is at most the size.
func Sliding(size, every time.Duration) Windows { return window.Sliding(size, every) }

// Window is the result of a window of one key: of the records whose time is
// Start or later, and before End. Both are in UTC.
type Window[K comparable, A any] struct {
	Key        K
	Start, End time.Time
	Value      A
}

// Late is a record that came too late for every window it belongs to.
type Late[T any] struct {
	Value T
	Time  time.Time
	// Watermark is how far event time had come when the record did.
	Watermark time.Time
}

// WindowFold keeps one accumulator for each key and window, which starts as A's
// zero value, and replaces it by what f makes of it and each record of the
// window. Once event time passes the window's end, its result is given out, with
// the last millisecond of the window as its time. Of the windows that end
// together, results come in the order of their keys' bytes.
//
// A record is late when event time has passed every window it belongs to; late
// records are counted, and are the second stream, which nobody needs to read.
// With AllowedLateness a window is kept for so much longer, and each record that
// comes meanwhile gives out its result once more. A record that is late for some
// of its windows is counted in the others.
//
// Every source whose records come here needs an EventTime on the way, or no window
// would ever close: Build says so. A record without a time, as a Process gives
// out from OnTimer, fails like one on which f panics. f must not change what an accumulator points to. A
// must be a type that can be stored.
func WindowFold[K comparable, T, A any](s Keyed[K, T], name string, w Windows, f func(key K, acc A, v T) A,
	opts ...WindowOption) (Stream[Window[K, A]], Stream[Late[T]]) {
	set := gather(opts, WindowOption.window)
	limits := set.limits.withDefaults()
	o := add(s.b, kindWindowFold, name, dataflow.Operator, set, s.ref)
	o.require(f != nil, "its function is nil")
	o.check(w.Check())
	o.check(codec.CheckType[A]())
	o.require(w.Check() != nil || w.Overlap() <= int64(limits.Windows),
		"each record would be in %d windows, KeyLimits.Windows is %d", w.Overlap(), limits.Windows)
	o.node.State = fmt.Sprintf("window-fold %s → %s, %v", typeName[K](), typeName[A](), w)
	o.node.Forms = map[string]*StateForm{keyForm: codec.FormOf[K](), "accumulator": codec.FormOf[A]()}
	policy := o.node.Policy
	o.node.NewInstance = func(env *dataflow.Env) (dataflow.Instance, error) {
		form, err := stateForm[K, []pane[A]](limits)
		if err != nil {
			return nil, err
		}
		panes := paneCodec[A]{codec.For[A]()}
		form.AppendValue, form.DecodeValue = panes.append, panes.decode
		table := dataflow.NewTable(env.KeyGroups, env.Groups, form)
		return &windowFolder[K, T, A]{table, windowLoop[K, T, A]{
			keyedLooper: newKeyedLooper[K, T](env, policy, form.AppendKey), table: table, f: f,
			windows: w, lateness: set.lateness.Milliseconds(), limit: limits.Windows,
			clock: newGroupClock(), mark: watermark.Min}}, nil
	}
	return output[Window[K, A]](o, ""), optional[Late[T]](o, "late")
}

// LatenessOption is what AllowedLateness returns.
type LatenessOption time.Duration

// AllowedLateness keeps windows for so long, in event time, after they have
// ended. Without it their state is dropped as soon as they have.
func AllowedLateness(d time.Duration) LatenessOption { return LatenessOption(d) }

func (d LatenessOption) window(s *settings) {
	if d < 0 {
		s.wrong("AllowedLateness is %v: it cannot be negative", time.Duration(d))
	}
	s.lateness = time.Duration(d)
}
