package queues

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
)

// Codec is how values are stored. The default, codec.For, is msgpack.
type Codec[T any] = codec.Codec[T]

// Engine is where queues live: a runtime.Engine.
type Engine interface{ System() *actor.System }

// Queue describes a queue of values of type T. Its methods return changed copies: a Queue
// never changes and can be used any number of times.
type Queue[T any] struct {
	name     string
	config   *actor.QueueConfig // nil: as it was declared, or the defaults
	codec    Codec[T]
	bindings []binding
	topics   []topicBinding
}

// binding leads to a queue, from an exchange that is declared before.
type binding struct {
	actor.Binding
	codec   string // of the exchange
	declare func(context.Context, *actor.System) error
}

type topicBinding struct {
	topic string
	from  actor.From
}

// Of describes the queue of that name, which has 1 to 255 bytes; those that begin with
// "amq." are Troupe's own. Values are stored as msgpack, also strings and []byte, unless
// AsJSON or StoredAs say otherwise; see Bytes and Text.
func Of[T any](name string) Queue[T] { return Queue[T]{name: name, codec: codec.For[T]()} }

// Bytes describes a queue whose values are bytes as they are.
func Bytes(name string) Queue[[]byte] { return Of[[]byte](name).StoredAs(codec.Raw()) }

// Text is Bytes for strings.
func Text(name string) Queue[string] { return Of[string](name).StoredAs(codec.String()) }

// Configure sets what the queue is declared with. Without it, an existing queue keeps
// what it has.
func (q Queue[T]) Configure(f func(*actor.QueueConfig)) Queue[T] {
	config := actor.QueueConfig{}
	if q.config != nil {
		config = *q.config
	}
	f(&config)
	q.config = &config
	return q
}

// StoredAs sets how values are stored.
func (q Queue[T]) StoredAs(c Codec[T]) Queue[T] {
	q.codec = c
	return q
}

// AsJSON stores values as JSON, for programs that are not written in Go.
func (q Queue[T]) AsJSON() Queue[T] { return q.StoredAs(codec.JSON[T]()) }

// From binds the queue to an exchange of the same values, which is declared if need be, and
// must store them in the same way: or else to declare the queue is an actor.ErrInvalid.
// What the key means depends on the type of the exchange. It may be called repeatedly.
func (q Queue[T]) From(x Exchange[T], key string, args ...actor.MessageHeader) Queue[T] {
	b := binding{actor.Binding{Exchange: x.name, Queue: q.name, RoutingKey: key, Args: args}, x.codec.Name(), x.declare}
	q.bindings = append(slices.Clip(q.bindings), b)
	return q
}

// FromTopic makes every record of a topic, from a place on, a message of the queue. The
// topic must exist. How its values are stored is how those of the queue must be.
func (q Queue[T]) FromTopic(topic string, from actor.From) Queue[T] {
	q.topics = append(slices.Clip(q.topics), topicBinding{topic, from})
	return q
}

// QueueName returns the name of the queue.
func (q Queue[T]) QueueName() string { return q.name }

// Declare declares the queue and its bindings, and returns the handle with which it is
// administered. There is no need to call it before the queue is used, but a message is
// only for the queues that are bound when it is published.
func (q Queue[T]) Declare(ctx context.Context, e Engine) (*actor.Queue, error) {
	if e == nil {
		return nil, fmt.Errorf("queue %s: the engine is nil: look at the error of runtime.Open", q.name)
	}
	if err := q.checkCodecs(); err != nil {
		return nil, err
	}
	sys := e.System()
	handle, err := q.declare(ctx, sys)
	if err != nil {
		return nil, err
	}
	for _, b := range q.bindings {
		if err := b.declare(ctx, sys); err != nil {
			return nil, err
		}
		if err := sys.Bind(ctx, b.Binding); err != nil {
			return nil, err
		}
	}
	for _, t := range q.topics {
		if err := sys.BindTopic(ctx, t.topic, q.name, t.from); err != nil {
			return nil, err
		}
	}
	return handle, nil
}

// checkCodecs says which exchanges store values in a way that the queue does not read.
func (q *Queue[T]) checkCodecs() (err error) {
	for _, b := range q.bindings {
		if reads := q.codec.Name(); b.codec != reads {
			err = errors.Join(err, fmt.Errorf("%w: queue %s reads values as %s, and exchange %q stores them as %s: give both the same, with AsJSON or StoredAs",
				actor.ErrInvalid, q.name, reads, b.Exchange, b.codec))
		}
	}
	return err
}

func (q Queue[T]) declare(ctx context.Context, sys *actor.System) (*actor.Queue, error) {
	if q.config != nil {
		return sys.DeclareQueue(ctx, q.name, *q.config)
	}
	handle, err := sys.Queue(ctx, q.name)
	if errors.Is(err, actor.ErrNoQueue) {
		return sys.DeclareQueue(ctx, q.name, actor.QueueConfig{})
	}
	return handle, err
}
