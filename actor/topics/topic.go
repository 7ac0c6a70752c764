package topics

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/topology"
)

// Codec is how values are stored. The default, codec.For, is msgpack.
type Codec[T any] = codec.Codec[T]

// Topic describes a topic of values of type T. Its methods return changed
// copies: a Topic never changes and can be used by any number of topologies.
type Topic[T any] struct {
	name        string
	partitions  int // 0: as it was declared, or 1
	mistake     error
	durability  *actor.Durability
	compression *actor.Compression
	retention   *actor.Retention
	compaction  *actor.Compaction
	timestamps  *actor.Timestamps
	keyIndex    bool
	key         func(T) []byte
	codec       Codec[T]
	start       topology.Start
	ends        []uint64 // by partition; nil: there are none
	group       string
	hold        int
}

var _ topology.Topic[int] = Topic[int]{}

// Of describes the topic of that name: lower-case letters, digits and dashes, a
// letter first, at most 63. Names that begin with "staging-", "parked-" and "retry-"
// are taken. Values are stored as msgpack, also strings and []byte, unless AsJSON or
// StoredAs say otherwise; see Bytes and Text.
func Of[T any](name string) Topic[T] {
	return Topic[T]{name: name, codec: codec.For[T](), hold: DefaultHoldBytes}
}

// Bytes describes a topic whose values are bytes as they are: what other programs
// have written there, a line that troupe topic produce has read, a dead letter.
func Bytes(name string) Topic[[]byte] { return Of[[]byte](name).StoredAs(codec.Raw()) }

// Text is Bytes for strings.
func Text(name string) Topic[string] { return Of[string](name).StoredAs(codec.String()) }

// Partitions sets the number of partitions. Without it, an existing topic keeps
// the number that it has, and a new one has 1.
func (t Topic[T]) Partitions(n int) Topic[T] {
	t.partitions, t.mistake = n, nil
	if n < 1 {
		t.mistake = fmt.Errorf("topic %s: %d partitions: there must be 1 to %d", t.name, n, actor.PartitionsMax)
	}
	return t
}

// Durability sets what an acknowledged record survives. Without it, an existing
// topic keeps what it has, and a new one has actor.Fsync.
func (t Topic[T]) Durability(d actor.Durability) Topic[T] {
	t.durability = &d
	return t
}

// Compression sets how batches are compressed. Without it, an existing topic
// keeps what it has, and a new one has actor.Uncompressed.
func (t Topic[T]) Compression(c actor.Compression) Topic[T] {
	t.compression = &c
	return t
}

// Retention sets what the topic keeps. Without it, an existing topic keeps what it
// did, and a new one keeps records for actor.DefaultRetention.
func (t Topic[T]) Retention(r actor.Retention) Topic[T] {
	t.retention = &r
	return t
}

// Compaction has the topic keep the newest record of each key, for ever unless Retention
// is set, too. Without it, an existing topic keeps what it did, and a new one compacts
// nothing. The zero value says that it is not compacted.
func (t Topic[T]) Compaction(c actor.Compaction) Topic[T] {
	t.compaction = &c
	return t
}

// Timestamps sets which time records have. Without it, an existing topic keeps what it
// has, and a new one has actor.CreateTime.
func (t Topic[T]) Timestamps(s actor.Timestamps) Topic[T] {
	t.timestamps = &s
	return t
}

// KeyIndex has the topic know the newest record of each key, which Producer.SendIf
// needs: see actor.TopicConfig. It is for life. Without it, an existing topic keeps what
// it has, and a new one has none.
func (t Topic[T]) KeyIndex() Topic[T] {
	t.keyIndex = true
	return t
}

// KeyedBy gives records a key, which chooses their partition: those with the
// same key keep their order. A nil key is none.
func (t Topic[T]) KeyedBy(key func(T) []byte) Topic[T] {
	t.key = key
	return t
}

// StoredAs sets how values are stored.
func (t Topic[T]) StoredAs(c Codec[T]) Topic[T] {
	t.codec = c
	return t
}

// AsJSON stores values as JSON, for readers that are not written in Go.
func (t Topic[T]) AsJSON() Topic[T] { return t.StoredAs(codec.JSON[T]()) }

// StartingAt sets where a job begins to read when it has no position yet, and no
// group that has one (InGroup). The default is the oldest record there is.
func (t Topic[T]) StartingAt(s topology.Start) Topic[T] {
	t.start = s
	return t
}

// EndingAt has a job that reads the topic come to an end: in each partition in front of an
// offset, which may have yet to come; at once in those that none is given for. It is for
// who knows how much there will be. See also runtime.UntilEnd.
func (t Topic[T]) EndingAt(offsets ...uint64) Topic[T] {
	t.ends = append([]uint64{}, offsets...)
	return t
}

// HoldBytes sets how much each writer of a job with exactly-once state keeps in
// memory until the next checkpoint, at most 2 MiB. The default is
// DefaultHoldBytes. What exceeds it waits on disk.
func (t Topic[T]) HoldBytes(n int) Topic[T] {
	t.hold = n
	return t
}

// TopicName returns the name of the topic.
func (t Topic[T]) TopicName() string { return t.name }

// Source returns the topic as a source.
func (t Topic[T]) Source() topology.Source[T] {
	if t.group != "" {
		return reporter[T]{source[T]{t}}
	}
	return source[T]{t}
}

// Sink returns the topic as a sink.
func (t Topic[T]) Sink() topology.Sink[T] { return sink[T]{t} }

// ErrNoEngine: a topic was used where there is none.
var ErrNoEngine = errors.New("a topic needs an engine, and there is none here: run the topology with runtime.Run or an Engine, or give it a slice in a test")

func (t Topic[T]) system(ctx context.Context) (*actor.System, error) {
	sys, ok := actor.SystemFrom(ctx)
	if !ok {
		return nil, fmt.Errorf("topic %s: %w", t.name, ErrNoEngine)
	}
	return sys, nil
}

// openWith opens the topic for a handle.
func (t Topic[T]) openWith(ctx context.Context, e Engine) (*actor.Topic, error) {
	if e == nil {
		return nil, t.noEngine()
	}
	return t.open(actor.WithSystem(ctx, e.System()))
}

func (t Topic[T]) noEngine() error {
	return fmt.Errorf("topic %s: the engine is nil: look at the error of runtime.Open", t.name)
}

// open declares the topic, with what it has already where nothing else was asked for.
func (t Topic[T]) open(ctx context.Context) (*actor.Topic, error) {
	if err := errors.Join(actor.CheckName(t.name), t.mistake); err != nil {
		return nil, err
	}
	sys, err := t.system(ctx)
	if err != nil {
		return nil, err
	}
	config := actor.TopicConfig{}
	existing, err := sys.Topic(ctx, t.name)
	switch {
	case err == nil:
		config = existing.Config()
	case !errors.Is(err, actor.ErrNoTopic):
		return nil, err
	}
	if t.partitions != 0 {
		config.Partitions = t.partitions
	}
	if t.durability != nil {
		config.Durability = *t.durability
	}
	if t.compression != nil {
		config.Compression = *t.compression
	}
	if t.retention != nil {
		config.Retention = *t.retention
	}
	if t.compaction != nil {
		config.Compaction = *t.compaction
	}
	if t.timestamps != nil {
		config.Timestamps = *t.timestamps
	}
	config.KeyIndex = config.KeyIndex || t.keyIndex
	return sys.Declare(ctx, t.name, config)
}
