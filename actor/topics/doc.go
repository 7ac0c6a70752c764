// Package topics holds typed topics: a durable log as a source, as a sink, and
// in the middle of a topology.
//
//	orders := topics.Of[Order]("orders").Partitions(4).KeyedBy(func(o Order) []byte { return []byte(o.Customer) })
//
//	in := topology.From(b, "orders", sources.Topic(orders))
//	topology.To(valid, "valid", sinks.Topic(topics.Of[Order]("valid-orders")))
//	again := topology.Through(in, "buffered", orders)
//
// A topic is declared when a job that uses it starts; its number of partitions,
// durability and compression are fixed by whoever declares it first.
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
// Records with a key go to the partition that Kafka would choose; records
// without one to each partition in turn.
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
