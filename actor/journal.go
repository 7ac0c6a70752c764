package actor

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/storage"
)

// journal is the log of an actor that keeps its state in memory: what happened,
// as data, and now and then a snapshot of all of it. Its owner is fenced as that
// of a partition is: it begins with a marker, has one append under way, and every
// append names the sequence that it follows.
type journal struct {
	log   storage.Log
	nonce []byte
	last  uint64 // sequence of the newest entry
	saved uint64 // sequence of the newest snapshot; 0: none
	bytes int    // appended since
}

// journaled is a state that a journal brings back.
type journaled interface {
	restore(snapshot []byte) error // called once; nil: there is no snapshot
	replay(entry []byte) error
}

// journalReadBytes is how much of a journal is read at once.
const journalReadBytes = 4 << 20

// openJournal takes a journal over and brings the state back that it holds.
func openJournal(ctx context.Context, store storage.Store, name string, nonce []byte, s journaled) (*journal, error) {
	log, err := store.OpenLog(ctx, name, storage.LogOptions{Durability: storage.Fsync})
	if err != nil {
		return nil, err
	}
	j := &journal{log: log, nonce: nonce}
	if err := j.open(ctx, s); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return j, nil
}

func (j *journal) open(ctx context.Context, s journaled) error {
	bounds, err := j.log.Bounds(ctx)
	if err != nil {
		return err
	}
	j.last = bounds.First - 1
	entry, err := j.log.Last(ctx, storage.State)
	switch {
	case err == nil:
		j.last, j.saved = entry.Seq, entry.Seq
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	if err := s.restore(entry.Data); err != nil {
		return fmt.Errorf("entry %d of log %s: %w", entry.Seq, j.log.Name(), err)
	}
	for try := 0; ; try++ {
		if err := j.readOn(ctx, s); err != nil {
			return err
		}
		seq, err := j.log.Append(ctx, storage.Epoch, j.nonce, j.last)
		switch classify(err) {
		case isStored:
			j.last = seq
			return nil
		case notStored, logGone:
			return err
		}
		// Refused, or perhaps stored: then it is read as one more marker.
		if try == fenceTries {
			return fmt.Errorf("the former owner of log %s does not stop writing: %w", j.log.Name(), err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// readOn brings the state up to the end of the log.
func (j *journal) readOn(ctx context.Context, s journaled) error {
	for {
		entries, err := j.log.Read(ctx, j.last+1, journalReadBytes)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if e.Kind == storage.Data {
				if err := s.replay(e.Data); err != nil {
					return fmt.Errorf("entry %d of log %s: %w", e.Seq, j.log.Name(), err)
				}
			}
			j.last = e.Seq
			j.bytes += len(e.Data)
		}
	}
}

// append stores an entry. When its answer is lost, the log is asked. After
// ErrFull nothing was stored and the same can be tried again; after any other
// error the journal is of no more use.
func (j *journal) append(ctx context.Context, kind storage.Kind, data []byte) error {
	for {
		seq, err := j.log.Append(ctx, kind, data, j.last)
		if classify(err) == isStored {
			j.last = seq
			j.bytes += len(data)
			return nil
		}
		if classify(err) != outcomeOpen {
			return err
		}
		f := flight{kind: kind, data: data, expect: j.last}
		f.settle(ctx, j.log, j.nonce)
		switch f.outcome {
		case isStored:
			j.last++
			return nil
		case notStored: // our marker has its place
			j.last = f.marker
		default:
			return f.err
		}
	}
}

// save appends a snapshot, and drops what it makes superfluous.
func (j *journal) save(ctx context.Context, snapshot []byte) error {
	if err := j.append(ctx, storage.State, snapshot); err != nil {
		return err
	}
	j.saved, j.bytes = j.last, 0
	return j.log.Trim(ctx, j.saved)
}
