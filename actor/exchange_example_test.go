package actor_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// A message is published to an exchange, which leads to two queues. It is stored once, and
// confirmed when it is on the disk.
func ExampleExchange_NewPublisher() {
	ctx := context.Background()
	system := actor.NewSystem(storagefake.New())
	defer system.Close(ctx)

	orders, err := system.DeclareExchange(ctx, "orders", actor.ExchangeConfig{Type: actor.TopicExchange})
	if err != nil {
		fmt.Println(err)
		return
	}
	for queue, pattern := range map[string]string{"fulfilment": "order.created", "audit": "order.#"} {
		if _, err := system.DeclareQueue(ctx, queue, actor.QueueConfig{}); err != nil {
			fmt.Println(err)
			return
		}
		if err := system.Bind(ctx, actor.Binding{Exchange: "orders", Queue: queue, RoutingKey: pattern}); err != nil {
			fmt.Println(err)
			return
		}
	}
	publisher, err := orders.NewPublisher(ctx, actor.ExchangePublisherOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer publisher.Close(ctx)

	for _, key := range []string{"order.created", "order.paid", "refund"} {
		confirmed, err := publisher.PublishSync(ctx, &actor.Message{RoutingKey: key, Body: []byte(`{"order_id": "ord_123"}`)})
		if errors.Is(err, actor.ErrUnroutable) {
			fmt.Println(key, "is for nobody")
			continue
		}
		fmt.Println(key, "is in", confirmed.Queues, "queues", err)
	}
	// Output:
	// order.created is in 2 queues <nil>
	// order.paid is in 1 queues <nil>
	// refund is for nobody
}
