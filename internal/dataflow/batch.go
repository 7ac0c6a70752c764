// Package dataflow is the kernel of the engine: the typed batches that records
// travel in, the operators' contracts, and the tasks that run chains of
// operators. It is free of I/O, goroutines and clocks: an actor feeds a task
// and carries away what it sends, and so does the test driver.
//
// Types are erased once per batch, never per record. Inside a chain, operators
// call each other directly with *Batch[T]; only where a batch leaves its chain
// does it become an `any`, together with the link that knows its type.
package dataflow

import "math"

// NoTime is the event time of a record that has none.
const NoTime int64 = math.MinInt64

// Columns are what a batch knows about its records besides their values. A
// column is nil when it holds nothing, and as long as the values otherwise.
type Columns struct {
	// Times are event times in Unix milliseconds.
	Times []int64
	// Marks are the watermarks that held just before each record: those that
	// the records in front of it, in its own split, gave rise to. Because every
	// record carries its mark, whether it is late depends on the data alone
	// and not on how records happened to be batched.
	Marks []int64
	// Traces belong to the sampled records, sorted by index; usually empty.
	Traces []Trace
	// Origin says which split or channel of its task the batch came in by.
	Origin int
}

// Trace is the trace context of one record of a batch.
type Trace struct {
	Index   int
	Context TraceContext
}

// TraceContext is a W3C trace context.
type TraceContext struct {
	TraceID [16]byte
	SpanID  [8]byte
	Flags   byte
	State   string
}

// Batch is a run of records of one type. Whoever receives a batch may read it
// until the call returns and must neither change nor keep it.
type Batch[T any] struct {
	Columns
	Values []T
}

// Len is the number of records.
func (b *Batch[T]) Len() int { return len(b.Values) }

// Time returns the event time of record i, or NoTime.
func (b *Batch[T]) Time(i int) int64 {
	if len(b.Times) == 0 {
		return NoTime
	}
	return b.Times[i]
}

// Mark returns the watermark before record i; the lowest time when there is none.
func (b *Batch[T]) Mark(i int) int64 {
	if len(b.Marks) == 0 {
		return math.MinInt64
	}
	return b.Marks[i]
}

// Reset empties the batch and keeps its memory. Values are cleared, so that a
// pooled batch keeps nothing alive.
func (b *Batch[T]) Reset() {
	clear(b.Values)
	b.Values = b.Values[:0]
	b.Columns.reset()
}

func (c *Columns) reset() {
	c.Times, c.Marks, c.Traces, c.Origin = c.Times[:0], c.Marks[:0], c.Traces[:0], 0
}

// AppendFrom adds value v with the columns of record i of the batch described
// by c: for operators that keep some records, or make several out of one.
func (b *Batch[T]) AppendFrom(c *Columns, i int, v T) {
	if len(c.Traces) > 0 {
		b.appendTrace(c, i)
	}
	b.Values = append(b.Values, v)
	if len(c.Times) > 0 {
		b.Times = append(b.Times, c.Times[i])
	}
	if len(c.Marks) > 0 {
		b.Marks = append(b.Marks, c.Marks[i])
	}
}

// Letter describes record i for a dead letter. Where it came from and who failed
// on it is added by those who know.
func (c *Columns) Letter(i int, value []byte) DeadLetter {
	d := DeadLetter{Value: value, Time: NoTime}
	if i < len(c.Times) {
		d.Time = c.Times[i]
	}
	for _, t := range c.Traces {
		if t.Index == i {
			d.Trace = &t.Context
		}
	}
	return d
}

// Slice returns the columns of records first to end-1. It shares memory with
// c, and is to be read only.
func (c *Columns) Slice(first, end int) Columns {
	s := Columns{Origin: c.Origin}
	if len(c.Times) > 0 {
		s.Times = c.Times[first:end:end]
	}
	if len(c.Marks) > 0 {
		s.Marks = c.Marks[first:end:end]
	}
	for _, t := range c.Traces {
		if t.Index >= first && t.Index < end {
			s.Traces = append(s.Traces, Trace{Index: t.Index - first, Context: t.Context})
		}
	}
	return s
}

// Gather sets the columns to those of the records of from that rows names, in
// that order. Rows ascend and may repeat.
func (c *Columns) Gather(from *Columns, rows []int32) {
	c.reset()
	c.Origin = from.Origin
	c.Times = gather(c.Times, from.Times, rows)
	c.Marks = gather(c.Marks, from.Marks, rows)
	if len(from.Traces) == 0 {
		return
	}
	next := 0
	for i, row := range rows {
		for next < len(from.Traces) && from.Traces[next].Index < int(row) {
			next++
		}
		if next < len(from.Traces) && from.Traces[next].Index == int(row) {
			c.Traces = append(c.Traces, Trace{Index: i, Context: from.Traces[next].Context})
		}
	}
}

func gather(dst, src []int64, rows []int32) []int64 {
	if len(src) == 0 {
		return dst
	}
	for _, row := range rows {
		dst = append(dst, src[row])
	}
	return dst
}

// Append adds a value with a time and a mark of its own.
func (b *Batch[T]) Append(v T, time, mark int64) {
	b.Values = append(b.Values, v)
	b.Times = append(b.Times, time)
	b.Marks = append(b.Marks, mark)
}

func (b *Batch[T]) appendTrace(c *Columns, i int) {
	for _, t := range c.Traces {
		if t.Index == i {
			b.Traces = append(b.Traces, Trace{Index: len(b.Values), Context: t.Context})
		}
	}
}

// Truncate drops the records from n on.
func (b *Batch[T]) Truncate(n int) {
	clear(b.Values[n:])
	b.Values = b.Values[:n]
	b.Times = b.Times[:min(n, len(b.Times))]
	b.Marks = b.Marks[:min(n, len(b.Marks))]
	for len(b.Traces) > 0 && b.Traces[len(b.Traces)-1].Index >= n {
		b.Traces = b.Traces[:len(b.Traces)-1]
	}
}

// KeyedBatch is a batch whose records were given a key by a KeyBy.
type KeyedBatch[K comparable, T any] struct {
	Batch[T]
	Keys   []K
	Hashes []uint64 // codec.Hasher of the key; chooses the key group
}

// Reset empties the batch and keeps its memory.
func (b *KeyedBatch[K, T]) Reset() {
	b.Batch.Reset()
	clear(b.Keys)
	b.Keys, b.Hashes = b.Keys[:0], b.Hashes[:0]
}

// appendTail adds the records of another batch from index from on.
func (b *Batch[T]) appendTail(o *Batch[T], from int) {
	b.Origin = o.Origin
	for i := from; i < len(o.Values); i++ {
		b.AppendFrom(&o.Columns, i, o.Values[i])
	}
}
