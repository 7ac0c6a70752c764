package actor

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/compaction"
	"github.com/troupestream/troupe/internal/storage"
)

// Errors of an append that expects something of a key. Nothing was stored. Test for
// them with errors.Is.
var (
	// ErrKeyConflict: the newest record of the key is another one. See
	// KeyConflictError.
	ErrKeyConflict = errors.New("the key has another newest record")
	// ErrNoKeyIndex: the partition does not know the newest record of each key: its
	// topic is not declared with KeyIndex, or has more keys than the limit
	// KeyIndexBytes allows.
	ErrNoKeyIndex = errors.New("the partition has no index of its keys")
)

// Expected is what an append expects of a key, at the moment at which it is stored.
type Expected struct {
	Key []byte
	// Offset of the newest record of the key; NoOffset: there is none, or it is a
	// tombstone.
	Offset uint64
}

// KeyConflictError is an ErrKeyConflict and says what there is. To go on, read the
// records of the key from behind the one that was expected, and decide anew.
type KeyConflictError struct {
	Topic     string
	Partition int
	Key       []byte
	Expected  uint64
	Actual    uint64 // offset of the newest record of the key; NoOffset: there is none
}

func (e *KeyConflictError) Error() string {
	return fmt.Sprintf("topic %s, partition %d: the newest record of key %.64q is expected at %s and is at %s: read up to there and decide anew",
		e.Topic, e.Partition, e.Key, offsetText(e.Expected), offsetText(e.Actual))
}

func offsetText(offset uint64) string {
	if offset == NoOffset {
		return "no offset"
	}
	return fmt.Sprintf("offset %d", offset)
}

// Is makes it an ErrKeyConflict.
func (e *KeyConflictError) Is(target error) bool { return target == ErrKeyConflict }

// keyIndex knows the newest record of each key of a partition. It is made from the
// log when that is opened and kept up to date with what is stored, so it answers
// only for what is; the keys of the batch that is being made are in planned.
type keyIndex struct {
	newest  *compaction.Keys // offset and, in the lowest bit, whether it is a tombstone
	planned *compaction.Keys
	low     uint64 // keys whose newest record is before it are not needed
	forgot  uint64 // and were forgotten up to here
	over    bool   // there are more keys than fit
}

func newKeyIndex(bytesMax int) *keyIndex {
	return &keyIndex{newest: compaction.NewKeys(bytesMax), planned: compaction.NewKeys(bytesMax)}
}

// note takes in a record that is stored.
func (x *keyIndex) note(key []byte, tombstone bool, offset uint64) {
	if key == nil || x.over {
		return
	}
	if x.newest.Full() {
		if _, known := x.newest.Newest(key); !known && !x.makeRoom() {
			x.over = true
			x.newest.Reset()
			return
		}
	}
	offset <<= 1
	if tombstone {
		offset |= 1
	}
	x.newest.Note(key, offset)
}

// makeRoom forgets keys of which there are no records any more, as often as some may have
// gone: so that takes little of the time that they took to come.
func (x *keyIndex) makeRoom() bool {
	if x.forgot == x.low {
		return false
	}
	x.forgot = x.low
	x.newest.Forget(x.low << 1)
	return !x.newest.Full()
}

// noteSections takes in the records of a batch that is stored.
func (x *keyIndex) noteSections(sections []codec.Section, base uint64) {
	for i := range sections {
		at := base
		// What cannot be read was not accepted.
		_ = sections[i].Keys(func(key []byte, tombstone bool) {
			x.note(key, tombstone, at)
			at++
		})
		base += uint64(sections[i].Count)
	}
}

// plan notes the keys of an append that is to be stored with the next batch.
func (x *keyIndex) plan(section *codec.Section) error {
	return section.Keys(func(key []byte, _ bool) {
		if key != nil {
			x.planned.Note(key, 0)
		}
	})
}

// check decides about an append that expects something. It is undecided while the
// batch that is being made has records of the key.
func (x *keyIndex) check(e *Expected, low uint64) (v verdict, actual uint64, err error) {
	if x == nil {
		return refused, NoOffset, fmt.Errorf("%w: declare another topic with KeyIndex, which is for life", ErrNoKeyIndex)
	}
	if x.over {
		return refused, NoOffset, fmt.Errorf("%w: there are more keys in the partition than its limit KeyIndexBytes allows: raise it, keep less, or add partitions", ErrNoKeyIndex)
	}
	if _, planned := x.planned.Newest(e.Key); planned {
		return undecided, NoOffset, nil
	}
	newest, known := x.newest.Newest(e.Key)
	actual, deleted := newest>>1, newest&1 == 1
	if !known || actual < low {
		actual = NoOffset
	}
	if actual == e.Offset || deleted && e.Offset == NoOffset {
		return accepted, actual, nil
	}
	return refused, actual, nil
}

// indexKeys reads all keys of a log that is being opened.
func (o *openLog) indexKeys(ctx context.Context, c *partitionConfig) error {
	if !c.settings.Load().KeyIndex {
		return nil
	}
	o.keys = newKeyIndex(c.limits.KeyIndexBytes)
	o.keys.low = o.state.low
	if o.clean != nil {
		if err := o.indexLog(ctx, o.clean.log, o.clean.first.Load(), o.clean.last); err != nil {
			return err
		}
	}
	return o.indexLog(ctx, o.log, o.first, o.state.covers)
}

func (o *openLog) indexLog(ctx context.Context, log storage.Log, from, last uint64) error {
	var batch codec.Batch
	note := func(e storage.Entry) (more bool, err error) {
		for r := (Record{}); batch.Left() > 0; {
			at := batch.Offset()
			if !batch.Next(&r) {
				return false, unreadable(log.Name(), e.Seq, batch.Err())
			}
			o.keys.note(r.Key, r.Value == nil, at)
		}
		return !o.keys.over, nil
	}
	for more := !o.keys.over; more; {
		var err error
		if from, more, err = scanSome(ctx, log, from, last+1, &batch, note); err != nil {
			return err
		}
	}
	return nil
}
