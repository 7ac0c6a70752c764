package topologytest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

// Snapshot is everything that a topology can be continued from.
type Snapshot struct {
	graph     topology.GraphJSON
	number    uint64
	segments  map[string]map[int][][]byte  // by node and key group, oldest first
	positions map[string]map[string][]byte // of operators, by node and origin
	splits    map[string]map[string][]byte // of sources, by node and split
	sinks     map[string][][]byte          // by node
}

// Snapshot takes a snapshot: a checkpoint with nothing in flight. The topology
// goes on behind it.
func (d *Driver) Snapshot() *Snapshot {
	if d.t != nil {
		d.t.Helper()
	}
	s, err := d.snapshot()
	d.fail(err)
	return s
}

func (d *Driver) snapshot() (*Snapshot, error) {
	if d.err != nil {
		return nil, d.err
	}
	if err := d.run.drain(); err != nil {
		return nil, err
	}
	d.number++
	s := &Snapshot{graph: d.graph.JSON(), number: d.number,
		positions: map[string]map[string][]byte{}, splits: map[string]map[string][]byte{}}
	for _, t := range d.run.tasks {
		if err := d.saveTask(t, s); err != nil {
			return nil, err
		}
	}
	s.segments = cloneSegments(d.saved)
	var err error
	if s.sinks, err = d.run.prepareSinks(d.number); err != nil {
		return nil, err
	}
	return s, d.run.commitSinks(d.number)
}

// saveTask adds what a task has. Its state is encoded a little at a time, as a
// runtime would between batches.
func (d *Driver) saveTask(t *task, s *Snapshot) error {
	t.Freeze()
	for more := true; more; {
		var err error
		more, err = t.Encode(64, func(node string, group int, segment []byte) {
			if d.saved[node] == nil {
				d.saved[node] = map[int][][]byte{}
			}
			d.saved[node][group] = append(d.saved[node][group], slices.Clone(segment))
		})
		if err != nil {
			return err
		}
	}
	for node, origins := range t.SavePositions() {
		put(s.positions, node, origins)
	}
	for _, sp := range t.splits {
		put(s.splits, t.chain.Source.Name, map[string][]byte{sp.id: slices.Clone(sp.reader.Position())})
	}
	return nil
}

func put(all map[string]map[string][]byte, node string, add map[string][]byte) {
	if all[node] == nil {
		all[node] = map[string][]byte{}
	}
	maps.Copy(all[node], add)
}

func cloneSegments(all map[string]map[int][][]byte) map[string]map[int][][]byte {
	c := make(map[string]map[int][][]byte, len(all))
	for node, groups := range all {
		c[node] = make(map[int][][]byte, len(groups))
		for g, segments := range groups {
			c[node][g] = slices.Clone(segments)
		}
	}
	return c
}

// Restore ends the tasks as a crash would and starts them from a snapshot,
// with other options if there are any. Inputs and slices are read again from
// where they were; what a Collected took since the snapshot is forgotten.
func (d *Driver) Restore(s *Snapshot, opts ...Option) {
	if d.t != nil {
		d.t.Helper()
	}
	d.fail(d.restore(s, opts))
}

func (d *Driver) restore(s *Snapshot, opts []Option) error {
	if err := d.run.close(); err != nil {
		return err
	}
	d.cancel()
	for _, o := range opts {
		o(&d.options)
	}
	return d.start(s)
}

// fits checks that a graph can go on from the snapshot.
func (s *Snapshot) fits(g *topology.Graph) error {
	if s == nil {
		return nil
	}
	if diff := g.Diff(s.graph); !diff.Compatible() {
		return fmt.Errorf("the snapshot does not fit topology %q:\n%s", g.Name(), diff)
	}
	return nil
}

// of is the snapshot as a task reads it.
func (s *Snapshot) of() dataflow.Snapshot {
	return dataflow.Snapshot{
		Positions: s.positions,
		Segments: func(node string, group int, f func([]byte) error) error {
			for _, segment := range s.segments[node][group] {
				if err := f(segment); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (s *Snapshot) position(node, split string) []byte {
	if s == nil {
		return nil
	}
	return s.splits[node][split]
}

// sinkStates are the states that inline sinks of a task continue from.
func (s *Snapshot) sinkStates(task int) map[string][][]byte {
	if s == nil || task != 0 {
		return nil
	}
	return s.sinks
}
