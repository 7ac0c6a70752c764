package dataflow

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/keygroup"
	"github.com/troupestream/troupe/internal/watermark"
)

// Link is one output of a node as a connection between tasks. It knows the
// type of the records, and it is shared by all tasks at both ends, so that
// batches circulate between them.
type Link interface {
	// NewSender returns the sending end of one task. It is also the
	// Receiver that the producing operator connects to.
	NewSender(env *Env, e Edge) Sender
	// NewHead returns the receiving end of one task, with so many channels.
	NewHead(channels int) Head
	// Tap returns a Receiver of the link's type that calls f with each batch,
	// a *Batch of that type, and notes in m what has come in.
	Tap(m *Metrics, f func(batch any) error) any
	// Release takes back a batch that was received.
	Release(batch any)
	// Columns returns the columns of a batch.
	Columns(batch any) *Columns
	// Tail returns a new batch with the records of another from index from on.
	Tail(batch any, from int) any
}

// Edge carries parcels from one task to the tasks of the next chain. Send never
// drops. It may stop the task for as long as credit is missing, so it is called
// with no user code on the stack, and with state as it is between two records.
type Edge interface {
	Targets() int
	Send(target int, p Parcel)
}

// Parcel is what travels between tasks. Its parts take effect in the order of
// the fields: the records, then the watermark, then the barrier, then the end.
type Parcel struct {
	Batch     any // *Batch[T] or *KeyedBatch[K, T] of the link; nil: no records
	Records   int
	Bytes     int // in memory, estimated
	Watermark int64
	Idle      bool
	Barrier   uint64 // number of the checkpoint whose barrier this is; 0: none
	End       bool   // nothing follows on this channel
}

// Sender is the sending end of a link.
type Sender interface {
	// Flush sends what is gathered, and the newest watermark.
	Flush()
	// Barrier flushes, and sends a barrier to every target.
	Barrier(checkpoint uint64)
	// End flushes, and tells every target that nothing follows.
	End()
}

// Head is the receiving end of a link.
type Head interface {
	// Connect adds a reader.
	Connect(reader any) error
	// Deliver hands a parcel's records and watermark to the readers. The batch
	// stays the caller's to release.
	Deliver(channel int, p *Parcel) error
	// Watermark is the combined watermark of the channels.
	Watermark() (time int64, idle bool)
	// number sets the origin of the first channel; the others follow.
	number(first int)
}

// outbox is what sender variants share: where to send, and the watermark that
// each target has yet to hear of.
type outbox struct {
	edge Edge
	time int64
	idle bool
	told []mark
}

type mark struct {
	time int64
	idle bool
}

func newOutbox(e Edge) outbox {
	o := outbox{edge: e, time: watermark.Min, told: make([]mark, e.Targets())}
	for i := range o.told {
		o.told[i].time = watermark.Min
	}
	return o
}

func (o *outbox) Watermark(time int64, idle bool) error {
	o.time, o.idle = time, idle
	return nil
}

// news says whether a target has yet to hear of the watermark.
func (o *outbox) news(target int) bool { return o.told[target] != mark{o.time, o.idle} }

func (o *outbox) send(target int, p Parcel) {
	p.Watermark, p.Idle = o.time, o.idle
	o.told[target] = mark{o.time, o.idle}
	o.edge.Send(target, p)
}

func (o *outbox) all(p Parcel) {
	for t := range o.told {
		o.send(t, p)
	}
}

// sizeOf estimates what a record of type T takes in memory, without what its
// pointers lead to, except for strings and byte slices.
func sizeOf[T any](values []T) int {
	n := len(values) * int(unsafe.Sizeof(*new(T)))
	switch v := any(values).(type) {
	case []string:
		for i := range v {
			n += len(v[i])
		}
	case [][]byte:
		for i := range v {
			n += len(v[i])
		}
	}
	return n
}

// StreamLink carries a Stream[T]: each sending task keeps to one target, so
// that order is kept.
type StreamLink[T any] struct{ pool sync.Pool }

// NewStreamLink returns a link for records of type T.
func NewStreamLink[T any]() *StreamLink[T] {
	return &StreamLink[T]{pool: sync.Pool{New: func() any { return new(Batch[T]) }}}
}

// Get returns an empty batch from the link's pool.
func (l *StreamLink[T]) Get() *Batch[T] { return l.pool.Get().(*Batch[T]) }

// Release implements Link.
func (l *StreamLink[T]) Release(batch any) {
	b := batch.(*Batch[T])
	b.Reset()
	l.pool.Put(b)
}

// Columns implements Link.
func (l *StreamLink[T]) Columns(batch any) *Columns { return &batch.(*Batch[T]).Columns }

// Tail implements Link.
func (l *StreamLink[T]) Tail(batch any, from int) any {
	b, tail := batch.(*Batch[T]), l.Get()
	tail.appendTail(b, from)
	return tail
}

// NewHead implements Link.
func (l *StreamLink[T]) NewHead(channels int) Head {
	return &streamHead[T]{gate: newGate(channels)}
}

// Tap implements Link.
func (l *StreamLink[T]) Tap(m *Metrics, f func(batch any) error) any { return &tap[T]{m, f} }

// NewSender implements Link.
func (l *StreamLink[T]) NewSender(env *Env, e Edge) Sender {
	return &streamSender[T]{outbox: newOutbox(e), link: l, env: env, target: env.Task % e.Targets()}
}

type tap[T any] struct {
	metrics *Metrics
	f       func(batch any) error
}

func (t *tap[T]) Receive(b *Batch[T]) error {
	t.metrics.In.Add(int64(len(b.Values)))
	return t.f(b)
}

func (t *tap[T]) Watermark(time int64, _ bool) error {
	t.metrics.Watermark.Store(time)
	return nil
}

type streamSender[T any] struct {
	outbox
	link    *StreamLink[T]
	env     *Env
	target  int
	pending *Batch[T]
}

// Receive gathers a batch's records. It copies them: the batch is its
// producer's, who will fill it again.
func (s *streamSender[T]) Receive(b *Batch[T]) error {
	if s.pending == nil {
		s.pending = s.link.Get()
	}
	n := len(s.pending.Values)
	s.pending.Values = append(s.pending.Values, b.Values...)
	s.pending.appendColumns(&b.Columns, n, len(b.Values))
	if len(s.pending.Values) >= s.env.BatchSize {
		s.sendPending()
	}
	return nil
}

func (s *streamSender[T]) sendPending() {
	b := s.pending
	s.pending = nil
	s.send(s.target, Parcel{Batch: b, Records: len(b.Values), Bytes: sizeOf(b.Values)})
}

// Flush implements Sender. Targets that this task sends no records to hear its
// watermark all the same.
func (s *streamSender[T]) Flush() {
	if s.pending != nil {
		s.sendPending()
	}
	for t := range s.told {
		if s.news(t) {
			s.send(t, Parcel{})
		}
	}
}

func (s *streamSender[T]) Barrier(n uint64) { s.Flush(); s.all(Parcel{Barrier: n}) }
func (s *streamSender[T]) End()             { s.Flush(); s.all(Parcel{End: true}) }

// appendColumns adds n records' columns behind the first have records. A
// column that only one side has is filled up, so that columns stay as long as
// the values.
func (c *Columns) appendColumns(from *Columns, have, n int) {
	c.Times = appendColumn(c.Times, from.Times, have, n)
	c.Marks = appendColumn(c.Marks, from.Marks, have, n)
	for _, t := range from.Traces {
		c.Traces = append(c.Traces, Trace{Index: have + t.Index, Context: t.Context})
	}
}

func appendColumn(dst, src []int64, have, n int) []int64 {
	if len(dst) == 0 && len(src) == 0 {
		return dst
	}
	for len(dst) < have {
		dst = append(dst, NoTime)
	}
	if len(src) > 0 {
		return append(dst, src...)
	}
	for range n {
		dst = append(dst, NoTime)
	}
	return dst
}

// gate is what heads share: the watermarks of their channels.
type gate struct {
	channels int
	first    int // origin of channel 0
	tracker  *watermark.Tracker
}

func newGate(channels int) gate {
	return gate{channels: channels, tracker: watermark.NewTracker(channels)}
}

func (g *gate) number(first int) { g.first = first }

// clamp lowers the marks of a batch to what the other channels allow: a mark
// speaks for its own channel alone.
func (g *gate) clamp(channel int, marks []int64) {
	if g.channels == 1 || len(marks) == 0 {
		return
	}
	bound := g.tracker.Bound(channel)
	for i, m := range marks {
		marks[i] = min(m, bound)
	}
}

func (g *gate) Watermark() (int64, bool) { return g.tracker.Combined() }

type streamHead[T any] struct {
	gate
	Port[T]
}

func (h *streamHead[T]) Watermark() (int64, bool) { return h.gate.Watermark() }

func (h *streamHead[T]) Deliver(channel int, p *Parcel) error {
	if p.Batch != nil {
		b := p.Batch.(*Batch[T])
		b.Origin = h.first + channel
		h.clamp(channel, b.Marks)
		if err := h.Port.Receive(b); err != nil {
			return err
		}
	}
	time, idle, changed := h.tracker.Update(channel, p.Watermark, p.Idle)
	if !changed {
		return nil
	}
	return h.Port.Watermark(time, idle)
}

// KeyedLink carries a Keyed[K, T]: every record goes to the task that owns the
// key group of its key.
type KeyedLink[K comparable, T any] struct {
	key    func(T) K
	hash   func(K) uint64
	policy Policy
	encode func(*Batch[T], int) DeadLetter
	nan    bool // a key can be one that does not equal itself
	pool   sync.Pool
}

// errKeyNaN: no state of such a key could ever be found again.
var errKeyNaN = errors.New("the key is, or holds, a NaN, which equals no key, itself included: give such records another key, or filter them out")

// NewKeyedLink returns a link for records of type T, keyed by key. The hash
// must be stable: key groups, and with them stored state, depend on it. encode
// renders a record whose key function panicked, or gave a key that holds a NaN.
func NewKeyedLink[K comparable, T any](key func(T) K, hash func(K) uint64, p Policy,
	encode func(*Batch[T], int) DeadLetter) *KeyedLink[K, T] {
	return &KeyedLink[K, T]{key: key, hash: hash, policy: p, encode: encode, nan: codec.MayDifferFromItself[K](),
		pool: sync.Pool{New: func() any { return new(KeyedBatch[K, T]) }}}
}

// Release implements Link.
func (l *KeyedLink[K, T]) Release(batch any) {
	b := batch.(*KeyedBatch[K, T])
	b.Reset()
	l.pool.Put(b)
}

// Columns implements Link.
func (l *KeyedLink[K, T]) Columns(batch any) *Columns { return &batch.(*KeyedBatch[K, T]).Columns }

// Tail implements Link.
func (l *KeyedLink[K, T]) Tail(batch any, from int) any {
	b, tail := batch.(*KeyedBatch[K, T]), l.pool.Get().(*KeyedBatch[K, T])
	tail.appendTail(&b.Batch, from)
	tail.Keys = append(tail.Keys, b.Keys[from:]...)
	tail.Hashes = append(tail.Hashes, b.Hashes[from:]...)
	return tail
}

// NewHead implements Link.
func (l *KeyedLink[K, T]) NewHead(channels int) Head {
	return &keyedHead[K, T]{gate: newGate(channels)}
}

// Tap implements Link. It is for the un-keyed side.
func (l *KeyedLink[K, T]) Tap(m *Metrics, f func(batch any) error) any { return &tap[T]{m, f} }

// NewSender implements Link.
func (l *KeyedLink[K, T]) NewSender(env *Env, e Edge) Sender {
	s := &keyedSender[K, T]{outbox: newOutbox(e), link: l, env: env, guard: NewGuard(env, l.policy),
		pending: make([]*KeyedBatch[K, T], e.Targets()), owner: make([]uint16, env.KeyGroups)}
	for g := range s.owner {
		s.owner[g] = uint16(keygroup.Owner(g, env.KeyGroups, e.Targets()))
	}
	for t := range s.pending {
		s.pending[t] = l.pool.Get().(*KeyedBatch[K, T])
	}
	return s
}

type keyedSender[K comparable, T any] struct {
	outbox
	link    *KeyedLink[K, T]
	env     *Env
	guard   *Guard
	owner   []uint16 // by key group
	pending []*KeyedBatch[K, T]
	timed   bool // the pending records have times
	marked  bool // the pending records have marks
	in      *Batch[T]
	at      int
}

func (s *keyedSender[K, T]) Receive(b *Batch[T]) error {
	s.in = b
	s.separate(&b.Columns)
	s.env.Metrics.In.Add(int64(len(b.Values)))
	return s.guard.Each(len(b.Values), (*keyLoop[K, T])(s))
}

// Watermark implements Receiver.
func (s *keyedSender[K, T]) Watermark(time int64, idle bool) error {
	s.env.Metrics.Watermark.Store(time)
	return s.outbox.Watermark(time, idle)
}

// separate keeps records with different columns apart, as they can come from a
// merge: a column must be as long as its batch.
func (s *keyedSender[K, T]) separate(c *Columns) {
	timed, marked := len(c.Times) > 0, len(c.Marks) > 0
	if timed == s.timed && marked == s.marked {
		return
	}
	s.timed, s.marked = timed, marked
	for t, p := range s.pending {
		if len(p.Values) > 0 {
			s.sendPending(t)
		}
	}
}

// Flush implements Sender.
func (s *keyedSender[K, T]) Flush() {
	for t, p := range s.pending {
		if len(p.Values) > 0 {
			s.sendPending(t)
		} else if s.news(t) {
			s.send(t, Parcel{})
		}
	}
}

func (s *keyedSender[K, T]) Barrier(n uint64) { s.Flush(); s.all(Parcel{Barrier: n}) }
func (s *keyedSender[K, T]) End()             { s.Flush(); s.all(Parcel{End: true}) }

// keyLoop is the sender as a Loop over the user's key function.
type keyLoop[K comparable, T any] keyedSender[K, T]

// Run computes keys and sorts the records by target.
func (s *keyLoop[K, T]) Run(from int) int {
	key, hash, groups := s.link.key, s.link.hash, len(s.owner)
	values, columns := s.in.Values, &s.in.Columns
	plain := len(columns.Times) == 0 && len(columns.Marks) == 0 && len(columns.Traces) == 0
	for i := from; i < len(values); i++ {
		s.at = i
		k := key(values[i])
		if s.link.nan && k != k {
			panic(errKeyNaN)
		}
		h := hash(k)
		p := s.pending[s.owner[keygroup.Of(h, groups)]]
		if plain {
			p.Values = append(p.Values, values[i])
		} else {
			p.AppendFrom(columns, i, values[i])
		}
		p.Keys = append(p.Keys, k)
		p.Hashes = append(p.Hashes, h)
	}
	return len(values)
}

func (s *keyLoop[K, T]) At() int { return s.at }
func (s *keyLoop[K, T]) Undo()   {} // nothing is gathered before the key is known

func (s *keyLoop[K, T]) Subject(i int) Subject {
	return Subject{Value: s.in.Values[i], Origin: s.env.OriginOf(&s.in.Columns)}
}

func (s *keyLoop[K, T]) Encode(i int) DeadLetter {
	d := s.link.encode(s.in, i)
	d.Origin = s.env.OriginOf(&s.in.Columns)
	return d
}

// Flush sends what is full; Sender.Flush sends the rest.
func (s *keyLoop[K, T]) Flush() error {
	for t, p := range s.pending {
		if len(p.Values) >= s.env.BatchSize {
			(*keyedSender[K, T])(s).sendPending(t)
		}
	}
	return nil
}

func (s *keyedSender[K, T]) sendPending(t int) {
	b := s.pending[t]
	s.pending[t] = s.link.pool.Get().(*KeyedBatch[K, T])
	s.env.Metrics.Out.Add(int64(len(b.Values)))
	s.send(t, Parcel{Batch: b, Records: len(b.Values), Bytes: sizeOf(b.Values) + sizeOf(b.Keys)})
}

type keyedHead[K comparable, T any] struct {
	gate
	readers []KeyedReceiver[K, T]
}

func (h *keyedHead[K, T]) Connect(r any) error {
	k, ok := r.(KeyedReceiver[K, T])
	if !ok {
		return fmt.Errorf("internal: %T does not read %T keyed by %T", r, *new(T), *new(K))
	}
	h.readers = append(h.readers, k)
	return nil
}

func (h *keyedHead[K, T]) Deliver(channel int, p *Parcel) error {
	if p.Batch != nil {
		b := p.Batch.(*KeyedBatch[K, T])
		b.Origin = h.first + channel
		h.clamp(channel, b.Marks)
		for _, r := range h.readers {
			if err := r.ReceiveKeyed(b); err != nil {
				return err
			}
		}
	}
	time, idle, changed := h.tracker.Update(channel, p.Watermark, p.Idle)
	if !changed {
		return nil
	}
	for _, r := range h.readers {
		if err := r.Watermark(time, idle); err != nil {
			return err
		}
	}
	return nil
}
