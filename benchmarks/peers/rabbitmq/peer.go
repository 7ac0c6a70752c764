package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// peer is a system under test: durable queues, in this process or in one of its own.
type peer interface {
	name() string
	// speed is roughly how many times as many messages as RabbitMQ it takes in a second:
	// rows of throughput are given as many, so that they take seconds with each.
	speed() int
	// idle is how many queues it is given in the cell of many queues, at scale 1.
	idle() int
	// declare makes an empty durable queue. With bindings, the queue is bound by these
	// patterns to a topic exchange of its own: exchangeOf(queue).
	declare(ctx context.Context, queue string, bindings []string) error
	// remove deletes queues with all that declare made.
	remove(ctx context.Context, queues ...string) error
	// clear deletes what a peer keeps of queues that were removed.
	clear(ctx context.Context) error
	// publisher returns a publisher to an exchange, which waits while window messages are
	// unconfirmed. The exchange "" reaches a queue by its name.
	publisher(ctx context.Context, exchange string, window int) (publisher, error)
	// consume hands messages to a handler and acknowledges them after it, until o.until
	// is closed; it returns when all that was handled is acknowledged.
	consume(ctx context.Context, o consuming) error
	// left is how many messages are in a queue when all who consumed it have gone.
	left(ctx context.Context, queue string) (int, error)
	// processor is what the peer's own processes have used of the processor.
	processor() time.Duration
	// resident is the memory, in bytes, of the process that the queues live in.
	resident() int64
	close()
}

// publisher publishes persistent messages without waiting for each.
type publisher interface {
	// publish takes the body over and calls done once the message is confirmed.
	publish(ctx context.Context, key string, body []byte, done func(error)) error
	// flush waits until all are confirmed.
	flush(ctx context.Context) error
	close()
}

func exchangeOf(queue string) string { return queue + "-exchange" }

type consuming struct {
	queue    string
	prefetch int // messages that are handed over and not yet acknowledged
	ackEvery int // how many one acknowledgement is for
	until    <-chan struct{}
	handle   func(body []byte)
}

// place is where a peer finds its program, and keeps its data.
type place struct {
	dir  string
	root string
}

var peerNames = []string{"troupe", "troupe-no-sync", "rabbitmq-classic", "rabbitmq-quorum"}

// openAll opens peers; closeAll closes those that were opened, also after an error.
// The kinds of queues of RabbitMQ share a broker.
func openAll(ctx context.Context, at place, names []string) (peers []peer, closeAll func(), err error) {
	var shared *broker
	closeAll = func() {
		for _, p := range slices.Backward(peers) {
			p.close()
		}
		if shared != nil {
			shared.stop()
		}
	}
	for _, name := range names {
		var p peer
		switch name {
		case "troupe", "troupe-no-sync":
			p, err = openTroupe(ctx, at, name)
		case "rabbitmq-classic", "rabbitmq-quorum":
			if shared == nil {
				if shared, err = startBroker(ctx, at); err != nil {
					break
				}
			}
			p, err = openRabbit(shared, name)
		default:
			err = fmt.Errorf("there is no peer %q", name)
		}
		if err != nil {
			return peers, closeAll, fmt.Errorf("%s: %w", name, err)
		}
		peers = append(peers, p)
	}
	return peers, closeAll, nil
}
