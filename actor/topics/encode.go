package topics

import (
	"fmt"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/partitioner"
	"github.com/troupestream/troupe/internal/telemetry"
	"github.com/troupestream/troupe/topology"
)

// arenaBytes is how much room for keys and values is made at once.
const arenaBytes = 64 << 10

// encoder makes records of values, and chooses their partitions.
type encoder[T any] struct {
	topic      string
	codec      Codec[T]
	key        func(T) []byte
	partitions int
	turn       int // partition of the next record without a key
	limits     codec.Limits
	arena      []byte // keys and values of the records made so far
}

func newEncoder[T any](t Topic[T], partitions, task int) encoder[T] {
	return encoder[T]{topic: t.name, codec: t.codec, key: t.key, partitions: partitions,
		turn: task % partitions, limits: codec.DefaultLimits()}
}

// reset gives back the memory of all records so far: they must not be used any more.
func (e *encoder[T]) reset() { e.arena = e.arena[:0] }

// encode makes a record of value i of the batch. traces are those of the values
// from i on; it returns what is left of them.
func (e *encoder[T]) encode(b *topology.Batch[T], i int, traces []dataflow.Trace) (partition int, r codec.Record, left []dataflow.Trace, err error) {
	r.Time = dataflow.NoTime
	if len(b.Times) > 0 {
		r.Time = b.Times[i]
	}
	if len(traces) > 0 && traces[0].Index == i {
		r.Headers = telemetry.Inject(nil, &traces[0].Context)
		traces = traces[1:]
	}
	if e.arena == nil {
		e.arena = make([]byte, 0, arenaBytes)
	}
	if err := e.fill(&r, b.Values[i]); err != nil {
		return 0, r, traces, &dataflow.RecordError{Index: i, Where: "topic " + e.topic,
			Err: fmt.Errorf("the record cannot be encoded: %w", err), Stack: dataflow.StackOf(err)}
	}
	return e.choose(r.Key), r, traces, nil
}

// fill sets key and value of a record, by code that may be the user's.
func (e *encoder[T]) fill(r *codec.Record, v T) (err error) {
	defer dataflow.Recovered(&err)
	if e.key != nil {
		if key := e.key(v); key != nil {
			r.Key = e.keep(append(e.arena, key...))
		}
	}
	grown, err := e.codec.Append(e.arena, v)
	if err != nil {
		return err
	}
	r.Value = e.keep(grown)
	return e.limits.Check(r)
}

// keep takes what was appended to the arena. It is never nil, even if empty: a
// nil value would be a tombstone.
func (e *encoder[T]) keep(grown []byte) []byte {
	n := len(e.arena)
	e.arena = grown
	return grown[n:len(grown):len(grown)]
}

func (e *encoder[T]) choose(key []byte) int {
	if key != nil {
		return partitioner.Keyed(key, e.partitions)
	}
	p := e.turn
	e.turn = (e.turn + 1) % e.partitions
	return p
}
