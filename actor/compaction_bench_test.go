package actor

import (
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
)

// The real store: logs are made, put in force and deleted, of every durability,
// while a reader is on its way, and are all there in another process.
func TestCompactionOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	open := func() (*System, storage.Store) {
		store, err := storage.Open(testContext(t), dir, storage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return NewSystem(store, WithPartitionLimits(compactLimits())), store
	}
	closeAll := func(s *System, store storage.Store) {
		if err := s.Close(testContext(t)); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	names := map[string]Durability{"synced": Fsync, "now-and-then": Interval, "in-memory": Memory}
	s, store := open()
	want := map[string][]string{}
	for name, d := range names {
		config := compactedTopic
		config.Durability = d
		topic := declare(t, s, name, config)
		p := newProducer(t, topic, ProducerOptions{})
		for range 3 {
			for i := range 20 {
				appendPairsTo(t, p, string(rune('a'+i%7))+"=1", "gone")
			}
			r := openReader(t, topic, 0, FromBeginning())
			if _, err := r.Next(testContext(t)); err != nil {
				t.Fatal(err)
			}
			info := compactTopic(t, topic)
			if info.Clean < 38 || info.Records > 9 {
				t.Errorf("%s: it says %+v", name, info)
			}
			if _, err := readPairs(testContext(t), r); err != nil {
				t.Errorf("%s: reading on: %v", name, err)
			}
		}
		if want[name] = readTexts(t, topic, FromBeginning()); len(want[name]) > 11 {
			t.Errorf("%s: it holds %v", name, want[name])
		}
		if d != Interval {
			eventually(t, "the log before to be deleted", func() bool {
				logs, err := store.Logs(testContext(t), "topic_"+name+"_0_c")
				return err == nil && len(logs) == 1
			})
		}
	}
	closeAll(s, store)
	s, store = open()
	defer closeAll(s, store)
	for name, d := range names {
		config := compactedTopic
		config.Durability = d
		topic := declare(t, s, name, config)
		if d == Memory {
			want[name] = nil
		}
		expect(t, name, readTexts(t, topic, FromBeginning()), want[name]...)
		if err := s.DeleteTopic(testContext(t), name); err != nil {
			t.Error(err)
		}
		if logs, err := store.Logs(testContext(t), "topic_"+name); err != nil || len(logs) > 0 {
			t.Errorf("%s was deleted, and leaves %v, %v", name, logs, err)
		}
	}
}

// BenchmarkCompaction compacts a million records of 100 bytes and 100,000 keys, on
// disk: the records of a second are those that one run reads.
func BenchmarkCompaction(b *testing.B) {
	const records, keys, each = 1_000_000, 100_000, 1000
	for b.Loop() {
		b.StopTimer()
		topic := benchTopic(b, Fsync)
		if _, err := topic.sys.AlterTopic(b.Context(), "bench", func(c *TopicConfig) { *c = compactedTopic }); err != nil {
			b.Fatal(err)
		}
		p := newProducer(b, topic, ProducerOptions{})
		some := benchRecords(each)
		for i := 0; i < records; i += each {
			for j := range some {
				some[j].Key = binary.BigEndian.AppendUint32(nil, uint32((i+j)%keys))
			}
			if err := p.AppendAsync(b.Context(), 0, some, func(_ Ack, err error) {
				if err != nil {
					b.Error(err)
				}
			}); err != nil {
				b.Fatal(err)
			}
		}
		if err := p.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		info, err := topic.Compact(b.Context(), 0)
		if err != nil || info.Records > keys {
			b.Fatalf("%+v, %v", info, err)
		}
		b.ReportMetric(float64(info.RecordsBefore)/info.Took.Seconds(), "records/s")
		b.ReportMetric(float64(info.BytesBefore)/info.Took.Seconds()/1e6, "MB/s")
	}
}
