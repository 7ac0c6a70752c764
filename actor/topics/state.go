package topics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/topology"
)

const stateVersion = 1

// state is what a writer returns from Prepare.
type state struct {
	Version      int           `json:"version"`
	Producer     string        `json:"producer"`
	Topic        string        `json:"topic"`
	Staging      string        `json:"staging,omitempty"` // topic that the spills are in
	Transactions []transaction `json:"transactions,omitempty"`
}

// transaction is what one checkpoint promises to append: first the spills, then
// what is in Inline.
type transaction struct {
	Checkpoint uint64      `json:"checkpoint"`
	Spills     []spilled   `json:"spills,omitempty"`
	Inline     []inlineRun `json:"inline,omitempty"`
}

// run is records of one partition, with sequences that follow each other.
type run struct {
	Partition int    `json:"partition"`
	First     uint64 `json:"first"`
	Count     int    `json:"count"` // in a marker; otherwise len(records) counts

	records []codec.Record
}

// inlineRun is a run whose records are a batch, as codec stores it.
type inlineRun struct {
	Partition int    `json:"partition"`
	First     uint64 `json:"first"`
	Batch     []byte `json:"batch"`
}

// hold takes runs into the transaction itself.
func (t *transaction) hold(runs []run) error {
	for _, r := range runs {
		var s codec.Section
		for i := range r.records {
			s.Add(&r.records[i])
		}
		batch, err := codec.AppendBatch(nil, &codec.BatchInfo{}, []codec.Section{s})
		if err != nil {
			return err
		}
		t.Inline = append(t.Inline, inlineRun{r.Partition, r.First, batch})
	}
	return nil
}

func (t *transaction) inline() ([]run, error) {
	var runs []run
	for _, in := range t.Inline {
		batch, err := codec.OpenBatch(in.Batch, codec.DefaultLimits())
		if err != nil {
			return nil, fmt.Errorf("the records that the checkpoint holds: %w", err)
		}
		r := run{Partition: in.Partition, First: in.First}
		for rec := (codec.Record{}); batch.Next(&rec); {
			r.records = append(r.records, rec)
			rec.Headers = nil // the next record must not write over these
		}
		if err := batch.Err(); err != nil {
			return nil, fmt.Errorf("the records that the checkpoint holds: %w", err)
		}
		runs = append(runs, r)
	}
	return runs, nil
}

func parseState(b []byte) (s state, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil || s.Version != stateVersion || s.Producer == "" || s.Topic == "" {
		return s, fmt.Errorf("the checkpoint does not hold the state of a topic (%.100q); start the job afresh", b)
	}
	return s, nil
}

// recommit appends what the writers of a checkpoint promised. Whoever of them,
// or of those that tried before, has appended some of it already used the same
// producer ids and sequences, so that comes to nothing.
func recommit(ctx context.Context, sys *actor.System, o topology.SinkOpen) error {
	for _, encoded := range o.States {
		if len(encoded) == 0 {
			continue // of a writer that held nothing back
		}
		s, err := parseState(encoded)
		if err != nil {
			return err
		}
		if err := recommitOne(ctx, sys, s, o); err != nil {
			return fmt.Errorf("append to topic %s what the checkpoint promised: %w", s.Topic, err)
		}
	}
	return nil
}

func recommitOne(ctx context.Context, sys *actor.System, s state, o topology.SinkOpen) (err error) {
	if len(s.Transactions) == 0 {
		return nil
	}
	t, err := sys.Topic(ctx, s.Topic)
	if err != nil {
		return err
	}
	from := &staging{sys: sys, name: s.Staging}
	oldest, err := from.first(ctx)
	if err != nil {
		return err
	}
	waiting := withoutCommitted(s.Transactions, oldest)
	next, err := firsts(ctx, waiting, from)
	if err != nil {
		return err
	}
	// The higher epoch shuts out a predecessor that has not noticed its end.
	a, err := newAppender(sys, t, o, actor.ProducerOptions{ID: s.Producer, Epoch: o.Incarnation, Next: next})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	for i := range waiting {
		if err := commit(ctx, &waiting[i], from, a); err != nil {
			return err
		}
	}
	return a.flush(ctx)
}

// withoutCommitted leaves out what was certainly committed: a spill that is gone,
// because only then is it dropped, and everything in front of it.
func withoutCommitted(all []transaction, oldest uint64) []transaction {
	for i := len(all) - 1; i >= 0; i-- {
		spills := all[i].Spills
		for j := len(spills) - 1; j >= 0; j-- {
			if spills[j].Offset < oldest {
				waiting := slices.Clone(all[i:])
				waiting[0].Spills = spills[j+1:]
				return waiting
			}
		}
	}
	return all
}

// firsts finds the lowest sequence of every partition.
func firsts(ctx context.Context, all []transaction, from *staging) (map[int]uint64, error) {
	next := map[int]uint64{}
	for i := range all {
		err := all[i].each(ctx, from, func(runs []run) error {
			for _, r := range runs {
				if first, seen := next[r.Partition]; !seen || r.First < first {
					next[r.Partition] = r.First
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return next, nil
}

// each calls f with the transaction's runs, in order, one spill at a time.
func (t *transaction) each(ctx context.Context, from *staging, f func([]run) error) error {
	for _, at := range t.Spills {
		runs, err := from.get(ctx, at)
		if err == nil {
			err = f(runs)
		}
		if err != nil {
			return err
		}
	}
	runs, err := t.inline()
	if err != nil {
		return err
	}
	return f(runs)
}
