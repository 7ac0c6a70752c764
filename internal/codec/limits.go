package codec

import (
	"errors"
	"fmt"
)

// Errors of this package. Test for them with errors.Is; the message says what
// was wrong and where.
var (
	// ErrCorrupt: the bytes are not what this package wrote.
	ErrCorrupt = errors.New("corrupt")
	// ErrMismatch: the bytes are whole, and of a value that the type cannot take. It
	// is an ErrCorrupt to those who do not ask.
	ErrMismatch = errors.New("not a value of the type")
	// ErrVersion: the bytes were written by a newer release.
	ErrVersion = errors.New("written by a newer version")
	// ErrLimit: a limit of Limits is exceeded; the message names it.
	ErrLimit = errors.New("over a limit")
	// ErrType: values of the type cannot be stored.
	ErrType = errors.New("type cannot be stored")
)

// Limits bound what is taken in. They are checked before anything is
// allocated. The zero value allows nothing: start from DefaultLimits.
type Limits struct {
	RecordBytes      int // key, value and headers of one record; default 1 MiB
	KeyBytes         int // key of a record; default 64 KiB
	HeaderCount      int // headers of a record; default 64
	HeaderBytes      int // names and values of all headers of a record; default 64 KiB
	BatchBytes       int // a batch, stored as well as uncompressed; default 8 MiB
	BatchRecords     int // records of a batch; default 1,048,576
	SectionsPerBatch int // sections of a batch; default 65,536
	ProducerBytes    int // producer id of a section; default 256
	CompressionRatio int // uncompressed bytes for each compressed one; default 200
}

// DefaultLimits returns the limits that hold where nothing else was asked for.
// BatchBytes equals the largest entry that the storage takes.
func DefaultLimits() Limits {
	return Limits{
		RecordBytes:      1 << 20,
		KeyBytes:         64 << 10,
		HeaderCount:      64,
		HeaderBytes:      64 << 10,
		BatchBytes:       8 << 20,
		BatchRecords:     1 << 20,
		SectionsPerBatch: 64 << 10,
		ProducerBytes:    256,
		CompressionRatio: 200,
	}
}

// Check reports whether a record may enter a log. The error is an ErrLimit.
//
// Only admission is checked. Reading bounds its allocations but takes records
// of any shape, so that limits can be lowered without losing what is stored.
func (l *Limits) Check(r *Record) error {
	size := len(r.Key) + len(r.Value)
	if len(r.Headers) > 0 {
		n := headerBytes(r.Headers)
		size += n
		if len(r.Headers) > l.HeaderCount {
			return overLimit("the record", "headers", len(r.Headers), "HeaderCount", l.HeaderCount)
		}
		if n > l.HeaderBytes {
			return overLimit("the record", "bytes of headers", n, "HeaderBytes", l.HeaderBytes)
		}
	}
	if len(r.Key) > l.KeyBytes {
		return overLimit("the record's key", "bytes", len(r.Key), "KeyBytes", l.KeyBytes)
	}
	if size > l.RecordBytes {
		return overLimit("the record", "bytes", size, "RecordBytes", l.RecordBytes)
	}
	return nil
}

func headerBytes(hs []Header) int {
	n := 0
	for i := range hs {
		n += len(hs[i].Key) + len(hs[i].Value)
	}
	return n
}

func overLimit(what, unit string, has int, name string, limit int) error {
	return fmt.Errorf("%w: %s has %d %s, the limit %s is %d", ErrLimit, what, has, unit, name, limit)
}

// mismatch says that whole bytes cannot be taken by a type.
type mismatch struct {
	value any
	err   error
}

func (m *mismatch) Error() string {
	return fmt.Sprintf("decode %T: what is stored is %v: %v", m.value, ErrMismatch, m.err)
}

func (m *mismatch) Unwrap() []error { return []error{ErrMismatch, ErrCorrupt, m.err} }

func corrupt(what string, at int, format string, args ...any) error {
	return fmt.Errorf("%s is %w at byte %d: %s", what, ErrCorrupt, at, fmt.Sprintf(format, args...))
}
