package main

import (
	"context"
	"time"
)

// durability is what an acknowledgement stands for.
type durability string

const (
	// flushed: the batch is on the disk when it is acknowledged.
	flushed durability = "fsync"
	// defaults: whatever the peer does when nobody asks for anything.
	defaults durability = "default"
	// unsynced: acknowledged without a sync.
	unsynced durability = "no sync"
)

// peer is a system under test.
type peer interface {
	name() string
	// create makes an empty topic.
	create(ctx context.Context, topic string, partitions int, d durability) error
	remove(ctx context.Context, topic string) error
	// producer returns a producer; quick: for lone records rather than for many.
	producer(ctx context.Context, topic string, quick bool) (producer, error)
	// consume reads a topic from its beginning until each has returned false.
	consume(ctx context.Context, topic string, partitions int, each func(value []byte) bool) error
	// processor is what the peer's own processes have used of the processor.
	processor() time.Duration
	close()
}

// producer publishes records without waiting for each.
type producer interface {
	// publish calls done once the record is acknowledged. It takes key and value over.
	publish(ctx context.Context, key, value []byte, done func(error)) error
	flush(ctx context.Context) error
	close()
}
