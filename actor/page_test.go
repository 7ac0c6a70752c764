package actor

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
)

// denseBatch stores records "base", "base+1", … in a batch.
func denseBatch(t testing.TB, base uint64, n int, c codec.Compression) []byte {
	t.Helper()
	var s codec.Section
	for i := range n {
		s.Add(&codec.Record{Value: strconv.AppendUint(nil, base+uint64(i), 10), Time: codec.NoTime})
	}
	b, err := codec.AppendBatch(nil, &codec.BatchInfo{BaseOffset: base, AppendTime: 1000, Compression: c}, []codec.Section{s})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sparseBatch stores records that say their offset, appended as many ms after 1000.
func sparseBatch(t testing.TB, offsets ...uint64) []byte {
	t.Helper()
	var s codec.Sparse
	for _, o := range offsets {
		s.Add(o, 1000+int64(o), codec.NoTime, &codec.Record{Value: strconv.AppendUint(nil, o, 10), Time: codec.NoTime})
	}
	b, err := s.AppendBatch(nil, &codec.BatchInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustPage(t testing.TB, log uint32, data []byte) *page {
	t.Helper()
	p, err := newPage(log, data)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPageFindsItsRecords(t *testing.T) {
	tests := []struct {
		name    string
		data    []byte
		offsets []uint64
		at      int64 // append time of offset 12
	}{
		{"dense", denseBatch(t, 10, 5, codec.None), []uint64{10, 11, 12, 13, 14}, 1000},
		{"compressed", denseBatch(t, 10, 50, codec.S2), nil, 1000},
		{"sparse", sparseBatch(t, 10, 12, 19), []uint64{10, 12, 19}, 1012},
	}
	for _, test := range tests {
		p := mustPage(t, 3, test.data)
		if test.offsets == nil {
			for i := range 50 {
				test.offsets = append(test.offsets, uint64(10+i))
			}
		}
		var r codec.Record
		var found []uint64
		for o := p.base - 5; o < p.end+5; o++ {
			if p.record(o, &r) {
				found = append(found, o)
				if string(r.Value) != fmt.Sprint(o) {
					t.Errorf("%s: offset %d is %q", test.name, o, r.Value)
				}
			}
		}
		if !slices.Equal(found, test.offsets) || p.len() != len(test.offsets) {
			t.Errorf("%s: it has %v, want %v", test.name, found, test.offsets)
		}
		if got := p.appendedAt(p.from(12)); got != test.at {
			t.Errorf("%s: appended at %d, want %d", test.name, got, test.at)
		}
		if !p.covers(queue.Ref{Log: 3, Offset: 11}) || p.covers(queue.Ref{Log: 3, Offset: p.end}) || p.covers(queue.Ref{Log: 2, Offset: 11}) {
			t.Errorf("%s: it covers other messages than its own", test.name)
		}
	}
}

func TestPageOfDamagedBytesIsNone(t *testing.T) {
	b := denseBatch(t, 10, 5, codec.None)
	b[len(b)-1] ^= 1
	if p, err := newPage(1, b); err == nil {
		t.Errorf("a page of damaged bytes: %+v", p)
	}
}

// The cache agrees with a model: a list of pages, the newest use last.
func TestPageCache(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := mustPageOf(1, 0, 4).bytes()
		c := newPages(8 * size)
		var model []*page
		touch := func(p *page) {
			model = slices.DeleteFunc(model, func(q *page) bool { return q == p })
			model = append(model, p)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			log := rapid.Uint32Range(1, 2).Draw(t, "log")
			offset := rapid.Uint64Range(0, 60).Draw(t, "offset")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1, 2:
				p := mustPageOf(log, offset, rapid.IntRange(1, 4).Draw(t, "records"))
				c.add(p)
				model = slices.DeleteFunc(model, func(q *page) bool { return q.log == log && q.base < p.end && p.base < q.end })
				touch(p)
				for bytesOf(model) > c.max {
					model = model[1:]
				}
			case 3, 4:
				i := slices.IndexFunc(model, func(q *page) bool { return q.covers(queue.Ref{Log: log, Offset: offset}) })
				got := c.find(log, offset)
				if (i < 0) != (got == nil) || i >= 0 && model[i] != got {
					t.Fatalf("find(%d, %d) = %v; the model's place is %d", log, offset, got, i)
				}
				if got != nil {
					touch(got)
				}
			case 5:
				c.forget(log)
				model = slices.DeleteFunc(model, func(q *page) bool { return q.log == log })
			}
			if got := c.size(); got != bytesOf(model) || got > c.max {
				t.Fatalf("it holds %d bytes, the model %d, and %d are allowed", got, bytesOf(model), c.max)
			}
		}
	})
}

// mustPageOf makes a page that has no records to read.
func mustPageOf(log uint32, base uint64, n int) *page {
	return &page{log: log, base: base, end: base + uint64(n), at: make([]uint32, n)}
}

func bytesOf(all []*page) (n int) {
	for _, p := range all {
		n += p.bytes()
	}
	return n
}

func BenchmarkNewPage(b *testing.B) {
	var s codec.Section
	r := messageOf(envelope.Envelope{Queues: []uint32{7}, Exchange: "orders", RoutingKey: "new"}, "")
	r.Value = make([]byte, 100)
	for range 4096 {
		s.Add(&r)
	}
	data, err := codec.AppendBatch(nil, &codec.BatchInfo{}, []codec.Section{s})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newPage(1, data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/record")
}
