package queues

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
)

// Exchange describes an exchange to which values of type T are published. Its methods
// return changed copies: an Exchange never changes and can be used any number of times.
type Exchange[T any] struct {
	name   string
	config *actor.ExchangeConfig // nil: as it was declared, or the defaults
	codec  Codec[T]
	route  func(T) string
	key    func(T) []byte
	id     func(T) string
}

// ExchangeOf describes the exchange of that name; "" is the default exchange, which
// reaches every queue by its name as the routing key. Values are stored as msgpack,
// unless AsJSON or StoredAs say otherwise, as those of the queues must be.
func ExchangeOf[T any](name string) Exchange[T] {
	return Exchange[T]{name: name, codec: codec.For[T]()}
}

// Type sets the type of the exchange. Without it, an existing exchange keeps its own, and
// a new one is actor.Direct.
func (x Exchange[T]) Type(t actor.ExchangeType) Exchange[T] {
	return x.Configure(func(c *actor.ExchangeConfig) { c.Type = t })
}

// Configure sets what the exchange is declared with. Without it, an existing exchange
// keeps what it has.
func (x Exchange[T]) Configure(f func(*actor.ExchangeConfig)) Exchange[T] {
	config := actor.ExchangeConfig{}
	if x.config != nil {
		config = *x.config
	}
	f(&config)
	x.config = &config
	return x
}

// StoredAs sets how values are stored.
func (x Exchange[T]) StoredAs(c Codec[T]) Exchange[T] {
	x.codec = c
	return x
}

// AsJSON stores values as JSON, for programs that are not written in Go.
func (x Exchange[T]) AsJSON() Exchange[T] { return x.StoredAs(codec.JSON[T]()) }

// RoutedBy gives messages their routing key.
func (x Exchange[T]) RoutedBy(route func(T) string) Exchange[T] {
	x.route = route
	return x
}

// KeyedBy gives messages the key of their record: what keeps its order where the exchange
// has several partitions, and the group of a queue that has actor.QueueConfig.GroupBy
// "key". A nil key is none.
func (x Exchange[T]) KeyedBy(key func(T) []byte) Exchange[T] {
	x.key = key
	return x
}

// IdentifiedBy gives messages their MessageID: what an exchange with Dedup knows them by, and
// what work that is to be done once can be known by (see package once).
func (x Exchange[T]) IdentifiedBy(id func(T) string) Exchange[T] {
	x.id = id
	return x
}

// ExchangeName returns the name of the exchange.
func (x Exchange[T]) ExchangeName() string { return x.name }

// Declare declares the exchange, and returns the handle with which it is administered.
// There is no need to call it before the exchange is used.
func (x Exchange[T]) Declare(ctx context.Context, e Engine) (*actor.Exchange, error) {
	if e == nil {
		return nil, fmt.Errorf("exchange %q: the engine is nil: look at the error of runtime.Open", x.name)
	}
	if err := x.declare(ctx, e.System()); err != nil {
		return nil, err
	}
	return e.System().Exchange(ctx, x.name)
}

func (x Exchange[T]) declare(ctx context.Context, sys *actor.System) error {
	if x.config == nil {
		if _, err := sys.Exchange(ctx, x.name); !errors.Is(err, actor.ErrNoExchange) {
			return err
		}
		_, err := sys.DeclareExchange(ctx, x.name, actor.ExchangeConfig{})
		return err
	}
	_, err := sys.DeclareExchange(ctx, x.name, *x.config)
	return err
}
