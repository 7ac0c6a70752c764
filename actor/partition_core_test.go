package actor

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
	"pgregory.net/rapid"
)

func testSection(producer string, epoch, first uint64, values ...string) codec.Section {
	s := codec.Section{Producer: producer, Epoch: epoch, First: first}
	for _, v := range values {
		s.Add(&codec.Record{Value: []byte(v), Time: codec.NoTime})
	}
	return s
}

// modelProducer and model are the naive version of a partition: a list of
// records, and of each producer every record it ever stored.
type modelProducer struct {
	epoch   uint64
	offsets []uint64 // by sequence
}

type model struct {
	values    []string
	producers map[string]*modelProducer
}

// append says what should become of one append, with nothing else under way.
func (m *model) append(s codec.Section, values []string, begins bool) (ack Ack, err error) {
	ack = Ack{Offset: uint64(len(m.values)), Count: len(values)}
	if s.Producer == "" {
		m.values = append(m.values, values...)
		return ack, nil
	}
	p := m.producers[s.Producer]
	if p == nil {
		if s.First != 0 && !begins {
			return ack, ErrOutOfSequence
		}
		p = &modelProducer{epoch: s.Epoch, offsets: make([]uint64, s.First)}
		m.producers[s.Producer] = p
	}
	next := uint64(len(p.offsets))
	switch {
	case s.Epoch < p.epoch:
		return ack, ErrProducerFenced
	case s.First > next:
		return ack, ErrOutOfSequence
	case s.First+uint64(len(values)) <= next:
		return Ack{Offset: p.offsets[s.First], Count: len(values), Duplicates: len(values)}, nil
	}
	ack.Duplicates = int(next - s.First)
	p.epoch = s.Epoch
	for _, v := range values[ack.Duplicates:] {
		p.offsets = append(p.offsets, uint64(len(m.values)))
		m.values = append(m.values, v)
	}
	return ack, nil
}

// entry is what a test's log holds.
type entry struct {
	kind storage.Kind
	data []byte
	info codec.BatchInfo
}

// coreTest runs the pure core over a log in a slice.
type coreTest struct {
	state *logState
	plan  batchPlan
	queue []*order
	log   []entry
	acks  map[int]Ack
	errs  map[int]error
}

func newCoreTest() *coreTest {
	return &coreTest{
		state: newLogState(100),
		plan:  batchPlan{limits: batchLimits{bytes: 60, sections: 4, records: 100}},
		acks:  map[int]Ack{}, errs: map[int]error{},
	}
}

func (c *coreTest) enqueue(id int, s codec.Section, begins bool) {
	c.queue = append(c.queue, &order{section: s, begins: begins, done: func(a Ack, err error) { c.acks[id], c.errs[id] = a, err }})
}

// commit stores the next batch, or loses it.
func (c *coreTest) commit(t *rapid.T, lose bool) {
	c.queue = c.plan.fill(c.state, c.queue)
	if len(c.plan.orders) == 0 {
		return
	}
	if lose {
		c.queue, _ = c.plan.giveBack(c.queue)
		return
	}
	info := codec.BatchInfo{BaseOffset: c.state.next, Epoch: 1, AppendTime: int64(len(c.log))}
	data, err := codec.AppendBatch(nil, &info, c.plan.sections)
	if err != nil {
		t.Fatal(err)
	}
	c.log = append(c.log, entry{storage.Data, data, info})
	if err := c.state.applyBatch(uint64(len(c.log)), &info); err != nil {
		t.Fatal(err)
	}
	c.plan.settleAt(info.BaseOffset)
	c.plan.reset()
}

func (c *coreTest) drain(t *rapid.T) {
	for len(c.queue) > 0 {
		c.commit(t, false)
	}
}

// replay builds the state from a snapshot (or nothing) and the entries after it.
func replay(t *rapid.T, snapshot []byte, log []entry) *logState {
	s := newLogState(100)
	if snapshot != nil {
		if err := s.restore(snapshot); err != nil {
			t.Fatal(err)
		}
	}
	for i := int(s.covers); i < len(log); i++ {
		info, err := codec.ReadInfo(log[i].data, codec.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.applyBatch(uint64(i+1), &info); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Whatever producers send, in whatever grouping, with lost appends, repetitions
// and crashes: answers and records are those of the naive model.
func TestPartitionCoreEqualsNaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, m := newCoreTest(), &model{producers: map[string]*modelProducer{}}
		snapshots := [][]byte{nil}
		wantAck, wantErr := map[int]Ack{}, map[int]error{}
		for id := range rapid.IntRange(1, 40).Draw(t, "appends") {
			producer := rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "producer")
			first, epoch := uint64(0), uint64(0)
			if p := m.producers[producer]; p != nil {
				first = uint64(max(0, len(p.offsets)+rapid.IntRange(-6, 1).Draw(t, "from next")))
				epoch = uint64(max(0, int(p.epoch)+rapid.SampledFrom([]int{0, 0, 0, 0, 1, -1}).Draw(t, "from epoch")))
			} else {
				first = uint64(rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "start"))
			}
			begins := rapid.Bool().Draw(t, "begins")
			var values []string
			for i := range rapid.IntRange(1, 4).Draw(t, "records") {
				values = append(values, fmt.Sprint(id, ".", i))
			}
			s := testSection(producer, epoch, first, values...)
			wantAck[id], wantErr[id] = m.append(s, values, begins)
			c.enqueue(id, s, begins)
			switch rapid.SampledFrom([]string{"wait", "wait", "commit", "lose", "snapshot", "crash"}).Draw(t, "then") {
			case "commit":
				c.drain(t)
			case "lose":
				c.commit(t, true)
			case "snapshot":
				snapshots = append(snapshots, c.state.snapshot())
			case "crash": // a crash would leave the queue unanswered: nothing to compare
				c.drain(t)
				c.state = replay(t, rapid.SampledFrom(snapshots).Draw(t, "snapshot"), c.log)
			}
		}
		c.drain(t)
		checkAnswers(t, c, wantAck, wantErr)
		checkRecords(t, c, m)
		for _, snapshot := range snapshots {
			if got := replay(t, snapshot, c.log); !reflect.DeepEqual(got.snapshot(), c.state.snapshot()) {
				t.Fatalf("a snapshot and the rest of the log give another state than the whole log")
			}
		}
	})
}

func checkAnswers(t *rapid.T, c *coreTest, wantAck map[int]Ack, wantErr map[int]error) {
	if len(c.acks) != len(wantAck) {
		t.Fatalf("%d appends were answered, want %d", len(c.acks), len(wantAck))
	}
	for _, id := range slices.Sorted(maps.Keys(wantAck)) {
		got, want := c.acks[id], wantAck[id]
		if !errors.Is(c.errs[id], wantErr[id]) || (wantErr[id] == nil) != (c.errs[id] == nil) {
			t.Fatalf("append %d: error %v, want %v", id, c.errs[id], wantErr[id])
		}
		if wantErr[id] != nil {
			continue
		}
		if got.Offset == NoOffset && want.Duplicates == want.Count {
			got.Offset = want.Offset // long ago: the offset may be forgotten
		}
		if got != want {
			t.Fatalf("append %d: got %+v, want %+v", id, got, want)
		}
	}
}

func checkRecords(t *rapid.T, c *coreTest, m *model) {
	var got []string
	for _, e := range c.log {
		batch, err := codec.OpenBatch(e.data, codec.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		for r := (codec.Record{}); batch.Next(&r); {
			if batch.Offset() != uint64(len(got))+1 {
				t.Fatalf("offsets are not dense: %d after %d", batch.Offset()-1, len(got)-1)
			}
			got = append(got, string(r.Value))
		}
	}
	if !slices.Equal(got, m.values) {
		t.Fatalf("stored %v\nwant   %v", got, m.values)
	}
}

func TestDuplicatesGetTheirOffsetsBack(t *testing.T) {
	s := newLogState(10)
	next := uint64(0)
	// Another producer comes in between, so that no two spans join.
	for i := range producerSpans + 2 {
		info := codec.BatchInfo{BaseOffset: next, Sections: []codec.SectionInfo{{Producer: "p", First: uint64(2 * i), Count: 2}, {Producer: "other", First: uint64(i), Count: 1}}}
		if err := s.applyBatch(uint64(i+1), &info); err != nil {
			t.Fatal(err)
		}
		next += 3
	}
	for i := range producerSpans + 2 {
		offset, known := s.producers["p"].offsetOf(uint64(2*i + 1))
		if wantKnown := i >= 2; known != wantKnown || known && offset != uint64(3*i+1) {
			t.Errorf("sequence %d: offset %d, known %v", 2*i+1, offset, known)
		}
	}
}

func TestTheProducerThatAppendedLongestAgoIsForgotten(t *testing.T) {
	s := newLogState(2)
	for i, id := range []string{"a", "b", "a", "c"} {
		info := codec.BatchInfo{BaseOffset: uint64(i), Sections: []codec.SectionInfo{{Producer: id, First: uint64(i), Count: 1}}}
		if err := s.applyBatch(uint64(i+1), &info); err != nil {
			t.Fatal(err)
		}
	}
	if got := slices.Sorted(maps.Keys(s.producers)); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("remembered %v, want a and c", got)
	}
}

func TestABatchThatCannotFollowIsCorrupt(t *testing.T) {
	s := newLogState(2)
	if err := s.applyBatch(1, &codec.BatchInfo{BaseOffset: 5}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

func FuzzRestore(f *testing.F) {
	s := newLogState(4)
	info := codec.BatchInfo{Sections: []codec.SectionInfo{{Producer: "p", Epoch: 3, First: 7, Count: 2}}}
	if err := s.applyBatch(1, &info); err != nil {
		f.Fatal(err)
	}
	f.Add(s.snapshot())
	s.cleaned = &cleaned{log: "topic_orders_0_c1-1", last: 3, end: 9, head: 5, since: 7, records: 4, tombstones: 1, oldest: -1, report: runReport{1, 2, 3, 4}}
	f.Add(s.snapshot())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newLogState(4)
		if err := s.restore(b); err != nil {
			return
		}
		again := newLogState(4)
		if err := again.restore(s.snapshot()); err != nil {
			t.Fatalf("a state that was restored cannot be restored again: %v", err)
		}
	})
}

func TestTailCache(t *testing.T) {
	c := tailCache{max: 10}
	for i := range uint64(4) {
		c.add(block{seq: i, base: 10 * i, end: 10*i + 10, data: make([]byte, 4)})
	}
	tests := []struct {
		offset uint64
		max    int
		want   []uint64 // sequences
	}{
		{15, 100, nil}, {20, 100, []uint64{2, 3}}, {29, 4, []uint64{2}}, {25, 1, []uint64{2}}, {39, 1, []uint64{3}}, {40, 1, nil},
	}
	for _, test := range tests {
		blocks, ok := c.from(test.offset, test.max)
		var got []uint64
		for _, b := range blocks {
			got = append(got, b.seq)
		}
		if !slices.Equal(got, test.want) || ok != (test.want != nil) {
			t.Errorf("from %d, %d bytes: got %v, want %v", test.offset, test.max, got, test.want)
		}
	}
	c.add(block{seq: 9, base: 40, end: 50, data: make([]byte, 99)})
	if _, ok := c.from(45, 1); !ok || len(c.blocks) != 1 {
		t.Error("the newest batch is not cached alone when it is larger than the cache")
	}
}
