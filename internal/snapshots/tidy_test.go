package snapshots

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// TestMergersKeepPace: however large and small what checkpoints add to a group,
// it is made up of a bounded number of runs, and what is written once is rewritten
// a number of times that grows with the logarithm only.
func TestMergersKeepPace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		usual := rapid.SampledFrom([]int{100, 64 << 10, 512 << 10, 4 << 20}).Draw(t, "usual")
		var refs []checkpoint.Ref
		added, rewritten, checkpoints := 0, 0, rapid.IntRange(1, 600).Draw(t, "checkpoints")
		for seq := range uint64(checkpoints) {
			n := usual/2 + int(seq*7919)%usual
			if rapid.IntRange(0, 50).Draw(t, "now and then") == 0 {
				n *= 40
			}
			refs = append(refs, checkpoint.Ref{Seq: seq, Length: n/2 + 1, More: true}, checkpoint.Ref{Seq: seq, Length: n / 2})
			added += n
			from := mergeFrom(refs)
			if from == len(refs) {
				continue
			}
			merged := checkpoint.Ref{Seq: seq, Offset: 1}
			for _, r := range refs[from:] {
				merged.Length += r.Length
			}
			if from > 0 && refs[from-1].More {
				t.Fatalf("cut in the middle of a run: %v", refs)
			}
			rewritten += merged.Length
			refs = append(refs[:from:from], merged)
		}
		if runs := len(runsOf(refs)); runs > SegmentsMax {
			t.Errorf("%d runs", runs)
		}
		if added > 8*wholeBytes && rewritten > 12*added {
			t.Errorf("%d MiB were added, and %d rewritten", added>>20, rewritten>>20)
		}
	})
}

// bigGroup is a group of about 20 MiB of which each checkpoint changes a little.
const (
	bigKeys   = 20_000
	bigChange = 400
)

func bigSegment(round int, keys ...int) (s []byte) {
	v := noise(1000)
	for _, k := range keys {
		binary.BigEndian.PutUint64(v, uint64(round))
		s = dataflow.AppendEntry(s, fmt.Append(nil, k), v)
	}
	return s
}

func keysFrom(first, n int) (keys []int) {
	for k := range n {
		keys = append(keys, (first+k)%bigKeys)
	}
	return keys
}

// TestAGroupLargerThanAnEntryIsTidied: the log stays in proportion to the state, and
// the state stays what it is.
func TestAGroupLargerThanAnEntryIsTidied(t *testing.T) {
	fake := storagefake.New()
	w := &bigWorld{T: t, st: open(t, fake)}
	w.checkpoint(bigSegment(0, keysFrom(0, bigKeys)...))
	newest, most := make([]uint64, bigKeys), uint64(0)
	for round := 1; round <= 100; round++ {
		keys := keysFrom(round%3*bigChange, bigChange)
		for _, k := range keys {
			newest[k] = uint64(round)
		}
		w.checkpoint(bigSegment(round, keys...))
		w.tidy()
		bytes, err := w.st.ChunkBytesKept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, bytes)
	}
	if limit := uint64(4*20<<20 + garbageFree); most > limit {
		t.Errorf("the log grew to %d MiB", most>>20)
	}
	if n := len(w.m.Segments["op"][0]); n > 100 {
		t.Errorf("%d segments", n)
	}
	got := make([]uint64, bigKeys)
	err := open(t, fake.Restart()).Segments(t.Context(), w.m, "op", 0, func(b []byte) error {
		return dataflow.EachEntry(b, func(e dataflow.Entry) error {
			var k int
			_, err := fmt.Sscan(string(e.Key), &k)
			got[k] = binary.BigEndian.Uint64(e.Value)
			return err
		})
	})
	if err != nil || !slices.Equal(got, newest) {
		t.Errorf("the state is another, %v", err)
	}
}

// bigWorld is a job of one key group.
type bigWorld struct {
	*testing.T
	st       *Store
	m        *checkpoint.Manifest
	n        uint64
	retained []checkpoint.Retained
	replaced []checkpoint.Replacement
}

func (w *bigWorld) checkpoint(segment []byte) {
	w.Helper()
	seq, err := w.st.WriteChunk(context.Background(), segment)
	if err != nil {
		w.Fatal(err)
	}
	w.n++
	part := checkpoint.Part{Segments: []checkpoint.Segment{{Node: "op", Ref: At(seq, 0, len(segment))}}}
	w.m = checkpoint.Next(w.m, manifest(w.n, 1), []checkpoint.Part{part})
	w.m.Replace(w.replaced)
	w.replaced = nil
	kept, err := w.st.WriteManifest(context.Background(), w.m)
	if err != nil {
		w.Fatal(err)
	}
	w.retained = checkpoint.Keep(append(w.retained, kept), 3)
}

func (w *bigWorld) tidy() {
	w.Helper()
	oldest := w.retained[0]
	for _, r := range w.retained {
		oldest.Chunk = min(oldest.Chunk, r.Chunk)
	}
	var err error
	if w.replaced, err = w.st.Tidy(context.Background(), w.m, oldest); err != nil {
		w.Fatal(err)
	}
}

// TestManyKeptCheckpointsAreNoReasonToMoveState: what only they need does not
// become less by that.
func TestManyKeptCheckpointsAreNoReasonToMoveState(t *testing.T) {
	w := &bigWorld{T: t, st: open(t, storagefake.New())}
	moved := 0
	for round := range 100 {
		keys := keysFrom(0, 600) // all of the state
		if round >= 50 {
			keys = keys[:10]
		}
		w.checkpoint(bigSegment(round, keys...))
		var err error
		first := checkpoint.Retained{Seq: 1, Chunk: 1} // it is kept for ever
		if w.replaced, err = w.st.Tidy(t.Context(), w.m, first); err != nil {
			t.Fatal(err)
		}
		if len(w.replaced) > 0 && round > 52 {
			moved++
		}
	}
	if moved == 0 || moved > 4 {
		t.Errorf("state was moved behind %d of 47 small checkpoints", moved)
	}
}

// TestAGroupIsMergedInShares: one larger than what is held in memory.
func TestAGroupIsMergedInShares(t *testing.T) {
	w := &bigWorld{T: t, st: open(t, storagefake.New())}
	for round := range 2 {
		w.checkpoint(bigSegment(round, keysFrom(0, bigKeys)...))
	}
	refs := w.m.Segments["op"][0]
	p := part{node: "op", refs: refs, start: true, bytes: int(w.m.Stats.StateBytes)}
	if p.bytes < mergeBytes {
		t.Fatalf("%d bytes are held at once", p.bytes)
	}
	done, err := w.st.rewrite(t.Context(), []part{p})
	if err != nil {
		t.Fatal(err)
	}
	w.m.Replace(done)
	seen := map[string]bool{}
	for _, r := range w.m.Segments["op"][0] {
		if r.Length > mergedBytes+2000 {
			t.Errorf("a segment of %d bytes", r.Length)
		}
		segment, err := w.st.chunks.segment(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		err = dataflow.EachEntry(segment, func(e dataflow.Entry) error {
			if seen[string(e.Key)] || binary.BigEndian.Uint64(e.Value) != 1 {
				t.Fatalf("key %s is there twice, or with an older value", e.Key)
			}
			seen[string(e.Key)] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if runs := runsOf(w.m.Segments["op"][0]); len(seen) != bigKeys || len(runs) != 1 {
		t.Errorf("%d keys in %d runs", len(seen), len(runs))
	}
}
