package topics

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
)

// Entry is a record that was read. Its fields stay valid.
type Entry[T any] struct {
	actor.Record // as it is stored
	actor.TopicPartition
	Offset     uint64
	AppendTime int64 // when it arrived in the topic, Unix ms
	// Value is the zero value of a tombstone.
	Value T
	// Tombstone: the record has no value.
	Tombstone bool
}

// EventTime is the time that the record says it is of; ok is false when it says
// none.
func (e *Entry[T]) EventTime() (t time.Time, ok bool) {
	if e.Time == actor.NoTime {
		return time.Time{}, false
	}
	return time.UnixMilli(e.Time), true
}

// newEntry decodes the value of a record. With an error, which is an
// ErrUndecodable, the entry is complete but for the Value.
func newEntry[T any](decode func([]byte, *T) error, raw actor.Record, at actor.TopicPartition, offset uint64, appended int64) (*Entry[T], error) {
	e := &Entry[T]{Record: raw, TopicPartition: at, Offset: offset, AppendTime: appended, Tombstone: raw.Value == nil}
	if e.Tombstone {
		return e, nil
	}
	if err := guarded(decode, raw.Value, &e.Value); err != nil {
		return e, fmt.Errorf("topic %s, partition %d, offset %d: %w: %w", at.Topic, at.Partition, offset, ErrUndecodable, err)
	}
	return e, nil
}

// decoderOf decodes where a value is wanted.
func decoderOf[T any](c Codec[T]) func([]byte, *T) error {
	decode := codec.DecoderInto(c)
	return func(b []byte, v *T) error { return misread(c, b, decode(b, v)) }
}

// misread adds to an error what is likely to be the matter: the topic is not described as
// whoever writes it does.
func misread[T any](c Codec[T], b []byte, err error) error {
	if err != nil && c.Name() == "msgpack" && json.Valid(b) {
		return fmt.Errorf("%w: it reads as JSON: describe the topic with AsJSON, or as Text if these are plain lines", err)
	}
	return err
}

// guarded calls code that may be the user's.
func guarded[T any](decode func([]byte, *T) error, b []byte, v *T) (err error) {
	defer dataflow.Recovered(&err)
	return decode(b, v)
}
