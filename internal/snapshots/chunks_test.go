package snapshots

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// noise is bytes that differ everywhere.
func noise(n int) []byte {
	b, source := make([]byte, n), rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(b)
	return b
}

func TestSegmentsLieInAsManyEntriesAsTheyTake(t *testing.T) {
	all := noise(5 * EntryBytes)
	rapid.Check(t, func(t *rapid.T) {
		st := open(t, storagefake.New())
		for range rapid.IntRange(1, 3).Draw(t, "chunks") {
			n := rapid.OneOf(rapid.IntRange(0, 5*EntryBytes), rapid.SampledFrom([]int{0, 1, EntryBytes - 1, EntryBytes, EntryBytes + 1, 2 * EntryBytes})).Draw(t, "bytes")
			seq, err := st.WriteChunk(context.Background(), all[:n])
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at <= n; {
				length := min(n-at, rapid.OneOf(rapid.IntRange(0, 3*EntryBytes), rapid.Just(EntryBytes)).Draw(t, "length"))
				got, err := st.chunks.segment(context.Background(), At(seq, at, length))
				if err != nil && length > 0 || !bytes.Equal(got, all[at:at+length]) {
					t.Fatalf("%d bytes from %d of %d: %v", length, at, n, err)
				}
				at += length + 1
			}
			if n > 0 {
				if _, err := st.chunks.segment(context.Background(), At(seq, n-1, 2)); !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrNotFound) {
					t.Fatalf("past the end of %d: %v", n, err)
				}
			}
		}
	})
}

func TestASegmentInManyEntriesIsReadWholeOrNotAtAll(t *testing.T) {
	fake := storagefake.New()
	st := open(t, fake)
	seq, err := st.WriteChunk(t.Context(), noise(3*EntryBytes+10))
	if err != nil {
		t.Fatal(err)
	}
	ref := At(seq, EntryBytes/2, 2*EntryBytes)
	for i := range uint64(3) {
		damaged := fake.Restart()
		if err := damaged.Corrupt("job_j_chunks", seq+i, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, damaged).chunks.segment(t.Context(), ref); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("entry %d: %v", i, err)
		}
		fake = damaged.Restart()
		_ = fake.Corrupt("job_j_chunks", seq+i, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	}
	if _, err := open(t, fake).chunks.segment(t.Context(), ref); err != nil {
		t.Error(err)
	}
}

// TestLengthsAreLookedAtBeforeAnythingIsAllocated: a manifest may say anything.
func TestLengthsAreLookedAtBeforeAnythingIsAllocated(t *testing.T) {
	st := open(t, storagefake.New())
	seq, err := st.WriteChunk(t.Context(), noise(EntryBytes))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []checkpoint.Ref{{Seq: seq, Length: -1}, {Seq: seq, Offset: -1, Length: 1}, {Seq: seq, Length: 1 << 40},
		{Seq: seq, Offset: 1 << 40, Length: 1}, {Seq: seq, Offset: EntryBytes + 1, Length: 0}} {
		if _, err := st.chunks.segment(t.Context(), r); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
