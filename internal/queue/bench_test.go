package queue

import (
	goruntime "runtime"
	"testing"
)

// batch is how many messages come and go with one command.
const batch = 256

// One message through the queue: taken, delivered, and acknowledged, in batches.
func BenchmarkTakeDeliverAck(b *testing.B) {
	q, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := q.Apply(0, Subscribe{Consumer: "a", Prefetch: 2 * batch}); err != nil {
		b.Fatal(err)
	}
	entries, tags := make([]Entry, batch), make([]uint64, 0, batch)
	journal, offset := 0, uint64(0)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		for i := range entries {
			entries[i] = Entry{Ref: Ref{1, offset}, Arrived: int64(offset), Bytes: 100}
			offset++
		}
		events, effects, err := q.Apply(int64(n), Take{Log: 1, Entries: entries, Next: offset})
		if err != nil {
			b.Fatal(err)
		}
		journal += len(events)
		tags = tags[:0]
		for _, e := range effects {
			if d, ok := e.(Deliver); ok {
				for i := range d.Deliveries {
					tags = append(tags, d.Deliveries[i].Tag)
				}
			}
		}
		events, _, err = q.Apply(int64(n), Ack{Consumer: "a", Tags: tags})
		if err != nil {
			b.Fatal(err)
		}
		journal += len(events)
	}
	b.StopTimer()
	if n := q.Counts(); n.Live != 0 {
		b.Fatalf("%+v", n)
	}
	b.ReportMetric(float64(journal)/float64(b.N), "journal-B/op")
}

// backlog is a queue with so many messages waiting.
func backlog(b testing.TB, n int) *Queue {
	q, err := New(Config{MaxLength: Unlimited, MaxBytes: Unlimited})
	if err != nil {
		b.Fatal(err)
	}
	entries := make([]Entry, 1000)
	for offset := uint64(0); offset < uint64(n); {
		for i := range entries {
			entries[i] = Entry{Ref: Ref{1, offset}, Arrived: int64(offset), Bytes: 100}
			offset++
		}
		if _, _, err := q.Apply(0, Take{Log: 1, Entries: entries, Next: offset}); err != nil {
			b.Fatal(err)
		}
	}
	return q
}

// Ten million messages that wait: the memory of the queue, and its snapshot.
func BenchmarkBacklog(b *testing.B) {
	for b.Loop() {
		var before, after goruntime.MemStats
		goruntime.GC()
		goruntime.ReadMemStats(&before)
		q := backlog(b, 10_000_000)
		goruntime.GC()
		goruntime.ReadMemStats(&after)
		state, _ := q.Snapshot()
		b.ReportMetric(float64(after.HeapAlloc)-float64(before.HeapAlloc), "heap-B")
		b.ReportMetric(float64(len(state)), "snapshot-B")
		goruntime.KeepAlive(q)
	}
}
