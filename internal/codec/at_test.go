package codec

import (
	"bytes"
	"testing"
)

// atPlaces goes through a batch and notes where its records are.
func atPlaces(t *testing.T, b []byte) (batch *Batch, at []uint32, want []Record) {
	t.Helper()
	batch, err := OpenBatch(b, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for {
		place, r := batch.At(), Record{}
		if !batch.Next(&r) {
			return batch, at, want
		}
		at, want = append(at, place), append(want, r)
	}
}

func TestRecordsAreFoundAgainAtTheirPlaces(t *testing.T) {
	sparse := Sparse{}
	for i, r := range someRecords() {
		sparse.Add(uint64(10*i), int64(i), NoTime, &r)
	}
	spread, err := sparse.AppendBatch(nil, &BatchInfo{})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"dense": someBatch(t, None), "compressed": someBatch(t, Zstd), "sparse": spread} {
		batch, at, want := atPlaces(t, b)
		if len(at) != len(someRecords()) {
			t.Fatalf("%s: %d records", name, len(at))
		}
		var r Record
		for i := len(at) - 1; i >= 0; i-- {
			if !RecordAt(batch.Records(), at[i], &r) || !sameRecord(r, want[i]) {
				t.Errorf("%s: record %d is %+v, want %+v", name, i, r, want[i])
			}
		}
	}
}

func FuzzRecordAt(f *testing.F) {
	rs := someRecords()
	f.Add(AppendRecord(nil, &rs[3]), uint32(1))
	f.Add([]byte{}, uint32(1<<31))
	f.Fuzz(func(t *testing.T, b []byte, at uint32) {
		var r Record
		if !RecordAt(b, at, &r) {
			return
		}
		if len(r.Key)+len(r.Value) > len(b) {
			t.Errorf("%d bytes of key and %d of value out of %d", len(r.Key), len(r.Value), len(b))
		}
		if key, value, ok := BodyAt(b, at); !ok || !bytes.Equal(key, r.Key) || !bytes.Equal(value, r.Value) {
			t.Errorf("the body alone is %q, %q, %v", key, value, ok)
		}
	})
}
