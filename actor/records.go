package actor

import "github.com/troupestream/troupe/internal/codec"

// What topics hold: Producer.Append takes Records, Reader.Next gives RecordBatches,
// whose Next fills in a Record for each that is left:
//
//	var r actor.Record
//	for batch.Next(&r) { … }
//	err := batch.Err()
type (
	// Record is one record of a topic. Its Key is nil when it has none, its
	// Value nil for a tombstone, its Time (Unix milliseconds) NoTime when it has
	// none.
	Record = codec.Record
	// Header is one header of a record. Names may repeat; order is kept.
	Header = codec.Header
	// RecordBatch is a run of records, and a position in it: Offset is that of
	// the record that Next gives next.
	RecordBatch = codec.Batch
)

// NoTime is the event time of a record that has none.
const NoTime = codec.NoTime
