package actor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
)

// openLog is a log that was opened, and read up to its end.
type openLog struct {
	log      storage.Log
	state    *logState
	epoch    uint64    // sequence of our marker; 0 when there was no space for one
	first    uint64    // sequence of the oldest entry
	stateSeq uint64    // sequence of the newest snapshot; 0 when there is none
	unsaved  saving    // what came after it
	clean    *cleanLog // the compacted log in force; nil: there is none
	keys     *keyIndex // nil: the topic has none

	halfDropped bool                                         // entries in front of first are still there
	leftBehind  []func(context.Context, storage.Store) error // delete compacted logs that are not in force
}

// saving counts what a snapshot would spare the next owner.
type saving struct{ entries, bytes int }

// fenceTries bounds how often an owner that is being replaced can outrun its
// successor: it has one append outstanding, so two tries are the usual worst.
const fenceTries = 64

// openPartition opens a log, brings its state up to date and fences whoever
// wrote it before. It reads the newest snapshot and what came after it, so it
// takes as long as there is new.
//
// The order is: read to the end, then append our marker behind exactly what was
// read. If the former owner slips an entry in between, the marker is refused,
// and the entry is read before the next try. So the state is complete at the
// marker, and nothing of the former owner can follow it.
func openPartition(ctx context.Context, store storage.Store, c *partitionConfig, nonce []byte) (*openLog, error) {
	log, err := store.OpenLog(ctx, c.log, storage.LogOptions{Durability: c.durability})
	if err != nil {
		return nil, err
	}
	o := &openLog{log: log, state: newLogState(c.limits.Producers)}
	if err = o.load(ctx); err == nil {
		err = o.fence(ctx, c, nonce)
	}
	if err == nil {
		err = o.openClean(ctx, store, c)
	}
	if err == nil {
		err = o.indexKeys(ctx, c)
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return o, nil
}

// openClean opens the compacted log in force, and finds those that are not.
func (o *openLog) openClean(ctx context.Context, store storage.Store, c *partitionConfig) (err error) {
	d := o.state.cleaned
	if d == nil && !c.settings.Load().Compaction.Enabled {
		return nil
	}
	if o.epoch != 0 {
		left, err := leftBehind(ctx, store, c.log, o.epoch, d)
		if err != nil {
			return err
		}
		for _, name := range left {
			o.leftBehind = append(o.leftBehind, func(ctx context.Context, s storage.Store) error { return s.DeleteLog(ctx, name) })
		}
	}
	if d == nil {
		return nil
	}
	if o.clean, err = openCleanLog(ctx, store, d, c); err == nil {
		o.clean.low.Store(o.state.low)
	}
	return err
}

// load restores the newest snapshot, and finds the oldest record.
func (o *openLog) load(ctx context.Context) error {
	bounds, err := o.log.Bounds(ctx)
	if err != nil {
		return err
	}
	o.first, o.state.covers = bounds.First, bounds.First-1
	entry, err := o.log.Last(ctx, storage.State)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	if err := o.restore(entry); err != nil {
		return err
	}
	// A trim on a full store drops entries without a snapshot that says so. What it
	// leaves of a compacted log goes, too; but not because the first batch behind that
	// is damaged, and is passed over.
	search := searcher{o.log, &sparseIndex{max: 2}, o.first, bounds.Last}
	oldest, found, err := search.header(ctx, o.first, bounds.Last+1)
	if c := o.state.cleaned; found && (c == nil || bounds.First > c.head && oldest.base > c.end) {
		o.state.low, o.state.cleaned = max(o.state.low, oldest.base), nil
	}
	return err
}

// restore takes over a snapshot, and with it what it says about the logs.
func (o *openLog) restore(e storage.Entry) error {
	if err := o.state.restore(e.Data); err != nil {
		return fmt.Errorf("entry %d: %w", e.Seq, err)
	}
	o.stateSeq, o.state.covers, o.unsaved = e.Seq, e.Seq, saving{}
	if c := o.state.cleaned; c != nil && c.head > o.first {
		o.first, o.halfDropped = c.head, true
	}
	return nil
}

// readOn brings the state up to the end of the log.
func (o *openLog) readOn(ctx context.Context, bytesMax int) error {
	for {
		entries, err := o.log.Read(ctx, o.state.covers+1, bytesMax)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if err := o.apply(e); err != nil {
				return err
			}
		}
	}
}

func (o *openLog) apply(e storage.Entry) error {
	if e.Kind == storage.State { // the former owner's last: it may have dropped something since
		return o.restore(e)
	}
	o.unsaved.entries++
	o.unsaved.bytes += len(e.Data)
	if e.Kind != storage.Data {
		o.state.applyMarker(e.Seq)
		return nil
	}
	info, err := codec.ReadInfo(e.Data, codec.DefaultLimits())
	if err != nil {
		return fmt.Errorf("entry %d: %w: %w", e.Seq, storage.ErrCorrupt, err)
	}
	return o.state.applyBatch(e.Seq, &info)
}

func (o *openLog) fence(ctx context.Context, c *partitionConfig, nonce []byte) error {
	for try := 0; ; try++ {
		if err := o.readOn(ctx, c.limits.ReadBytes); err != nil {
			return err
		}
		seq, err := o.log.Append(ctx, storage.Epoch, nonce, o.state.covers)
		switch classify(err) {
		case isStored:
			o.epoch = seq
			o.state.applyMarker(seq)
			return nil
		case notStored:
			return nil // no space: the partition can be read
		case logGone:
			return err
		}
		if errors.Is(err, ErrCorrupt) {
			return err // it would not be otherwise the next time
		}
		// Refused, or perhaps stored: then it is read as one more marker.
		if try == fenceTries {
			return fmt.Errorf("its former owner does not stop writing: %w", err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// settle finds out what became of an append whose answer was lost, by trying to
// put a marker in its place. It never guesses:
//
//   - The marker is stored: so the append was not, and never will be, because
//     it expects the sequence that the marker now has. The marker is our new epoch.
//   - The marker is refused: something has that sequence. It is the append
//     itself, byte for byte (it names our epoch, so it can be nobody else's); or
//     a marker of an earlier try; or another owner's, and we are out.
//   - Anything else: try again. Nobody is answered before the log has spoken.
func (f *flight) settle(ctx context.Context, log storage.Log, nonce []byte) {
	for try := 0; ; try++ {
		seq, err := log.Append(ctx, storage.Epoch, nonce, f.expect)
		switch classify(err) {
		case isStored:
			f.marker, f.outcome, f.err = seq, notStored, nil
			return
		case ownerChanged:
			if done := f.settleBy(ctx, log, nonce); done {
				return
			}
		case logGone:
			f.outcome, f.err = logGone, err
			return
		}
		if err := pause(ctx, try); err != nil {
			f.outcome, f.err = logGone, err
			return
		}
	}
}

// settleBy decides by the entry that has the sequence of the append.
func (f *flight) settleBy(ctx context.Context, log storage.Log, nonce []byte) bool {
	entries, err := log.Read(ctx, f.expect+1, 1)
	if err != nil || len(entries) == 0 {
		return false
	}
	switch e := entries[0]; {
	case e.Seq != f.expect+1:
		f.outcome, f.err = ownerChanged, ErrFenced // trimmed: others are far ahead
	case e.Kind == f.kind && bytes.Equal(e.Data, f.data):
		f.outcome, f.err = isStored, nil
	case e.Kind == storage.Epoch && bytes.Equal(e.Data, nonce):
		f.marker, f.outcome, f.err = e.Seq, notStored, nil
	default:
		f.outcome, f.err = ownerChanged, ErrFenced
	}
	return true
}

// Pauses between tries double from the first to the longest.
const (
	retryPauseFirst = time.Millisecond
	retryPauseMax   = time.Second
)

func pause(ctx context.Context, try int) error {
	return sleep(ctx, min(retryPauseFirst<<min(try, 16), retryPauseMax))
}

// sleep waits, or returns the error of ctx when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
