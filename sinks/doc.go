// Package sinks holds the ends of a topology where data goes out.
//
//	sink         guarantee         writers
//	JSONLines    effectively once  one
//	CSV          effectively once  one
//	Lines        effectively once  one
//	Topic        effectively once  any number
//	Queue        at least once     any number
//	Exchange     at least once     any number; once with Dedup and ids
//	Slice        effectively once  any number, within the process
//	Writer       at least once     one
//	JSONWriter   at least once     one
//	Discard      at least once     any number
//
// # Files
//
// A file sink writes one file. Every checkpoint notes how long the file is, once
// its bytes are on disk; a job that resumes cuts the file back to that length
// and goes on, so that with exactly-once state each record is in it exactly
// once. What stands behind the newest checkpoint may still be cut off: readers
// that cannot have that wait until the job has ended.
//
// A job that starts without a checkpoint begins the file anew: what it held
// before is gone. A file that was truncated, replaced or rewritten between
// checkpoint and resume is refused. So is a path that another sink writes, of
// this process or, on Linux and macOS, of another.
//
// When the disk is full, or writing fails otherwise, the job fails; nothing
// since the last checkpoint is taken for committed, and resuming cuts it off.
//
// A record that cannot be encoded is a topology.RecordError for that record,
// and leaves no trace in the file.
//
// # Conformance
//
// Package sinktest holds the suite that all of these pass, for sinks of your
// own.
package sinks
