// Package queues holds typed exchanges and queues: programs publish values to an
// exchange, which routes them to queues, where workers share them, settle them, and see
// them again until they are done.
//
//	orders := queues.ExchangeOf[Order]("orders").Type(actor.TopicExchange).RoutedBy(func(o Order) string { return "orders." + o.Kind })
//	emails := queues.Of[Order]("emails").From(orders, "orders.#").Configure(func(c *actor.QueueConfig) {
//		c.DeadLetterRoutingKey = "dead-emails"
//	})
//
//	publisher, err := orders.NewPublisher(ctx, engine)
//	_, err = publisher.Send(ctx, order) // durable, and in the queues
//	consumer, err := emails.Consume(ctx, engine, handler, queues.Concurrency(8))
//
// An Exchange and a Queue are descriptions. They are declared when something is made of
// them that uses them, with their bindings; a configuration that differs from that of
// what exists is an actor.ErrConflict, unless the description sets none.
//
// What cannot be decoded is rejected, with ErrUndecodable: it is dead-lettered, or
// dropped and counted where there is no dead-letter exchange, and holds nobody up.
package queues
