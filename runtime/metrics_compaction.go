package runtime

import (
	"sync"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/telemetry"
)

// compactionFigures are the figures of compactions, by topic.
type compactionFigures struct {
	mu         sync.Mutex
	topics     map[string]*telemetry.CompactionStats
	tombstones map[actor.TopicPartition]uint64 // as of the last run
}

// compacted takes in what came of compacting a partition.
func (e *Engine) compacted(c actor.Compacted) {
	if e.metrics == nil {
		return
	}
	if c.Err == nil {
		e.metrics.Compacted(c.Topic, c.Took)
	}
	e.compactions.add(&c)
}

func (f *compactionFigures) add(c *actor.Compacted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.topics == nil {
		f.topics, f.tombstones = map[string]*telemetry.CompactionStats{}, map[actor.TopicPartition]uint64{}
	}
	t := f.topics[c.Topic]
	if t == nil {
		t = &telemetry.CompactionStats{Topic: c.Topic}
		f.topics[c.Topic] = t
	}
	if c.Err != nil {
		t.Failures++
		return
	}
	t.Runs++
	t.RecordsIn += int64(c.RecordsBefore)
	t.RecordsOut += int64(c.RecordsAfter)
	t.Read += int64(c.BytesBefore)
	t.Written += int64(c.BytesAfter)
	at := actor.TopicPartition{Topic: c.Topic, Partition: c.Partition}
	t.Tombstones += int64(c.Tombstones) - int64(f.tombstones[at])
	f.tombstones[at] = c.Tombstones
}

func (f *compactionFigures) measure(s *telemetry.Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.topics {
		s.Compacted = append(s.Compacted, *t)
	}
}
