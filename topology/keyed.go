package topology

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/keygroup"
	"github.com/troupestream/troupe/internal/watermark"
)

// ErrStateLimit: a limit of KeyLimits is exceeded; the message names it.
var ErrStateLimit = dataflow.ErrStateLimit

// KeyLimits bound what an operator keeps for one key, so that one key cannot
// take down the job. It is an option of Fold, WindowFold and Process; a limit
// that is 0 is the default. What exceeds a limit fails like user code that
// panics, except for Bytes, which is only known when state is stored, and then
// fails the job.
type KeyLimits struct {
	Bytes    int // of the key's state when stored; default 4 MiB, at most 64 MiB
	KeyBytes int // of the key itself; default 64 KiB, at most 64 MiB
	Windows  int // open windows; default 10,000
	Timers   int // timers; default 10,000
	Entries  int // entries of a list or map; default 100,000
}

func (l KeyLimits) apply(s *settings) {
	negative := min(l.Bytes, l.KeyBytes, l.Windows, l.Timers, l.Entries) < 0
	if negative || max(l.Bytes, l.KeyBytes) > dataflow.MaxSegmentEntry {
		s.wrong("%+v: limits cannot be negative, and Bytes and KeyBytes are at most %d", l, dataflow.MaxSegmentEntry)
	}
	s.limits = l
}

func (l KeyLimits) fold(s *settings)    { l.apply(s) }
func (l KeyLimits) window(s *settings)  { l.apply(s) }
func (l KeyLimits) process(s *settings) { l.apply(s) }

func (l KeyLimits) withDefaults() KeyLimits {
	for _, d := range []struct {
		limit *int
		value int
	}{{&l.Bytes, 4 << 20}, {&l.KeyBytes, 64 << 10}, {&l.Windows, 10_000}, {&l.Timers, 10_000}, {&l.Entries, 100_000}} {
		if *d.limit == 0 {
			*d.limit = d.value
		}
	}
	return l
}

// overLimit describes that a key has more of something than it may.
func overLimit[K any](key K, limit int, name, what string) error {
	return fmt.Errorf("%w: key %s has more than %d %s: raise KeyLimits.%s, or keep less", ErrStateLimit, dataflow.KeyText(key), limit, what, name)
}

// stateForm is how a table writes keys of type K. Values are for the caller to
// add.
func stateForm[K comparable, V any](limits KeyLimits) (f dataflow.Form[K, V], err error) {
	keys, err := codec.KeyCodec[K]()
	if err != nil {
		return f, err
	}
	f.Hash, err = codec.Hasher[K]()
	f.AppendKey, f.DecodeKey, f.Own = keys.Append, keys.Decode, ownKey(keys, limits.KeyBytes)
	f.MaxBytes = limits.Bytes
	return f, err
}

// ownKey returns what copies a key out of the buffer it was cut from, unless it
// is longer than the limit. A key is looked at once, when its state begins.
func ownKey[K comparable](keys codec.Codec[K], limit int) func(K) (K, error) {
	text := func(k string) (string, error) {
		if len(k) > limit {
			return "", keyTooLong(k, len(k), limit)
		}
		return strings.Clone(k), nil
	}
	if f, ok := any(text).(func(K) (K, error)); ok {
		return f
	}
	if k := reflect.TypeFor[K]().Kind(); k != reflect.String && k != reflect.Struct && k != reflect.Array {
		return nil
	}
	return func(k K) (K, error) {
		b, err := keys.Append(nil, k)
		if err != nil {
			return k, nil // to be reported when it is stored
		}
		if len(b) > limit {
			return k, keyTooLong(k, len(b), limit)
		}
		if own, err := keys.Decode(b); err == nil && own == k {
			return own, nil
		}
		return k, nil
	}
}

func keyTooLong(key any, bytes, limit int) error {
	return fmt.Errorf("%w: the key %s takes %d bytes, the limit KeyLimits.KeyBytes is %d", ErrStateLimit, dataflow.KeyText(key), bytes, limit)
}

// keyedLooper is looper for operators that read a keyed stream.
type keyedLooper[K comparable, T any] struct {
	env    *dataflow.Env
	guard  *dataflow.Guard
	encode func(T) []byte
	key    func([]byte, K) ([]byte, error)
	in     *dataflow.KeyedBatch[K, T]
	at     int // record of in that Run is at
}

func newKeyedLooper[K comparable, T any](env *dataflow.Env, p dataflow.Policy,
	key func([]byte, K) ([]byte, error)) keyedLooper[K, T] {
	return keyedLooper[K, T]{env: env, guard: dataflow.NewGuard(env, p), encode: encoder[T](), key: key}
}

// each runs the loop, which the looper is part of, over a batch.
func (l *keyedLooper[K, T]) each(in *dataflow.KeyedBatch[K, T], loop dataflow.Loop) error {
	l.env.Metrics.In.Add(int64(len(in.Values)))
	l.in = in
	err := l.guard.Each(len(in.Values), loop)
	l.in = nil
	return err
}

// At implements dataflow.Loop.
func (l *keyedLooper[K, T]) At() int { return l.at }

// Subject implements dataflow.Loop.
func (l *keyedLooper[K, T]) Subject(i int) dataflow.Subject {
	return dataflow.Subject{Value: l.in.Values[i], Key: l.in.Keys[i], Origin: l.env.OriginOf(&l.in.Columns)}
}

// Encode implements dataflow.Loop.
func (l *keyedLooper[K, T]) Encode(i int) dataflow.DeadLetter {
	d := l.in.Columns.Letter(i, l.encode(l.in.Values[i]))
	d.Key, _ = l.key(nil, l.in.Keys[i])
	d.Origin = l.env.OriginOf(&l.in.Columns)
	return d
}

// groupClock is the event time of a keyed operator. Tasks agree on it, but for
// a moment after a restore: the groups of a task may come from tasks that were
// not equally far, and a window that has fired must not open again because
// another group lags behind. So each group keeps its own time until the task
// has caught up.
type groupClock struct {
	now    int64
	last   int64 // before the end of the input
	first  int   // group of floors[0]
	floors []int64
}

func newGroupClock() groupClock { return groupClock{now: watermark.Min, last: watermark.Min} }

// of is the event time of a group.
func (c *groupClock) of(group int) int64 {
	if c.floors == nil {
		return c.now
	}
	return max(c.now, c.floors[group-c.first])
}

// advance moves the clock. It never moves back.
func (c *groupClock) advance(to int64) {
	if to <= c.now {
		return
	}
	c.now = to
	if to != watermark.Max {
		c.last = to
	}
	if c.floors != nil && slices.Max(c.floors) <= to {
		c.floors = nil // all groups have been there: their own times make no difference
	}
}

// save returns the time of every run of groups, by "first-end". The end of the
// input is not saved: a job that goes on with more input must not take all of
// it for late.
func (c *groupClock) save(groups keygroup.Range) map[string][]byte {
	saved := map[string][]byte{}
	at := groupClock{now: c.last, first: c.first, floors: c.floors}
	for g := groups.First; g < groups.End; {
		end := g + 1
		for end < groups.End && at.of(end) == at.of(g) {
			end++
		}
		if t := at.of(g); t != watermark.Min {
			saved[fmt.Sprintf("%d-%d", g, end)] = appendVarints(nil, t)
		}
		g = end
	}
	return saved
}

// restore takes the times of a task's groups out of what all tasks saved.
func (c *groupClock) restore(groups keygroup.Range, saved map[string][]byte) error {
	if groups.Len() == 0 {
		return nil
	}
	c.first, c.floors = groups.First, make([]int64, groups.Len())
	for i := range c.floors {
		c.floors[i] = watermark.Min
	}
	for name, b := range saved {
		var first, end int
		if _, err := fmt.Sscanf(name, "%d-%d", &first, &end); err != nil {
			return fmt.Errorf("event time of groups %q: %w", name, errCorruptState)
		}
		v, err := readVarints(b, 1, 1)
		if err != nil {
			return fmt.Errorf("event time of groups %q: %w", name, err)
		}
		for g := max(first, groups.First); g < min(end, groups.End); g++ {
			c.floors[g-groups.First] = v[0]
		}
	}
	c.advance(slices.Min(c.floors))
	return nil
}
