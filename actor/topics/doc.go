// Package topics holds typed topics: a durable log that programs publish to, read and
// consume, and that is a source, a sink, and in the middle of a topology.
//
//	orders := topics.Of[Order]("orders").Partitions(4).KeyedBy(func(o Order) []byte { return []byte(o.Customer) })
//
//	in := topology.From(b, "orders", sources.Topic(orders))
//	topology.To(valid, "valid", sinks.Topic(topics.Of[Order]("valid-orders")))
//	again := topology.Through(in, "buffered", orders)
//
//	producer, err := orders.NewProducer(ctx, engine)
//	reader, err := orders.NewReader(ctx, engine, topics.UntilEnd())
//	consumer, err := orders.NewConsumer(ctx, engine, "billing", handler)
//
// A topic is declared when a job starts, or a handle is made, that uses it. What its
// description does not set stays as whoever declared it first has said; to set that
// otherwise is an actor.ErrConflict, and actor.System.AlterTopic changes it.
//
// # Reading
//
// The splits are the partitions, the position is the offset. A record that its
// codec cannot decode is a topology.RecordError that names topic, partition and
// offset, and is passed over. Event times and the trace contexts of sampled
// records come along.
//
// Outside of topologies, Topic.NewReader reads by itself, from wherever it is put
// and up to wherever it is told, and Topic.NewConsumer as a member of a group.
//
// # Writing
//
// Records with a key go to the partition that Kafka would choose. Those without one go
// to each partition in turn from a job, and in runs from a Producer, unless it is told
// to deal them (RoundRobin).
//
// In a job with at-least-once state, records are appended at once, and a
// checkpoint waits until they are acknowledged. In a job with exactly-once state
// they are effectively once: nothing shows before the checkpoint that covers it
// is complete. Until then, records wait in memory up to DefaultHoldBytes and beyond
// that in a topic of the writer's own, whose name begins with "staging-". What a
// checkpoint promises to append has a producer id and sequence numbers, so a job
// that dies while it appends can do it again: the partitions drop what they have
// already. That holds as long as the job resumes from its newest checkpoint: an
// older one knows nothing of what was appended since.
package topics
