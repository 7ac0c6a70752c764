package actor

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
)

// messageOf makes a record of an exchange's log.
func messageOf(e envelope.Envelope, key string, headers ...codec.Header) codec.Record {
	all := append([]codec.Header{{Key: envelope.Key, Value: envelope.Append(nil, &e)}}, headers...)
	return codec.Record{Key: []byte(key), Value: []byte("body"), Headers: all, Time: codec.NoTime}
}

func pageWith(t testing.TB, base uint64, records ...codec.Record) *page {
	t.Helper()
	var s codec.Section
	for i := range records {
		s.Add(&records[i])
	}
	b, err := codec.AppendBatch(nil, &codec.BatchInfo{BaseOffset: base, AppendTime: 1000}, []codec.Section{s})
	if err != nil {
		t.Fatal(err)
	}
	return mustPage(t, 1, b)
}

func mustIndexing(t testing.TB, groupBy, fairBy string) indexing {
	t.Helper()
	ix, err := newIndexing(groupBy, fairBy)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

func offsetsOf(entries []queue.Entry) (all []uint64) {
	for _, e := range entries {
		all = append(all, e.Offset)
	}
	return all
}

func TestAQueueTakesWhatNamesIt(t *testing.T) {
	plain := codec.Record{Value: []byte("for the topic"), Time: codec.NoTime}
	p := pageWith(t, 100,
		messageOf(envelope.Envelope{Queues: []uint32{7}}, "a"),
		messageOf(envelope.Envelope{Queues: []uint32{8}}, "b"),
		messageOf(envelope.Envelope{Queues: []uint32{5, 7, 9}}, "c"),
		plain,
		messageOf(envelope.Envelope{}, "nobody"),
		messageOf(envelope.Envelope{Queues: []uint32{7}, Priority: 3, Expires: 5000, Due: 4000}, "d"),
	)
	var s sorter
	tests := []struct {
		in   intake
		o    offsets
		want []uint64
	}{
		{intake{queue: 7}, offsets{0, 1000}, []uint64{100, 102, 105}},
		{intake{queue: 7}, offsets{101, 105}, []uint64{102}},
		{intake{queue: 9}, offsets{0, 1000}, []uint64{102}},
		{intake{queue: 4}, offsets{0, 1000}, nil},
		{intake{queue: 4, all: []offsets{{101, 103}, {104, 2000}}}, offsets{0, 1000}, []uint64{101, 102, 104, 105}},
	}
	for _, test := range tests {
		if got := offsetsOf(s.of(nil, &test.in, p, test.o)); !slices.Equal(got, test.want) {
			t.Errorf("queue %d takes %v of %v, want %v", test.in.queue, got, test.o, test.want)
		}
	}
	last := s.of(nil, &intake{queue: 7}, p, offsets{105, 106})[0]
	want := queue.Entry{Ref: queue.Ref{Log: 1, Offset: 105}, Arrived: 1000, Expires: 5000, Due: 4000, Bytes: 4, Priority: 3}
	if last != want {
		t.Errorf("the entry is %+v, want %+v", last, want)
	}
}

func TestWhatMessagesAreGroupedBy(t *testing.T) {
	p := pageWith(t, 0,
		messageOf(envelope.Envelope{Queues: []uint32{7}, RoutingKey: "x"}, "a", codec.Header{Key: "customer", Value: []byte("k")}),
		messageOf(envelope.Envelope{Queues: []uint32{7}, RoutingKey: "y"}, "a"),
		messageOf(envelope.Envelope{Queues: []uint32{7}, RoutingKey: "x"}, "b", codec.Header{Key: "customer", Value: []byte("k")}),
	)
	for groupBy, same := range map[string][2]int{"key": {0, 1}, "routing-key": {0, 2}, "header:customer": {0, 2}} {
		in := intake{queue: 7, indexing: mustIndexing(t, groupBy, "customer")}
		var s sorter
		all := s.of(nil, &in, p, offsets{0, 3})
		other := 3 - same[0] - same[1]
		if all[same[0]].Group != all[same[1]].Group || all[same[0]].Group == all[other].Group || all[0].Group == 0 {
			t.Errorf("by %s the groups are %d, %d, %d", groupBy, all[0].Group, all[1].Group, all[2].Group)
		}
		if groupBy == "header:customer" && all[1].Group != 0 {
			t.Errorf("without the header it is of group %d", all[1].Group)
		}
		if all[0].Tenant == 0 || all[0].Tenant != all[2].Tenant || all[1].Tenant != 0 {
			t.Errorf("the tenants are %d, %d, %d", all[0].Tenant, all[1].Tenant, all[2].Tenant)
		}
	}
	for _, wrong := range []string{"headers", "header:", "routing_key"} {
		if _, err := newIndexing(wrong, ""); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("GroupBy %q: %v", wrong, err)
		}
	}
}

// What a page says of its records is what a look into each of them says.
func TestSortingAgreesWithReading(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var records []codec.Record
		for range rapid.IntRange(1, 20).Draw(rt, "records") {
			ids := rapid.SliceOfNDistinct(rapid.SampledFrom([]uint32{0, 1, 2, 3, seeRecord}), 0, 3, func(id uint32) uint32 { return id }).Draw(rt, "queues")
			slices.Sort(ids)
			records = append(records, messageOf(envelope.Envelope{Queues: ids, Priority: uint8(rapid.IntRange(0, 1).Draw(rt, "priority"))}, "k"))
		}
		p := pageWith(t, 10, records...)
		for id := range uint32(4) {
			var s sorter
			var want []uint64
			var r codec.Record
			for i := range p.len() {
				var e envelope.Envelope
				if !p.read(i, &r) || e.Decode(envelopeOf(&r)) != nil {
					rt.Fatal("a record cannot be read")
				}
				if slices.Contains(e.Queues, id) {
					want = append(want, p.offset(i))
				}
			}
			if got := offsetsOf(s.of(nil, &intake{queue: id}, p, offsets{0, 100})); !slices.Equal(got, want) {
				rt.Fatalf("queue %d takes %v, want %v", id, got, want)
			}
		}
	})
}

func TestEntriesAreMadeWithoutAllocation(t *testing.T) {
	many := make([]codec.Record, 100)
	for i := range many {
		many[i] = messageOf(envelope.Envelope{Queues: []uint32{uint32(7 + i%2), 20}, Priority: 2, RoutingKey: "x"}, "a")
	}
	p := pageWith(t, 0, many...)
	in := intake{queue: 7, indexing: mustIndexing(t, "routing-key", "none")}
	var s sorter
	entries := s.of(nil, &in, p, offsets{0, 100})
	if n := testing.AllocsPerRun(20, func() { entries = s.of(entries[:0], &in, p, offsets{0, 100}) }); n > 0 || len(entries) != 50 {
		t.Errorf("%v allocations for %d entries", n, len(entries))
	}
}

func BenchmarkEntries(b *testing.B) {
	for name, e := range map[string]envelope.Envelope{"one queue": {Queues: []uint32{7}}, "two queues": {Queues: []uint32{7, 9}}} {
		b.Run(name, func(b *testing.B) {
			many := make([]codec.Record, 4096)
			for i := range many {
				many[i] = messageOf(e, "a")
			}
			p := pageWith(b, 0, many...)
			var s sorter
			in := intake{queue: 7}
			entries := make([]queue.Entry, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				entries = s.of(entries[:0], &in, p, offsets{0, 4096})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/record")
		})
	}
}
