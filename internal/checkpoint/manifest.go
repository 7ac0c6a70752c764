package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Format is the newest version of manifests. Every one is read, and each manifest
// is written in the oldest that can express it.
//
//	1  everything in one JSON object
//	2  the bulk of it in a form of its own: see AppendBulk
//	3  with Back, which must not be passed over
const (
	Format      = 3
	PlainFormat = 2 // of manifests without Back
)

// Manifest describes a complete checkpoint: where the sources were, where the
// pieces of keyed state lie, and what the sinks need to go on. What grows with the
// job is called its bulk, and is stored in a form of its own; as JSON it is read
// from manifests of format 1.
type Manifest struct {
	Format      int    `json:"format"`
	Job         string `json:"job"`
	Checkpoint  uint64 `json:"checkpoint"`
	Incarnation uint64 `json:"incarnation"` // of the job: its fencing epoch
	TimeMs      int64  `json:"time_ms"`
	KeyGroups   int    `json:"key_groups"`
	ExactlyOnce bool   `json:"exactly_once"`
	// Finished: the input had ended and all results were out.
	Finished bool `json:"finished,omitempty"`
	// Bounded: the job was told where to end, so there may be more to read.
	Bounded bool `json:"bounded,omitempty"`
	// Settled: it is the last one, and all sinks have committed it.
	Settled bool `json:"settled,omitempty"`
	// Savepoint is the name the user gave. Savepoints lie in logs of their own;
	// those of format 1 are among the job's checkpoints, and are kept.
	Savepoint string `json:"savepoint,omitempty"`
	// Back: no task has contributed to it. It says where a job begins that was
	// told to go back, until that has completed a checkpoint; nil: it is one.
	Back  *Back `json:"back,omitempty"`
	Stats Stats `json:"stats"`

	// The bulk.

	// Graph is the drawing of the topology, for comparing it with a later one.
	Graph json.RawMessage `json:"graph,omitempty"`
	// Positions, by operator and origin (split or channel).
	Positions map[string]map[string][]byte `json:"positions,omitempty"`
	// Sinks, by operator and task.
	Sinks map[string][][]byte `json:"sinks,omitempty"`
	// Segments, by operator and key group: what makes up the group's state,
	// oldest first.
	Segments map[string][][]Ref `json:"segments,omitempty"`
	// Retained are the earlier checkpoints that are still kept, oldest first.
	Retained []Retained `json:"retained,omitempty"`
}

// Back is how a job begins that was told to go back, from the state of its manifest.
type Back struct {
	Fresh bool `json:"fresh,omitempty"` // without state, sinks anew
	// Start, Offset and TimeMs say where sources begin; Start is a
	// dataflow.StartKind, and 0 stands for the positions of the manifest.
	Start  uint8 `json:"start,omitempty"`
	Offset int64 `json:"offset,omitempty"`
	TimeMs int64 `json:"time_ms,omitempty"`
}

// Stats are figures about a checkpoint.
type Stats struct {
	DurationMs int64 `json:"duration_ms"`
	Bytes      int64 `json:"bytes"`       // written for this checkpoint
	StateBytes int64 `json:"state_bytes"` // all that its state refers to
	RecordsIn  int64 `json:"records_in"`  // by sources, since the job began
}

// Retained names a checkpoint that is kept.
type Retained struct {
	Checkpoint uint64 `json:"checkpoint"`
	Seq        uint64 `json:"seq"` // of its manifest in the log
	Parts      uint64 `json:"-"`   // entries in front of Seq that belong to the manifest
	Chunk      uint64 `json:"chunk"`
	Savepoint  string `json:"savepoint,omitempty"`
}

// Keep returns the newest n of the checkpoints that are kept, oldest first, and
// those of format 1 that are savepoints.
func Keep(all []Retained, n int) []Retained {
	surplus := -n
	for _, r := range all {
		if r.Savepoint == "" {
			surplus++
		}
	}
	kept := make([]Retained, 0, len(all))
	for _, r := range all {
		if r.Savepoint == "" && surplus > 0 {
			surplus--
			continue
		}
		kept = append(kept, r)
	}
	return kept
}

// Ref says where a segment lies: in which entry of the chunk log it begins, and
// where in that. A long one goes on in the entries behind it.
type Ref struct {
	Seq    uint64
	Offset int
	Length int
	// More: the next segment of the group was written together with this one,
	// so that for weighing what to merge they are one.
	More bool
}

// UnmarshalJSON reads a Ref of format 1: [seq, offset, length].
func (r *Ref) UnmarshalJSON(b []byte) error {
	var v [3]uint64
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*r = Ref{Seq: v[0], Offset: int(v[1]), Length: int(v[2])}
	return nil
}

// Segment is a piece of one operator's key group, once stored.
type Segment struct {
	Node  string
	Group int
	Ref   Ref
}

// Part is what one task contributes to a checkpoint.
type Part struct {
	Positions map[string]map[string][]byte // by operator and origin
	Segments  []Segment                    // all since the last complete checkpoint, in order
	Sinks     map[string][]byte            // by operator
	Task      int
	Bytes     int64
	RecordsIn int64
}

// Next returns the manifest that follows from prev (nil: the first) and the
// parts of all tasks. Everything but the segments is replaced; segments add up.
func Next(prev *Manifest, head Manifest, parts []Part) *Manifest {
	m := head
	m.Format = PlainFormat
	m.Positions = map[string]map[string][]byte{}
	m.Sinks = map[string][][]byte{}
	m.Segments = map[string][][]Ref{}
	if prev != nil {
		for node, groups := range prev.Segments {
			m.Segments[node] = slices.Clone(groups)
		}
		m.Stats.RecordsIn = prev.Stats.RecordsIn
	}
	for _, p := range parts {
		m.add(&p, prev)
	}
	m.Stats.StateBytes = m.stateBytes()
	return &m
}

func (m *Manifest) add(p *Part, prev *Manifest) {
	for node, origins := range p.Positions {
		if m.Positions[node] == nil {
			m.Positions[node] = map[string][]byte{}
		}
		for origin, position := range origins {
			m.Positions[node][origin] = position
		}
	}
	for node, state := range p.Sinks {
		for len(m.Sinks[node]) <= p.Task {
			m.Sinks[node] = append(m.Sinks[node], nil)
		}
		m.Sinks[node][p.Task] = state
	}
	for _, s := range p.Segments {
		groups := m.Segments[s.Node]
		if groups == nil {
			groups = make([][]Ref, m.KeyGroups)
			m.Segments[s.Node] = groups
		}
		refs := append(slices.Clip(groups[s.Group]), s.Ref)
		if n := len(refs) - 1; n > prev.segments(s.Node, s.Group) {
			refs[n-1].More = true
		}
		groups[s.Group] = refs
	}
	m.Stats.Bytes += p.Bytes
	m.Stats.RecordsIn += p.RecordsIn
}

// segments is the number of segments of a group; 0 where there is no manifest.
func (m *Manifest) segments(node string, group int) int {
	if m == nil || m.Segments[node] == nil {
		return 0
	}
	return len(m.Segments[node][group])
}

func (m *Manifest) stateBytes() (n int64) {
	for _, groups := range m.Segments {
		for _, refs := range groups {
			for _, r := range refs {
				n += int64(r.Length)
			}
		}
	}
	return n
}

// OldestChunk is the lowest entry of the chunk log that the checkpoint needs;
// false when it needs none.
func (m *Manifest) OldestChunk() (seq uint64, ok bool) {
	for _, groups := range m.Segments {
		for _, refs := range groups {
			for _, r := range refs {
				if !ok || r.Seq < seq {
					seq, ok = r.Seq, true
				}
			}
		}
	}
	return seq, ok
}

// Replacement says that adjacent segments of a group were merged into others.
type Replacement struct {
	Node  string
	Group int
	Old   []Ref
	New   []Ref // none: nothing is left of them
}

// Replace applies replacements. They stay right when segments were added since
// they were made, because segments are only ever added at the end. One whose old
// segments the group no longer has comes after another that replaced them: it has
// nothing left to do, and would take away what is newer.
func (m *Manifest) Replace(rs []Replacement) {
	for _, r := range rs {
		groups := m.Segments[r.Node]
		if r.Group >= len(groups) || len(r.Old) == 0 {
			continue
		}
		refs := groups[r.Group]
		at := slices.Index(refs, r.Old[0])
		if at < 0 || len(refs)-at < len(r.Old) || !slices.Equal(refs[at:at+len(r.Old)], r.Old) {
			continue
		}
		groups[r.Group] = slices.Concat(refs[:at], r.New, refs[at+len(r.Old):])
	}
	m.Stats.StateBytes = m.stateBytes()
}

// ErrFormat: the checkpoint was written by a newer release.
var ErrFormat = errors.New("the checkpoint has a newer format")

// FormatError says that a manifest has a format newer than Format.
func FormatError(format int) error {
	return fmt.Errorf("%w: it is %d, and this release reads formats up to %d; use the release that wrote it, or a newer one", ErrFormat, format, Format)
}

// Check refuses a manifest that this code cannot restore.
func (m *Manifest) Check(job string) error {
	switch {
	case m.Format > Format:
		return FormatError(m.Format)
	case m.Job != job:
		return fmt.Errorf("checkpoint %d belongs to job %q", m.Checkpoint, m.Job)
	case m.KeyGroups <= 0:
		return fmt.Errorf("checkpoint %d has %d key groups", m.Checkpoint, m.KeyGroups)
	}
	for node, groups := range m.Segments {
		if len(groups) != m.KeyGroups {
			return fmt.Errorf("checkpoint %d: operator %q has %d key groups, the job %d", m.Checkpoint, node, len(groups), m.KeyGroups)
		}
	}
	return nil
}
