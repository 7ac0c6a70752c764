package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type record struct {
	ID     int64  `json:"id"`
	User   string `json:"user"`
	Amount int64  `json:"amount"`
	Note   string `json:"note"`
}

func TestDataIsWhatItSays(t *testing.T) {
	d := NewData(5000)
	users, kept, lengths := map[string]bool{}, 0, map[int]bool{}
	for i := range d.Len() {
		var r record
		if err := json.Unmarshal(d.Record(i), &r); err != nil {
			t.Fatalf("record %d: %v: %s", i, err, d.Record(i))
		}
		e, ok := Scan(d.Record(i))
		if !ok || e.ID != r.ID || e.User != r.User || e.Amount != r.Amount || r.ID != int64(i) {
			t.Fatalf("record %d: scanned %+v, is %+v", i, e, r)
		}
		users[r.User] = true
		lengths[strings.Index(string(d.Record(i)), "amount")] = true
		if e.Kept() {
			kept++
		}
	}
	if len(d.Record(0)) != 100 || len(users) < 900 || kept < 2300 || kept > 2700 || len(lengths) < 3 {
		t.Errorf("%d bytes, %d users, %d kept, amounts at %v", len(d.Record(0)), len(users), kept, lengths)
	}
}

func TestLargestRecordFits(t *testing.T) {
	got := appendRecord(nil, 999_999_999_999, "u999", 99_999)
	if len(got) != RecordBytes || !json.Valid(got) {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func TestVariantsAgree(t *testing.T) {
	for _, n := range []int{1, 2, 255, 256, 257, 3000} {
		d := NewData(n)
		d.runFor = time.Millisecond // more than one pass, mostly
		for _, v := range Plain(d) {
			records, checksum, err := v.Run(t.Context())
			if err == nil {
				err = d.Check(records, checksum)
			}
			if err != nil {
				t.Errorf("%s on %d records: %v", v.Name, n, err)
			}
		}
	}
}

func TestVariantsStop(t *testing.T) {
	cause := errors.New("stopped by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	d := NewData(3000)
	for _, v := range Plain(d) {
		if _, _, err := v.Run(ctx); !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s went on: %v", v.Name, err)
		}
	}
}

func TestVariantsNoticeBadRecords(t *testing.T) {
	for _, at := range []int{0, 700, 999} {
		d := NewData(1000)
		d.Record(at)[0] = '['
		for _, v := range Plain(d) {
			if _, _, err := v.Run(t.Context()); !errors.Is(err, errRecord) {
				t.Errorf("%s, bad record %d: error %v", v.Name, at, err)
			}
		}
	}
}

func TestCheckNoticesWrongResults(t *testing.T) {
	d := NewData(1000)
	for name, wrong := range map[string]error{
		"one count too many": d.Check(1000, d.want+fnv("u7")),
		"half a pass":        d.Check(500, d.want),
		"nothing":            d.Check(0, 0),
		"two for one":        d.Check(2000, d.want),
	} {
		if wrong == nil {
			t.Errorf("%s passed", name)
		}
	}
	if err := d.Check(3000, 3*d.want); err != nil {
		t.Error(err)
	}
}

func TestShardsCover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, n, next := NewData(rapid.IntRange(0, 50).Draw(t, "records")), rapid.IntRange(1, 9).Draw(t, "shards"), 0
		for k := range n {
			from, to := d.Shard(k, n)
			if from != next || to < from {
				t.Fatalf("shard %d of %d is %d to %d, the one before ends at %d", k, n, from, to, next)
			}
			next = to
		}
		if next != d.Len() {
			t.Fatalf("shards end at %d of %d", next, d.Len())
		}
	})
}

// TestScanNeedsNoOffsets: fields may come in any order, among others.
func TestScanNeedsNoOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := map[string]any{
			"id": rapid.Int64Range(-1e15, 1e15).Draw(t, "id"), "amount": rapid.Int64Range(-1e15, 1e15).Draw(t, "amount"),
			"user": rapid.StringMatching(`[a-zäöü0-9 ]{1,12}`).Draw(t, "user"),
			"more": rapid.Int64Range(-1e15, 1e15).Draw(t, "more"), "note": rapid.StringMatching(`[a-z]{0,9}`).Draw(t, "note"),
		}
		names := rapid.Permutation([]string{"id", "amount", "user", "more", "note"}).Draw(t, "order")
		var parts []string
		for _, name := range names {
			value, _ := json.Marshal(fields[name])
			parts = append(parts, `"`+name+`":`+string(value))
		}
		e, ok := Scan([]byte("{" + strings.Join(parts, ",") + "}"))
		if !ok || e.ID != fields["id"] || e.Amount != fields["amount"] || e.User != fields["user"] {
			t.Fatalf("%v scanned as %+v (%v)", parts, e, ok)
		}
	})
}

func FuzzScan(f *testing.F) {
	d := NewData(2)
	f.Add(d.Record(0))
	for _, s := range []string{"", "{", "{}", `{"id":1}`, `{"id":1,}`, `{"user":"a\"b"}`, `{"id":-}`, `{"id":12345678901234567890}`,
		`{"user":""}`, `{"id":1}x`, `{"id"`, `{"id":`, `{"user":"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := Scan(b)
		var r map[string]any
		if !ok || !utf8.Valid(b) || json.Unmarshal(b, &r) != nil {
			return // what is not JSON may be taken for a record, but must not crash
		}
		if user, is := r["user"].(string); is && strings.Count(string(b), `"user"`) == 1 && e.User != user {
			t.Errorf("%q: user %q, is %q", b, e.User, user)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	d := NewData(10_000)
	b.SetBytes(RecordBytes)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok := Scan(d.Record(i % d.Len())); !ok {
			b.Fatal("not parsed")
		}
	}
}

func BenchmarkPlain(b *testing.B) {
	d := NewData(100_000)
	d.runFor = 0
	for _, v := range Plain(d) {
		b.Run(v.Name, func(b *testing.B) {
			var records int64
			for b.Loop() {
				n, checksum, err := v.Run(b.Context())
				if err == nil {
					err = d.Check(n, checksum)
				}
				if err != nil {
					b.Fatal(err)
				}
				records += n
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
		})
	}
}

func TestChecksumAddsUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	a, b, both := Counts{}, Counts{}, Counts{}
	for range 100 {
		user, part := string(rune('a'+rng.IntN(9))), rng.IntN(2)
		both[user]++
		if part == 0 {
			a[user]++
		} else {
			b[user]++
		}
	}
	if a.Checksum()+b.Checksum() != both.Checksum() {
		t.Error("the checksums of two parts do not add up to that of the whole")
	}
}
