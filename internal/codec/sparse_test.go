package codec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// placed is a record of a sparse batch with what belongs to it.
type placed struct {
	offset              uint64
	appended, compacted int64
	Record
}

func sparseBatch(t testing.TB, c Compression, all []placed) []byte {
	t.Helper()
	var s Sparse
	for i := range all {
		s.Add(all[i].offset, all[i].appended, all[i].compacted, &all[i].Record)
	}
	info := BatchInfo{Epoch: 7, Compression: c}
	b, err := s.AppendBatch(nil, &info)
	if err != nil {
		t.Fatal(err)
	}
	if read, err := ReadInfo(b, DefaultLimits()); err != nil || fmt.Sprint(read) != fmt.Sprint(info) {
		t.Fatalf("the header reads %+v, %v; it was written as %+v", read, err, info)
	}
	return b
}

func readSparse(t testing.TB, b []byte, from uint64) []placed {
	t.Helper()
	batch, err := OpenBatch(b, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if err := batch.SkipTo(from); err != nil {
		t.Fatal(err)
	}
	var all []placed
	for batch.Left() > 0 {
		p := placed{offset: batch.Offset()}
		if !batch.Next(&p.Record) {
			t.Fatalf("it ends early: %v", batch.Err())
		}
		p.Headers = slices.Clone(p.Headers)
		p.appended, p.compacted = batch.Appended(), batch.Compacted()
		all = append(all, p)
	}
	var r Record
	if batch.Next(&r) || batch.Err() != nil || batch.Offset() != batch.Info.End() {
		t.Fatalf("its end: %v, offset %d of %d", batch.Err(), batch.Offset(), batch.Info.End())
	}
	return all
}

func samePlaced(a, b placed) bool {
	return a.offset == b.offset && a.appended == b.appended && a.compacted == b.compacted && sameRecord(a.Record, b.Record)
}

func somePlaced() []placed {
	rs := someRecords()
	return []placed{
		{10, 1700000000000, NoTime, rs[0]}, {11, 1700000000000, NoTime, rs[1]},
		{500, 1700000000777, 1700000009999, Record{Key: []byte("gone"), Time: NoTime}},
		{1 << 40, 1700000100000, NoTime, rs[3]},
	}
}

func TestASparseBatchHoldsWhatWasPutIn(t *testing.T) {
	bytesOf := func(most int) *rapid.Generator[[]byte] {
		return rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, most))
	}
	rapid.Check(t, func(rt *rapid.T) {
		offset, appended := rapid.Uint64Range(0, 1<<62).Draw(rt, "base"), rapid.Int64Range(0, 1<<50).Draw(rt, "begun")
		var all []placed
		for range rapid.IntRange(1, 40).Draw(rt, "records") {
			p := placed{offset, appended, NoTime, Record{Key: bytesOf(300).Draw(rt, "key"), Value: bytesOf(300).Draw(rt, "value"),
				Time: rapid.OneOf(rapid.Just(NoTime), rapid.Int64()).Draw(rt, "time")}}
			if p.Value == nil && rapid.Bool().Draw(rt, "stamped") {
				p.compacted = rapid.Int64Range(0, 1<<50).Draw(rt, "compacted")
			}
			all = append(all, p)
			offset += rapid.OneOf(rapid.Just(uint64(1)), rapid.Uint64Range(1, 1<<40)).Draw(rt, "gap")
			appended += rapid.Int64Range(0, 1<<40).Draw(rt, "later")
		}
		b := sparseBatch(t, Compression(rapid.IntRange(0, 2).Draw(rt, "compression")), all)
		from := rapid.Uint64Range(all[0].offset, offset).Draw(rt, "from")
		want := slices.DeleteFunc(slices.Clone(all), func(p placed) bool { return p.offset < from })
		if got := readSparse(t, b, from); !slices.EqualFunc(got, want, samePlaced) {
			rt.Fatalf("from %d it reads %+v, want %+v", from, got, want)
		}
	})
}

func TestASparseBatchCanBeFilledAgain(t *testing.T) {
	var s Sparse
	if _, err := s.AppendBatch(nil, new(BatchInfo)); err == nil {
		t.Error("an empty batch was written")
	}
	for round := range uint64(3) {
		s.Reset()
		s.Add(round, 5, NoTime, &Record{Key: []byte("k"), Time: NoTime})
		s.Add(round+9, 3, NoTime, &Record{Key: []byte("l"), Time: NoTime}) // a clock that was set back
		b, err := s.AppendBatch(nil, new(BatchInfo))
		if err != nil {
			t.Fatal(err)
		}
		if got := readSparse(t, b, 0); len(got) != 2 || got[1].offset != round+9 || got[1].appended != 5 {
			t.Errorf("it holds %+v", got)
		}
	}
}

// Every flipped bit is found, and so is what the checksums cannot know: offsets
// that do not rise, or leave the span.
func TestADamagedSparseBatchIsFound(t *testing.T) {
	b := sparseBatch(t, None, somePlaced())
	for i := range b {
		flipped := slices.Clone(b)
		flipped[i] ^= 1
		if _, err := OpenBatch(flipped, DefaultLimits()); err == nil {
			t.Fatalf("a flipped bit of byte %d was not found", i)
		}
	}
	for name, mend := range map[string]func(*Sparse, *BatchInfo){
		"an offset that does not rise":  func(s *Sparse, _ *BatchInfo) { s.Add(10, 0, NoTime, &Record{}) },
		"an offset below the first":     func(s *Sparse, _ *BatchInfo) { s.Add(3, 0, NoTime, &Record{}) },
		"a span that is too large":      func(_ *Sparse, info *BatchInfo) { info.Span++ },
		"a span without room":           func(_ *Sparse, info *BatchInfo) { info.Span = 1 },
		"records of a batch of the old": func(_ *Sparse, info *BatchInfo) { info.Sparse = false },
	} {
		var s Sparse
		s.Add(10, 0, NoTime, &Record{})
		s.Add(12, 0, NoTime, &Record{})
		info := BatchInfo{Sparse: true, Span: 3}
		mend(&s, &info)
		info.BaseOffset = s.base
		b, err := AppendBatch(nil, &info, []Section{s.section})
		if err == nil {
			var batch *Batch
			if batch, err = OpenBatch(b, DefaultLimits()); err == nil {
				for r := (Record{}); batch.Next(&r); {
				}
				err = batch.Err()
			}
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGoldenSparseBatch(t *testing.T) {
	b := sparseBatch(t, None, somePlaced())
	path := filepath.Join("testdata", "batch-v2-sparse.bin")
	if *rewrite {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(golden, b) {
		t.Error("the bytes of a sparse batch have changed: that is a new version of the format")
	}
	if got := readSparse(t, golden, 0); !slices.EqualFunc(got, somePlaced(), samePlaced) {
		t.Errorf("the golden file reads %+v", got)
	}
}

func FuzzOpenSparseBatch(f *testing.F) {
	for _, c := range []Compression{None, S2, Zstd} {
		f.Add(sparseBatch(f, c, somePlaced()))
	}
	l := DefaultLimits()
	l.BatchBytes = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > atHead+5 {
			b = slices.Clone(b)
			b[atVersion] = versionSparse
			if size := int(uint32(b[atHeadSize])<<24 | uint32(b[atHeadSize+1])<<16 | uint32(b[atHeadSize+2])<<8 | uint32(b[atHeadSize+3])); size >= 5 && size < len(b)-atHead-5 {
				b = reseal(b)
			}
		}
		batch, err := OpenBatch(b, l)
		if err != nil {
			return
		}
		var r Record
		n, least := 0, batch.Info.BaseOffset
		for {
			at := batch.Offset()
			if !batch.Next(&r) {
				break
			}
			if at < least || at >= batch.Info.End() {
				t.Fatalf("record %d has offset %d: below %d, or not before %d", n, at, least, batch.Info.End())
			}
			least = at + 1
			n++
		}
		if batch.Err() == nil && n != batch.Info.Count {
			t.Fatalf("%d records of %d", n, batch.Info.Count)
		}
	})
}
