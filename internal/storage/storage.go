// Package storage is the seam between Troupe and the store that makes its logs
// durable. The only implementation today keeps every log in one NATS JetStream
// stream, in a server embedded in the process.
//
// A log is a sequence of entries. An entry is opaque bytes with a kind, and a
// sequence number that the store assigns: 1 for the first entry ever, one more
// for each that follows, never reused. One entry is meant to hold a whole batch
// of records (64 KiB to 1 MiB), because an entry is what one fsync makes durable.
//
// Every append names the sequence it expects to be the last one. The store
// refuses the append when that is no longer so. This single check is what
// fences a writer that has lost its log without noticing it: its successor
// begins by appending one entry of its own (an epoch marker), and from then on
// nothing the predecessor still has in flight can match. The check only fences
// a writer that has at most one append outstanding; see Log.Append.
package storage

import (
	"context"
	"errors"
)

// Errors of a Log. Test for them with errors.Is.
var (
	// ErrFenced: somebody else appended since the sequence that was expected.
	// The writer no longer owns the log and must not retry.
	ErrFenced = errors.New("the log has another writer")
	// ErrUnknown: the append may or may not have been stored (a time-out, a
	// lost connection). The writer must reopen the log and read its tail.
	ErrUnknown = errors.New("the outcome of the append is unknown")
	// ErrFull: the store has no space left. Nothing was stored; retry after
	// space was made.
	ErrFull = errors.New("the store is out of space")
	// ErrTooLarge: the entry exceeds MaxEntryBytes. Nothing was stored.
	ErrTooLarge = errors.New("the entry exceeds the limit MaxEntryBytes")
	// ErrNotFound: there is no such log or no such entry (never written, or trimmed).
	ErrNotFound = errors.New("not found")
	// ErrClosed: the log or its store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrName: the string is not the name of a log, see CheckName.
	ErrName = errors.New("not the name of a log")
	// ErrOptions: the log exists with other options.
	ErrOptions = errors.New("the log exists with other options")
	// ErrCorrupt: the store holds something that it cannot have been given.
	ErrCorrupt = errors.New("the stored data is corrupt")
)

// MaxEntryBytes is the largest entry a log takes: 8 MiB.
const MaxEntryBytes = 8 << 20

// Kind tells entries of one log apart, so that the newest of a kind can be
// found without reading the log.
type Kind uint8

// The kinds of entries.
const (
	Data  Kind = 'd' // record batches, checkpoint chunks
	State Kind = 's' // a snapshot of the writer's own state, a checkpoint's manifest
	Epoch Kind = 'e' // the marker with which a new owner fences its predecessor
)

// Durability says what an acknowledged append survives.
type Durability uint8

const (
	// Fsync (the default): acknowledged means on disk. Survives a power cut.
	Fsync Durability = iota
	// Interval: acknowledged means handed to the operating system, which is
	// asked to write it to disk every SyncInterval. Survives kill -9, not a power cut.
	Interval
	// Memory: lost when the process ends.
	Memory
)

// Entry is one stored entry.
type Entry struct {
	Seq  uint64
	Kind Kind
	Data []byte // belongs to the caller
}

// Bounds are the limits of what a log holds.
type Bounds struct {
	First uint64 // sequence of the oldest entry that is kept; Last+1 when the log is empty
	Last  uint64 // sequence of the newest entry ever appended; 0 when there was none
	Bytes uint64 // bytes kept, with the store's overhead
}

// LogOptions are fixed when a log is first opened.
type LogOptions struct {
	Durability Durability
}

// Store hands out logs.
type Store interface {
	// OpenLog opens the log of that name and creates it when it does not exist.
	// Opening takes time independent of the log's size. A log that does not hold
	// what was acknowledged is an ErrCorrupt that says what to do, and is left
	// as it is. A name matches
	// ^[a-z][a-z0-9-]*(_[a-z0-9-]+)*$ and has at most 200 bytes: the parts are
	// names of Troupe, joined by underscores ("topic_orders_0").
	// Options that differ from those of an existing log are an error.
	OpenLog(ctx context.Context, name string, o LogOptions) (Log, error)
	// Logs lists the names of the logs that start with prefix, sorted.
	Logs(ctx context.Context, prefix string) ([]string, error)
	// DeleteLog deletes a log and what it holds. ErrNotFound when there is none.
	DeleteLog(ctx context.Context, name string) error
	// Close ends the store. Logs that are open return ErrClosed from then on.
	Close() error
}

// Log is one log. Reading is safe for concurrent use. Appending is for one
// owner, and one append at a time.
type Log interface {
	Name() string
	// Append stores data as the entry after expect, and returns its sequence
	// (expect+1) once it is as durable as the log promises. If the last
	// sequence of the log is not expect, nothing is stored and the error is
	// ErrFenced. The caller must not change data before Append returns, and
	// must wait for one Append before it begins the next: fencing rests on that.
	Append(ctx context.Context, kind Kind, data []byte, expect uint64) (uint64, error)
	// Bounds returns the current limits.
	Bounds(ctx context.Context) (Bounds, error)
	// Read returns entries from sequence from on, in order: at least one if
	// there is any, and then as many as fit into maxBytes. Trimmed entries are
	// skipped, so the first sequence may be above from. Empty at the end of
	// the log.
	Read(ctx context.Context, from uint64, maxBytes int) ([]Entry, error)
	// Last returns the newest entry of a kind, or ErrNotFound.
	Last(ctx context.Context, kind Kind) (Entry, error)
	// Trim drops all entries below sequence before.
	Trim(ctx context.Context, before uint64) error
	// Close releases what the handle holds. The log stays.
	Close() error
}
