package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Scope is the instrumentation scope of all spans and metrics.
const Scope = "github.com/troupestream/troupe"

// System is the value of messaging.system.
const System = "troupe"

// Attributes of spans and of the conventions' metrics, as OpenTelemetry's messaging
// conventions (v1.44.0) name them. A destination is a topic; of metrics, also an exchange
// or a queue.
const (
	attrSystem        = attribute.Key("messaging.system")
	attrOperationName = attribute.Key("messaging.operation.name")
	attrOperationType = attribute.Key("messaging.operation.type")
	attrDestination   = attribute.Key("messaging.destination.name")
	attrPartition     = attribute.Key("messaging.destination.partition.id")
	attrMessageCount  = attribute.Key("messaging.batch.message_count")
	attrGroup         = attribute.Key("messaging.consumer.group.name")
	attrErrorType     = attribute.Key("error.type")
)

// Attributes of spans that the conventions have no name for.
const (
	attrSpanJob      = attribute.Key("messaging.troupe.job")
	attrSpanOperator = attribute.Key("messaging.troupe.operator")
	attrSpanTask     = attribute.Key("messaging.troupe.task")
	attrSampledCount = attribute.Key("messaging.troupe.batch.sampled_count")
	attrLinksDropped = attribute.Key("messaging.troupe.batch.links_dropped")
)

// Labels of metrics. Each has few values: names that were given by hand,
// numbers of partitions, or words of a fixed list.
const (
	labelJob       = attribute.Key("job")
	labelOperator  = attribute.Key("operator")
	labelKind      = attribute.Key("kind")
	labelEdge      = attribute.Key("edge")
	labelTopic     = attribute.Key("topic")
	labelGroup     = attribute.Key("group")
	labelPartition = attribute.Key("partition")
	labelReason    = attribute.Key("reason")
	labelQueue     = attribute.Key("queue")
	labelExchange  = attribute.Key("exchange")
	labelState     = attribute.Key("state")
	labelOutcome   = attribute.Key("outcome")
	labelCause     = attribute.Key("cause")
)

// Operation is what is done with records, in the words of the conventions. It
// is both messaging.operation.name and messaging.operation.type.
type Operation uint8

// The operations.
const (
	Create  Operation = iota // a record comes into being at a source
	Send                     // a batch is appended to a partition of a topic, or written by another sink
	Receive                  // a batch is read from a partition of a topic
	Process                  // a chain of operators handles a batch
	Settle                   // a checkpoint is complete that covers what was received from a partition
)

var operations = [...]struct {
	name string
	kind trace.SpanKind
}{
	Create: {"create", trace.SpanKindProducer},
	// PRODUCER would say that the send span is the creation context; it never is.
	Send:    {"send", trace.SpanKindClient},
	Receive: {"receive", trace.SpanKindClient},
	Process: {"process", trace.SpanKindConsumer},
	Settle:  {"settle", trace.SpanKindClient},
}

// String returns the operation's name.
func (o Operation) String() string { return operations[o].name }

// Kind of a metric's instrument.
type instrumentKind string

const (
	counter   instrumentKind = "counter"
	gauge     instrumentKind = "gauge"
	histogram instrumentKind = "histogram"
)

// metricName is one metric: its name, unit (UCUM), meaning and labels.
type metricName struct {
	name        string
	kind        instrumentKind
	unit        string
	description string
	labels      []attribute.Key
}

var (
	perOperator  = []attribute.Key{labelJob, labelOperator}
	perJob       = []attribute.Key{labelJob}
	perMailbox   = []attribute.Key{labelJob, labelKind}
	perEdge      = []attribute.Key{labelJob, labelEdge}
	perTopic     = []attribute.Key{labelTopic}
	perPartition = []attribute.Key{labelTopic, labelPartition}
	perGroup     = []attribute.Key{labelGroup}
	perConsumed  = []attribute.Key{labelGroup, labelTopic}
	perQueue     = []attribute.Key{labelQueue}
	perExchange  = []attribute.Key{labelExchange}
)

// The metrics. Prometheus turns "troupe.operator.records.in" with the unit
// {record} into troupe_operator_records_in_total. Rates are not metrics: they
// are derived from the counters by whoever reads them, over an interval of
// their choice.
var (
	recordsIn      = metricName{"troupe.operator.records.in", counter, "{record}", "Records an operator has taken.", perOperator}
	recordsOut     = metricName{"troupe.operator.records.out", counter, "{record}", "Records an operator has handed on.", perOperator}
	operatorKeys   = metricName{"troupe.operator.keys", gauge, "{key}", "Keys for which an operator keeps state.", perOperator}
	watermarkTime  = metricName{"troupe.operator.watermark", gauge, "s", "Lowest watermark of an operator's tasks, as Unix time.", perOperator}
	watermarkLag   = metricName{"troupe.operator.watermark.lag", gauge, "s", "How far an operator's watermark is behind the clock.", perOperator}
	lateRecords    = metricName{"troupe.late_records", counter, "{record}", "Records that came behind the watermark.", perOperator}
	futureRecords  = metricName{"troupe.future_records", counter, "{record}", "Records too far ahead to move the watermark.", perOperator}
	skippedRecords = metricName{"troupe.skipped_records", counter, "{record}", "Records passed over on the user's orders.", perOperator}
	deadLetters    = metricName{"troupe.dead_letters", counter, "{record}", "Records sent to a dead-letter topic.", perOperator}
	failures       = metricName{"troupe.failures", counter, "{failure}", "Calls of user code that panicked.", perOperator}
	expiredState   = metricName{"troupe.expired_state", counter, "{entry}", "State entries that outlived their time-to-live.", perOperator}
	sourceLag      = metricName{"troupe.source.lag", gauge, "{record}", "Records known to wait in front of a source.", perOperator}
	mailboxDepth   = metricName{"troupe.mailbox.depth", gauge, "{message}", "Messages in the fullest mailbox of a kind of actor.", perMailbox}
	mailboxBytes   = metricName{"troupe.mailbox.size", gauge, "By", "Bytes in all mailboxes of a kind of actor.", perMailbox}
	mailboxRefused = metricName{"troupe.mailbox.refusals", counter, "{message}", "Messages refused by a full mailbox.", perMailbox}
	edgeCredit     = metricName{"troupe.edge.credit", gauge, "{batch}", "Batches that may still be sent along an edge.", perEdge}
	edgeWaiting    = metricName{"troupe.edge.waiting", gauge, "{batch}", "Batches that wait for credit on an edge.", perEdge}
	checkpointTime = metricName{"troupe.checkpoint.duration", histogram, "s", "Time from asking for a checkpoint to its being complete.", perJob}
	alignmentTime  = metricName{"troupe.checkpoint.alignment.duration", histogram, "s", "Time a task waited for a barrier on all its inputs.", perJob}
	checkpointSize = metricName{"troupe.checkpoint.size", gauge, "By", "Bytes that the newest complete checkpoint added.", perJob}
	checkpointAge  = metricName{"troupe.checkpoint.age", gauge, "s", "Time since the newest complete checkpoint.", perJob}
	checkpointFail = metricName{"troupe.checkpoint.failures", counter, "{checkpoint}", "Checkpoints that were given up.", []attribute.Key{labelJob, labelReason}}
	jobRestarts    = metricName{"troupe.job.restarts", counter, "{restart}", "Restarts of a job after a failure.", perJob}
	logAppends     = metricName{"troupe.log.appends", counter, "{append}", "Appends to a topic's logs; each holds a batch.", perTopic}
	logBytes       = metricName{"troupe.log.written", counter, "By", "Bytes appended to a topic's logs.", perTopic}
	appendTime     = metricName{"troupe.log.append.duration", histogram, "s", "Time of an append, until it is as durable as the topic promises.", perTopic}
	compactRuns    = metricName{"troupe.compaction.runs", counter, "{run}", "Compactions of partitions whose outcome came into force.", perTopic}
	compactFails   = metricName{"troupe.compaction.failures", counter, "{run}", "Compactions of partitions that failed, and are tried again.", perTopic}
	compactIn      = metricName{"troupe.compaction.records.in", counter, "{record}", "Records that compactions have read.", perTopic}
	compactOut     = metricName{"troupe.compaction.records.out", counter, "{record}", "Records that compactions have kept of these.", perTopic}
	compactRead    = metricName{"troupe.compaction.read", counter, "By", "Bytes that compactions have read.", perTopic}
	compactWritten = metricName{"troupe.compaction.written", counter, "By", "Bytes that compactions have written in place of these.", perTopic}
	compactTime    = metricName{"troupe.compaction.duration", histogram, "s", "Time of a compaction of a partition, until what it made could come into force.", perTopic}
	tombstones     = metricName{"troupe.compaction.tombstones", gauge, "{record}", "Tombstones in the compacted part of a topic's partitions, as of their last compactions.", perTopic}
	partitionEnd   = metricName{"troupe.partition.end_offset", gauge, "{record}", "Offset that the next record of a partition will have.", perPartition}
	groupLag       = metricName{"troupe.consumer.lag", gauge, "{record}", "Records that the consumers of a group have not processed yet, in the partitions that this process works on.", perConsumed}
	groupParked    = metricName{"troupe.consumer.parked_keys", gauge, "{key}", "Keys that are parked in those partitions.", perConsumed}
	groupStalled   = metricName{"troupe.consumer.stalled_partitions", gauge, "{partition}", "Partitions that wait for room in the parking.", perConsumed}
	groupParkings  = metricName{"troupe.consumer.parked_records", counter, "{record}", "Records that were parked, or put behind one that is.", perGroup}
	groupRetries   = metricName{"troupe.consumer.retries", counter, "{record}", "Deliveries of records that had failed, and records put into delay topics.", perGroup}
	groupWaiting   = metricName{"troupe.consumer.retries.waiting", gauge, "{record}", "Retries that wait for the retry budget.", perGroup}
	groupLetters   = metricName{"troupe.consumer.dead_letters", counter, "{record}", "Records that consumers sent to a dead-letter topic.", perGroup}
	groupSkipped   = metricName{"troupe.consumer.skipped_records", counter, "{record}", "Records that consumers passed over on the user's orders.", perGroup}
	groupReplayed  = metricName{"troupe.consumer.replayed_records", counter, "{record}", "Records that were replayed to one consumer of a group.", perGroup}
	queueMessages  = metricName{"troupe.queue.messages", gauge, "{message}", "Messages in a queue, by where they are.", []attribute.Key{labelQueue, labelState}}
	queueSize      = metricName{"troupe.queue.size", gauge, "By", "Bytes of the bodies that wait in a queue.", perQueue}
	queueAge       = metricName{"troupe.queue.oldest_age", gauge, "s", "Age of the oldest message of a queue.", perQueue}
	queueConsumers = metricName{"troupe.queue.consumers", gauge, "{consumer}", "Consumers of a queue.", perQueue}
	queuePublished = metricName{"troupe.queue.published", counter, "{message}", "Messages that a queue has taken in.", perQueue}
	queueDelivered = metricName{"troupe.queue.delivered", counter, "{message}", "Deliveries of messages to consumers, the first and others.", perQueue}
	queueAgain     = metricName{"troupe.queue.redelivered", counter, "{message}", "Deliveries of messages that were delivered before.", []attribute.Key{labelQueue, labelCause}}
	queueSettled   = metricName{"troupe.queue.settled", counter, "{message}", "Messages that have left a queue, by what became of them.", []attribute.Key{labelQueue, labelOutcome}}
	queueLetters   = metricName{"troupe.queue.dead_letters", counter, "{message}", "Messages that a queue has dead-lettered.", []attribute.Key{labelQueue, labelReason}}
	exchangeSent   = metricName{"troupe.exchange.published", counter, "{message}", "Messages that were confirmed to publishers of an exchange.", perExchange}
	exchangeLost   = metricName{"troupe.exchange.unroutable", counter, "{message}", "Messages that no binding of an exchange matched: refused, or dropped.", perExchange}
	droppedSeries  = metricName{"troupe.telemetry.dropped_series", gauge, "{series}", "Series left out because a metric had more than the limit.", nil}
)

// Labels of the conventions' metrics. The partition is not one of them: it would
// multiply the series of every histogram.
var (
	perMessages  = []attribute.Key{attrSystem, attrDestination, attrOperationName, attrErrorType}
	perOperation = []attribute.Key{attrSystem, attrDestination, attrOperationName, attrOperationType, attrErrorType}
)

// The metrics of the conventions, for topics, exchanges and queues, with their names, units and
// descriptions.
var (
	sentMessages     = metricName{"messaging.client.sent.messages", counter, "{message}", "Number of messages producer attempted to send to the broker.", perMessages}
	consumedMessages = metricName{"messaging.client.consumed.messages", counter, "{message}", "Number of messages that were delivered to the application.", perMessages}
	operationTime    = metricName{"messaging.client.operation.duration", histogram, "s", "Duration of messaging operation initiated by a producer or consumer client.", perOperation}
	processTime      = metricName{"messaging.process.duration", histogram, "s", "Duration of processing operation.", perMessages}
)

// conventional is the list of these four, for the same test as metrics.
var conventional = []*metricName{&sentMessages, &consumedMessages, &operationTime, &processTime}

// metrics is the list of Troupe's own metrics; a test compares it with a golden file.
var metrics = []*metricName{
	&recordsIn, &recordsOut, &operatorKeys, &watermarkTime, &watermarkLag, &lateRecords, &futureRecords,
	&skippedRecords, &deadLetters, &failures, &expiredState, &sourceLag, &mailboxDepth, &mailboxBytes,
	&mailboxRefused, &edgeCredit, &edgeWaiting, &checkpointTime, &alignmentTime, &checkpointSize,
	&checkpointAge, &checkpointFail, &jobRestarts, &logAppends, &logBytes, &appendTime,
	&compactRuns, &compactFails, &compactIn, &compactOut, &compactRead, &compactWritten, &compactTime, &tombstones, &partitionEnd,
	&groupLag, &groupParked, &groupStalled, &groupParkings, &groupRetries, &groupWaiting, &groupLetters, &groupSkipped, &groupReplayed,
	&queueMessages, &queueSize, &queueAge, &queueConsumers, &queuePublished, &queueDelivered, &queueAgain, &queueSettled, &queueLetters,
	&exchangeSent, &exchangeLost,
	&droppedSeries,
}

// spanAttributes is the list of all attributes of spans, for the same test.
var spanAttributes = []attribute.Key{
	attrSystem, attrOperationName, attrOperationType, attrDestination, attrPartition, attrMessageCount,
	attrGroup, attrErrorType, attrSpanJob, attrSpanOperator, attrSpanTask, attrSampledCount, attrLinksDropped,
}
