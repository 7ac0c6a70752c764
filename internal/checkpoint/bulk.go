package checkpoint

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/troupestream/troupe/internal/wire"
)

// The bulk of a manifest is what grows with the job: with its operators, splits,
// key groups and sinks. It is written as
//
//	graph      bytes
//	positions  count, and of each operator: name, count, and of each origin: id, bytes
//	sinks      count, and of each operator: name, count, and of each task: 0, or 1 + the length, bytes
//	segments   count, and of each operator: name, count, and of each key group: count, and of each segment:
//	           entry, as a signed difference to the one before it of the operator; offset; 2 × length, + 1 for More
//	retained   count, and of each: checkpoint, entry of the manifest, entries in front of it, oldest chunk, savepoint
//
// where counts, lengths and other numbers are varints as of encoding/binary, and
// names and bytes stand behind their length. Names are sorted, so equal manifests
// have equal bytes.

// ErrBulk: the bytes are not what AppendBulk wrote.
var ErrBulk = errors.New("corrupt bulk of a manifest")

// AppendBulk appends the bulk of the manifest.
func (m *Manifest) AppendBulk(b []byte) []byte {
	b = wire.AppendText(b, m.Graph)
	b = appendNames(b, m.Positions, func(b []byte, origins map[string][]byte) []byte {
		return appendNames(b, origins, wire.AppendText[[]byte])
	})
	b = appendNames(b, m.Sinks, appendStates)
	b = appendNames(b, m.Segments, appendGroups)
	b = binary.AppendUvarint(b, uint64(len(m.Retained)))
	for _, r := range m.Retained {
		for _, v := range []uint64{r.Checkpoint, r.Seq, r.Parts, r.Chunk} {
			b = binary.AppendUvarint(b, v)
		}
		b = wire.AppendText(b, r.Savepoint)
	}
	return b
}

func appendNames[V any](b []byte, all map[string]V, one func([]byte, V) []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b = one(wire.AppendText(b, name), all[name])
	}
	return b
}

func appendStates(b []byte, states [][]byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(states)))
	for _, s := range states {
		if s == nil {
			b = append(b, 0)
			continue
		}
		b = append(binary.AppendUvarint(b, uint64(len(s))+1), s...)
	}
	return b
}

func appendGroups(b []byte, groups [][]Ref) []byte {
	b = binary.AppendUvarint(b, uint64(len(groups)))
	before := uint64(0)
	for _, refs := range groups {
		b = binary.AppendUvarint(b, uint64(len(refs)))
		for _, r := range refs {
			length := uint64(r.Length) << 1
			if r.More {
				length++
			}
			b = binary.AppendVarint(b, int64(r.Seq-before))
			b = binary.AppendUvarint(b, uint64(r.Offset))
			b = binary.AppendUvarint(b, length)
			before = r.Seq
		}
	}
	return b
}

// ReadBulk sets the bulk of the manifest, whose other fields are there, to what
// AppendBulk wrote. The error is an ErrBulk. Nothing is allocated for what is not
// there.
func (m *Manifest) ReadBulk(b []byte) error {
	d := &decoder{wire.NewReader(b, ErrBulk)}
	m.Graph = d.text()
	m.Positions = readNames(d, func(d *decoder) map[string][]byte { return readNames(d, (*decoder).text) })
	m.Sinks = readNames(d, (*decoder).states)
	m.Segments = readNames(d, func(d *decoder) [][]Ref { return d.groups(m.KeyGroups) })
	m.Retained = make([]Retained, d.Count(5))
	for i := range m.Retained {
		m.Retained[i] = Retained{Checkpoint: d.Num(), Seq: d.Num(), Parts: d.Num(),
			Chunk: d.Num(), Savepoint: string(d.text())}
	}
	return d.End()
}

// decoder reads a bulk.
type decoder struct{ wire.Reader }

func (d *decoder) text() []byte { return slices.Clone(d.Bytes()) }

func readNames[V any](d *decoder, one func(*decoder) V) map[string]V {
	all := map[string]V{}
	for range d.Count(2) {
		name := string(d.text())
		all[name] = one(d)
	}
	return all
}

func (d *decoder) states() [][]byte {
	all := make([][]byte, d.Count(1))
	for i := range all {
		if n := d.Int(); n > 0 {
			all[i] = slices.Clone(d.Take(n - 1))
		}
	}
	return all
}

func (d *decoder) groups(want int) [][]Ref {
	n := d.Count(1)
	if n != want {
		d.Fail("%d key groups, and not %d", n, want)
		return nil
	}
	groups, before := make([][]Ref, n), uint64(0)
	for g := range groups {
		refs := make([]Ref, d.Count(3))
		for i := range refs {
			before += uint64(d.Signed())
			r := Ref{Seq: before, Offset: d.Int()}
			length := d.Num()
			if length>>1 > math.MaxInt32 {
				d.Fail("a length of %d", length>>1)
			}
			r.Length, r.More = int(length>>1), length&1 == 1
			refs[i] = r
		}
		if len(refs) > 0 {
			groups[g] = refs
		}
	}
	return groups
}
