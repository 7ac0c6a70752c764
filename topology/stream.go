package topology

import (
	"reflect"

	"github.com/troupestream/troupe/internal/dataflow"
)

// Batch is a run of records, as sources fill and sinks receive them.
type Batch[T any] = dataflow.Batch[T]

// NoTime is the event time of a record that has none.
const NoTime = dataflow.NoTime

// Stream is a handle for the records that an operator gives. It is small and
// meant to be copied; any number of operators may read it, and each of them
// sees every record.
type Stream[T any] struct{ ref }

// Keyed is a stream whose records have a key. All records of a key come to the
// same task, in the order in which each task before it sent them.
type Keyed[K comparable, T any] struct{ ref }

// ref says which output of which node of which builder a stream is.
type ref struct {
	b          *Builder
	node, port int
}

// typeName is how drawings name a type.
func typeName[T any]() string { return reflect.TypeFor[T]().String() }
