package dataflow

import "github.com/troupestream/troupe/internal/codec"

// Role says what part a node plays in a graph.
type Role uint8

// The roles of nodes.
const (
	Operator Role = iota // takes streams, gives streams
	Source               // records come in
	Exchange             // KeyBy: the stream is split by key group and changes tasks
	Sink                 // records go out
)

// Node is one operator of a graph: immutable, and free of types, which its
// constructors remember.
type Node struct {
	ID          int
	Name        string // unique in its graph
	Kind        string // "map", "window-fold", …
	Role        Role
	Inputs      []Input // in the order of the operator's arguments
	Outputs     []Output
	Parallelism int    // tasks wanted; 0: the job's default
	Alone       bool   // begins a task of its own even where it could be fused
	State       string // schema of the keyed state, in the words of the program; "" when stateless
	// Forms describe what the types of the keyed state store, by part. State of
	// an equal schema can be restored where those of its parts go into each other.
	Forms   map[string]*codec.Form
	Bounded bool   // a batch gives rise to no more than it holds, and nothing else does either
	Policy  Policy // what becomes of a record that cannot be handled; for sources and sinks, whoever runs them acts on it
	Topic   string // the topic between the two halves of a Through, in both of them; "" otherwise

	// Exactly one of these is set, by Role; an Exchange has none: its output's
	// link does the work.
	NewInstance func(env *Env) (Instance, error)
	Source      SourceDriver
	Sink        SinkDriver
}

// Input names the output that an input reads.
type Input struct{ Node, Port int }

// Output is one output of a node.
type Output struct {
	Name string // "" for the main one
	Type string // the Go type of its records, for drawings
	Link Link   // how batches of this output travel between tasks
	// Optional: nobody needs to read it. Of late records, say, which are
	// counted in any case.
	Optional bool
}

// Instance is an operator at work in one task.
type Instance interface {
	// Input returns what takes the batches of an input: a Receiver of the
	// input's type, or a KeyedReceiver.
	Input(i int) any
	// Connect adds a reader to an output.
	Connect(port int, reader any) error
}

// Stateful is an Instance with keyed state.
//
// A snapshot begins with Freeze, which must be quick: whatever changed since
// the last Freeze now belongs to the snapshot, as it is at this moment.
// Processing then goes on, and Encode is called between batches until it
// reports that nothing is left. An entry that a record is about to change
// before Encode has reached it is encoded first. No lock and no copy of the
// state is needed, since all of it happens on the task's own goroutine.
//
// Segments hold changes only, and a change is handed out once: so a segment
// that was handed out is part of every later checkpoint, whether or not the one
// that it was made for was completed. Where a snapshot was not encoded to its
// end, the next Freeze takes over what is missing of it, as it then is. Whoever
// drops a segment must restore the task from the last complete checkpoint.
type Stateful interface {
	Freeze()
	// Encode hands out frozen changes, as segments of one key group each, until
	// it has handed out budget bytes or more, or nothing is left. A segment is
	// good until emit returns.
	Encode(budget int, emit func(group int, segment []byte)) (more bool, err error)
	// Restore takes what was written of a group, once and before anything else:
	// of each key the newest entry, in the order in which they were written. It
	// must copy what it keeps of their bytes.
	Restore(group int, entries []Entry) error
	// Restored is called once, after the last group.
	Restored() error
}

// Positioned is an Instance with state that belongs to origins (splits or
// channels) rather than to keys.
type Positioned interface {
	// SavePositions returns the state of each origin that has any, by the
	// origin's id (Env.Origins).
	SavePositions() map[string][]byte
	// RestorePositions takes what all tasks of the operator saved; entries of
	// origins that are not of this task are to be ignored, or merged if that
	// is safe.
	RestorePositions(map[string][]byte) error
}

// Ticker is an Instance that acts on processing time. It is not called while its
// task waits for credit: what it gives has to fit behind what waits, and time in
// which no record could have come is not time in which none came.
type Ticker interface {
	// Tick acts on whatever is due at now, in Unix milliseconds.
	Tick(now int64) error
	// NextTick returns when Tick should be called next, in Unix milliseconds;
	// false when there is nothing to wait for.
	NextTick() (int64, bool)
}

// OriginEnder is an Instance that keeps something for every origin, and wants
// to hear when one of them has ended while others go on.
type OriginEnder interface {
	EndOrigin(origin int) error
}
