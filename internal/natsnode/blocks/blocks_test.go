package blocks

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/natsnode/blocks/blockstest"
)

const stream = "topic_t_0"

// block is one with the messages from first on, and where each of them ends.
func block(index int, first uint64, sizes ...int) (b []byte, ends []int) {
	for i, n := range sizes {
		b = blockstest.Message(b, stream, index, first+uint64(i), bytes.Repeat([]byte{byte(i)}, n))
		ends = append(ends, len(b))
	}
	return b, ends
}

// check checks a stream of these blocks, the first of which is 1.
func check(t testing.TB, all ...[]byte) *Stream {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "msgs"), all...)
	s, err := Check(dir, stream)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t testing.TB, dir string, all ...[]byte) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, b := range all {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i+1)+".blk"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever one change does to a block: what is before it counts, and it is
// damage unless it concerns the end of the last block alone.
func TestOneChange(t *testing.T) {
	dir := t.TempDir()
	msgs := filepath.Join(dir, "msgs")
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 300), 1, 12).Draw(rt, "sizes")
		b, ends := block(1, 1, sizes...)
		next := uint64(len(sizes) + 1)
		at := rapid.IntRange(0, len(b)-1).Draw(rt, "at")
		record := 0 // in which the change begins
		for ends[record] <= at {
			record++
		}
		follows := rapid.Bool().Draw(rt, "another block follows")
		cut, after := false, record < len(sizes)-1 // sound records after the change
		switch rapid.SampledFrom([]string{"flip", "cut", "clear"}).Draw(rt, "change") {
		case "flip":
			b[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		case "cut":
			b, cut, after = b[:at], true, false
		case "clear":
			was := bytes.Clone(b)
			clear(b[at:])
			for record < len(ends) && bytes.Equal(was[at:ends[record]], b[at:ends[record]]) {
				record++ // they were zero already
			}
			after = false
		}
		second := []byte(nil)
		if follows {
			second, _ = block(2, next, 10, 10)
		}
		if err := os.RemoveAll(msgs); err != nil {
			rt.Fatal(err)
		}
		if write(t, msgs, b); follows {
			write(t, msgs, b, second)
		}
		s, err := Check(dir, stream)
		if err != nil {
			rt.Fatal(err)
		}
		switch {
		case record == len(ends): // nothing has changed
			if s.Damage != nil || s.Torn != nil {
				rt.Fatalf("nothing is damaged: %+v", s)
			}
			return
		case cut && at == 0 && follows: // as after a trim: what must be there, others know
			if s.Damage != nil || s.First != next {
				rt.Fatalf("begins with %d, want %d: %+v", s.First, next, s.Damage)
			}
			return
		case s.Last != uint64(record):
			rt.Fatalf("whole up to %d, found %d", record, s.Last)
		case (s.Damage != nil) != (after || follows):
			rt.Fatalf("damage %+v, torn %+v", s.Damage, s.Torn)
		case s.Damage == nil && s.Torn == nil && !(cut && (at == 0 || at == ends[max(record, 1)-1])):
			rt.Fatal("the torn end went unnoticed")
		}
	})
}

func TestWhatServersLeave(t *testing.T) {
	first, _ := block(1, 1, 10, 20)
	second, _ := block(2, 3, 30)
	stones := blockstest.Tombstone(blockstest.Tombstone(nil, stream, 3, 1), stream, 3, 2)
	third := blockstest.Message(bytes.Clone(stones), stream, 3, 4, nil)
	cases := map[string]struct {
		blocks      [][]byte
		first, last uint64
	}{
		"nothing":                    {nil, 0, 0},
		"a new block":                {[][]byte{first, second, nil}, 1, 3},
		"a trim":                     {[][]byte{first, second, third}, 1, 4},
		"a block of tombstones":      {[][]byte{first, second, stones}, 1, 3},
		"one that was compacted":     {[][]byte{nil, second, third}, 3, 4},
		"a torn tombstone":           {[][]byte{first, second, stones[:40]}, 1, 3},
		"tombstones torn in between": {[][]byte{first, second, append(make([]byte, 30), stones[30:]...)}, 1, 3},
	}
	for name, c := range cases {
		s := check(t, c.blocks...)
		if s.Damage != nil || s.First != c.first || s.Last != c.last {
			t.Errorf("%s: %d to %d, %+v", name, s.First, s.Last, s.Damage)
		}
	}
}

func TestBlocksThatDoNotGoTogether(t *testing.T) {
	first, ends := block(1, 1, 10, 20)
	second, _ := block(2, 3, 30)
	third, _ := block(3, 4, 30)
	cases := map[string][][]byte{
		"an emptied one":        {first, nil, third},
		"one cut at a record":   {first[:ends[0]], second},
		"another block's bytes": {first, third, third},
		"an earlier one":        {second, first},
		"torn, but not last":    {first[:ends[1]-1], second},
		"far too large":         {first, make([]byte, BytesMax+1)},
	}
	for name, all := range cases {
		if s := check(t, all...); s.Damage == nil || s.Damage.File == "" || s.Damage.Why == "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// A purge that was interrupted is completed by the server: only the new block counts.
func TestInterruptedPurge(t *testing.T) {
	dir := t.TempDir()
	old, _ := block(1, 1, 10, 20)
	write(t, filepath.Join(dir, "msgs"), old)
	if err := os.Mkdir(filepath.Join(dir, "__new_msgs__"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := Check(dir, stream); err != nil || s.Last != 2 {
		t.Errorf("before the new block is there: %+v, %v", s, err)
	}
	write(t, filepath.Join(dir, "__new_msgs__"), blockstest.Tombstone(nil, stream, 1, 2))
	if s, err := Check(dir, stream); err != nil || s.First != 0 || s.End() != 2 {
		t.Errorf("with the new block: %+v, %v", s, err)
	}
}

// Any bytes are read to an end, without a panic, and a reader never claims more
// than there is.
func FuzzBlock(f *testing.F) {
	b, _ := block(1, 1, 10, 0, 300)
	f.Add(b)
	f.Add(b[:50])
	f.Add(append(make([]byte, 30), b...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := newReader(stream, 1)
		if err != nil {
			t.Fatal(err)
		}
		s := &Stream{Dir: "d", Indexes: []uint32{1}}
		s.block(r, 1, b, true)
		if s.Damage != nil && s.Damage.At > int64(len(b)) || s.Last > 0 && s.First == 0 {
			t.Fatalf("%+v", s)
		}
	})
}
