package actor

import (
	"fmt"
	"maps"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/snapshots"
)

// A job that is told to begin elsewhere than behind its newest checkpoint goes back.
// Its sinks are then opened anew, or where they were once: files are cut. Were it to
// die before its first checkpoint, and to be started without being told again, the
// newest checkpoint would be about output that is gone; if the job had finished
// there, it would even seem to be done. So before the first sink is opened, a
// manifest is stored that says where the job begins. It is the newest from then on:
// every start goes back likewise, until a checkpoint is complete.

// goingBack says whether an attempt has to put on record that it goes back.
type goingBack struct {
	wanted bool
	again  bool // the newest manifest is such a record, of a start that came to nothing
}

// told says whether the options that say where to begin still hold: they are about
// one start of the job, until that is on record or has completed a checkpoint.
func (a *attempt) told() bool { return !a.spec.progressed.Load() }

// goesBack says whether the job is told to begin elsewhere than where it left off.
func (a *attempt) goesBack(found []snapshots.Found) bool {
	r := &a.spec.Restore
	if !a.told() {
		return false
	}
	return r.FreshState || r.Start.Kind != dataflow.StartDefault || r.Savepoint != "" ||
		r.Checkpoint != 0 && len(found) > 0 && found[0].Checkpoint != r.Checkpoint
}

// fresh says whether an attempt that begins with m is to begin without state.
func (a *attempt) fresh(m *checkpoint.Manifest) bool {
	return a.told() && a.spec.Restore.FreshState || m != nil && m.Back != nil && m.Back.Fresh
}

// start says where sources begin that have no position. What the job is told now
// goes before what it was told when it went back.
func (a *attempt) start(m *checkpoint.Manifest) dataflow.Start {
	r := &a.spec.Restore
	if m == nil || m.Back == nil || a.told() && (r.FreshState || r.Start.Kind != dataflow.StartDefault) {
		return r.Start
	}
	return dataflow.Start{Kind: dataflow.StartKind(m.Back.Start), Offset: m.Back.Offset, Time: m.Back.TimeMs}
}

// replays says whether sources are to begin elsewhere than where they were.
func (a *attempt) replays(m *checkpoint.Manifest) bool {
	return a.start(m).Kind != dataflow.StartDefault && (a.told() || m != nil && m.Back != nil)
}

// tellBack says so when a job goes on going back without being told again.
func (a *attempt) tellBack(m *checkpoint.Manifest) {
	if m == nil || m.Back == nil || a.back.wanted {
		return
	}
	a.sys.log.Warn("the job was told to go back and has completed no checkpoint since; it goes back likewise now",
		"job", a.spec.Name, "fresh", m.Back.Fresh, "record", m.Checkpoint)
}

// goBack puts on record that the job goes back. What can be known to fail behind
// that is looked at first: a job that is refused has not gone back.
func (b *taskBuilder) goBack() error {
	a := b.attempt
	if !a.back.wanted {
		return nil
	}
	err := b.eachSink(func(n *dataflow.Node, o dataflow.SinkOpen) error { return dataflow.CheckSink(b.ctx, n.Sink, o) })
	if err != nil {
		return err
	}
	m := b.record()
	kept, err := a.store.WriteManifest(b.ctx, m)
	if err != nil {
		return fmt.Errorf("put on record that the job goes back: %w", err)
	}
	a.back, a.lastNumber, a.retained = goingBack{}, m.Checkpoint, append(m.Retained, kept)
	a.spec.progressed.Store(true) // a restart finds the record
	return nil
}

// record is the manifest that says where the job begins: with what of the one it
// goes back to the topology still has. It takes the place of a record before it, so
// that starts that come to nothing do not push checkpoints out.
func (b *taskBuilder) record() *checkpoint.Manifest {
	a := b.attempt
	m := &checkpoint.Manifest{Format: checkpoint.Format, Job: a.spec.Name, Checkpoint: a.lastNumber + 1,
		Incarnation: a.incarnation(), TimeMs: a.now().UnixMilli(), KeyGroups: a.spec.KeyGroups,
		ExactlyOnce: a.spec.ExactlyOnce, Graph: a.spec.Graph, Retained: a.retained,
		Back: &checkpoint.Back{Fresh: b.fresh}}
	if a.back.again {
		m.Retained = a.retained[:len(a.retained)-1]
	}
	if b.replay {
		m.Back.Start, m.Back.Offset, m.Back.TimeMs = uint8(b.start.Kind), b.start.Offset, b.start.Time
	}
	if from := b.manifest; from != nil {
		m.Finished, m.Segments = a.finished(from), from.Segments
		m.Positions, m.Sinks = maps.Clone(from.Positions), maps.Clone(from.Sinks)
		m.Stats.RecordsIn, m.Stats.StateBytes = from.Stats.RecordsIn, from.Stats.StateBytes
	}
	maps.DeleteFunc(m.Positions, func(name string, _ map[string][]byte) bool { return !a.has(name) })
	maps.DeleteFunc(m.Sinks, func(name string, _ [][]byte) bool { return !a.has(name) })
	return m
}

// has says whether the topology has an operator of that name.
func (a *attempt) has(name string) bool {
	for _, n := range a.spec.Nodes {
		if n.Name == name {
			return true
		}
	}
	return false
}
