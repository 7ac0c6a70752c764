package topics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/topology"
)

// DefaultHoldBytes is how much waits for a checkpoint in the memory of each
// writer: 1 MiB. Beyond it, records are put into the staging topic.
const DefaultHoldBytes = 1 << 20

// holdBytesMax is the most that one append to the staging topic takes.
const holdBytesMax = 2 << 20

// inlineShare is which share of that may become part of the checkpoint itself.
const inlineShare = 16

// heldWriter holds records back until the checkpoint that covers them is
// complete: exactly once.
//
// A transaction is what was written between two calls of Prepare. Its records
// have their sequence numbers from the moment they are written; they are
// appended in that order, at Commit or by whoever resumes, and a partition that
// has them already drops them.
type heldWriter[T any] struct {
	encoder[T]
	*appender
	lanes   []lane
	held    int // bytes in the lanes, about
	hold    int // most of them
	current transaction
	state   state // of the transactions that are prepared and not yet committed
	staging staging

	open   topology.SinkOpen
	tidied bool // the staging topics of earlier starts are gone
}

// lane is what waits for one partition.
type lane struct {
	next    uint64 // sequence of the next record
	records []codec.Record
}

// Write encodes the batch and holds it.
func (w *heldWriter[T]) Write(ctx context.Context, b *topology.Batch[T]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	traces := b.Traces
	for i := range b.Values {
		p, r, left, err := w.encode(b, i, traces)
		if err != nil {
			return err
		}
		traces = left
		l := &w.lanes[p]
		l.records = append(l.records, r)
		l.next++
		if w.held += recordBytes(&r); w.held >= w.hold {
			if err := w.spill(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// runs returns what the lanes hold.
func (w *heldWriter[T]) runs() []run {
	var all []run
	for p := range w.lanes {
		if l := &w.lanes[p]; len(l.records) > 0 {
			all = append(all, run{Partition: p, First: l.next - uint64(len(l.records)), records: l.records})
		}
	}
	return all
}

// spill moves what is held to the staging topic.
func (w *heldWriter[T]) spill(ctx context.Context) error {
	at, err := w.staging.put(ctx, w.runs())
	if err != nil {
		return err
	}
	w.current.Spills = append(w.current.Spills, at)
	w.empty()
	return nil
}

func (w *heldWriter[T]) empty() {
	for p := range w.lanes {
		clear(w.lanes[p].records)
		w.lanes[p].records = w.lanes[p].records[:0]
	}
	w.held = 0
	w.reset()
}

// Prepare ends a transaction. What it returns has, or points to, all records of
// this and of earlier transactions that are not committed yet.
func (w *heldWriter[T]) Prepare(ctx context.Context, checkpoint uint64) ([]byte, error) {
	if w.held > w.hold/inlineShare {
		if err := w.spill(ctx); err != nil {
			return nil, err
		}
	}
	w.current.Checkpoint = checkpoint
	if err := w.current.hold(w.runs()); err != nil {
		return nil, err
	}
	w.empty()
	w.state.Staging = w.staging.used()
	w.state.Transactions = append(w.state.Transactions, w.current)
	w.current = transaction{}
	return json.Marshal(&w.state)
}

// Commit appends the transactions up to a checkpoint, and returns when they are
// acknowledged. After an error it can be repeated.
func (w *heldWriter[T]) Commit(ctx context.Context, checkpoint uint64) error {
	if err := w.forgive(ctx); err != nil {
		return err
	}
	n := 0
	for n < len(w.state.Transactions) && w.state.Transactions[n].Checkpoint <= checkpoint {
		if err := commit(ctx, &w.state.Transactions[n], &w.staging, w.appender); err != nil {
			return err
		}
		n++
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	w.state.Transactions = slices.Delete(w.state.Transactions, 0, n)
	return w.tidy(ctx)
}

// tidy drops what is staged and not needed any more: of this writer, what lies
// below the oldest record that waits; of earlier starts of the job, everything,
// since the checkpoint that promised it has a successor.
func (w *heldWriter[T]) tidy(ctx context.Context) error {
	if !w.tidied && w.open.Task == 0 {
		if err := dropOlder(ctx, w.staging.sys, w.open); err != nil {
			return fmt.Errorf("staging topics of earlier starts cannot be deleted: %w", err)
		}
	}
	w.tidied = true
	return w.staging.trim(ctx, append(slices.Clone(w.state.Transactions), w.current))
}

// commit begins to append a transaction.
func commit(ctx context.Context, t *transaction, from *staging, to *appender) error {
	return t.each(ctx, from, func(runs []run) error { return appendRuns(ctx, runs, to) })
}

// appendRuns appends what the producer has not appended yet.
func appendRuns(ctx context.Context, runs []run, to *appender) error {
	for _, r := range runs {
		if r.Partition < 0 || r.Partition >= to.topic.Partitions() {
			return fmt.Errorf("a record was held for partition %d of topic %s, which has %d", r.Partition, to.topic.Name(), to.topic.Partitions())
		}
		next := to.producer.Sequence(r.Partition)
		end := r.First + uint64(len(r.records))
		if next < r.First {
			return fmt.Errorf("topic %s, partition %d: records with sequences from %d to before %d are missing", to.topic.Name(), r.Partition, next, r.First)
		}
		if next >= end {
			continue
		}
		if err := to.append(ctx, r.Partition, r.records[next-r.First:]); err != nil {
			return err
		}
	}
	return nil
}

// Close gives up what is held: no checkpoint covers it. The staging topic goes
// when no checkpoint needs it.
func (w *heldWriter[T]) Close() error {
	err := w.close()
	if len(w.state.Transactions) > 0 {
		return err
	}
	return errors.Join(err, w.staging.drop())
}
