package actor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func TestCompactionKeepsTheNewestOfEachKey(t *testing.T) {
	store := storagefake.New()
	s := logSystem(t, store, WithPartitionLimits(compactLimits()))
	topic := declare(t, s, "orders", compactedTopic)
	p := newProducer(t, topic, ProducerOptions{ID: "job"})
	appendPairsTo(t, p, "a=1", "b=1", "a=2")
	appendPairsTo(t, p, "c=1", "b", "a=3")
	appendPairsTo(t, p, "d=", "a=4")
	appendPairsTo(t, p, "a=5")
	info := compactTopic(t, topic)
	if info.Clean != 8 || info.Records != 4 || info.Tombstones != 1 || info.RecordsBefore != 8 || info.BytesAfter == 0 ||
		info.LastRun.IsZero() || info.DirtyBytes != 0 || info.Failed != "" || info.Running {
		t.Errorf("it says %+v", info)
	}
	want := []string{"3:c=1", "4:b", "6:d=", "7:a=4", "8:a=5"}
	expect(t, "from the beginning", readTexts(t, topic, FromBeginning()), want...)
	expect(t, "from an offset that has gone", readTexts(t, topic, FromOffset(5)), want[2:]...)
	expect(t, "from one that has not", readTexts(t, topic, FromOffset(4)), want[1:]...)
	expect(t, "from the head", readTexts(t, topic, FromOffset(8)), want[4:]...)

	appendPairsTo(t, p, "c=2", "d")
	appendPairsTo(t, p, "e=1")
	if b, err := topic.Bounds(testContext(t), 0); err != nil || b != (Bounds{0, 12}) {
		t.Errorf("its bounds are %+v, %v", b, err)
	}
	want = []string{"4:b", "8:a=5", "9:c=2", "10:d", "11:e=1"}
	if info := compactTopic(t, topic); info.Clean != 11 {
		t.Errorf("the second time it says %+v", info)
	}
	expect(t, "after the second time", readTexts(t, topic, FromBeginning()), want...)
	if again := compactTopic(t, topic); again.Clean != 11 {
		t.Errorf("with nothing to do it says %+v", again)
	}
	eventually(t, "the first compacted log to be deleted", func() bool { return len(compactedLogs(t, store)) == 1 })
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}

	s = logSystem(t, store.Restart(), WithPartitionLimits(compactLimits()))
	topic = declare(t, s, "orders", compactedTopic)
	expect(t, "after a restart", readTexts(t, topic, FromBeginning()), want...)
	resumed := newProducer(t, topic, ProducerOptions{ID: "job", Epoch: 1, Next: map[int]uint64{0: 11}})
	if ack := appendPairsTo(t, resumed, "e=1", "f=1"); ack != (Ack{Offset: 12, Count: 2, Duplicates: 1}) {
		t.Errorf("an idempotent producer goes on with %+v", ack)
	}
	if info := compactTopic(t, topic); info.Clean != 12 || info.RecordsBefore != 5 {
		t.Errorf("after a restart it says %+v", info)
	}
}

func TestACompactedTopicRefusesRecordsWithoutAKey(t *testing.T) {
	s := logSystem(t, storagefake.New())
	topic := declare(t, s, "orders", compactedTopic)
	if _, err := newProducer(t, topic, ProducerOptions{}).Append(testContext(t), 0, records("a")); !errors.Is(err, ErrNoKey) {
		t.Errorf("a producer: %v", err)
	}
	p, err := topic.NewPublisher(testContext(t), PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(testContext(t), AnyPartition, &records("a")[0]); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "orders") {
		t.Errorf("a publisher: %v", err)
	}
	if _, err := p.PublishSync(testContext(t), AnyPartition, &Record{Key: []byte{}, Value: []byte("v")}); err != nil {
		t.Errorf("an empty key: %v", err)
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestCompactionSettings(t *testing.T) {
	for text, c := range map[string]TopicConfig{
		"":                       {Compaction: Compaction{Enabled: true, DeleteRetention: time.Hour, MinCleanableDirtyRatio: 1, MinCompactionLag: time.Second, MaxCompactionLag: time.Second}},
		"not enabled":            {Compaction: Compaction{DeleteRetention: time.Hour}},
		"MinCleanableDirtyRatio": {Compaction: Compaction{Enabled: true, MinCleanableDirtyRatio: 1.5}},
		"MaxCompactionLag":       {Compaction: Compaction{Enabled: true, MinCompactionLag: 2 * time.Second, MaxCompactionLag: time.Second}},
		"DeleteRetention":        {Compaction: Compaction{Enabled: true, DeleteRetention: -1}},
		"so many records":        {Compaction: Compaction{Enabled: true}, Retention: Retention{Records: 5}},
	} {
		err := checkTopic("orders", c.withDefaults())
		if (err == nil) != (text == "") || err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	store := storagefake.New()
	s := NewSystem(store)
	topic := declare(t, s, "orders", compactedTopic)
	want := TopicConfig{Partitions: 1, Retention: Retention{Forever: true}, Compaction: Compaction{Enabled: true, DeleteRetention: 24 * time.Hour, MinCleanableDirtyRatio: 0.5}}
	if got := topic.Config(); got != want {
		t.Errorf("the defaults are %+v", got)
	}
	_, err := s.Declare(testContext(t), "orders", TopicConfig{Retention: Retention{Forever: true}, Compaction: Compaction{Enabled: true, DeleteRetention: time.Hour}})
	if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "compaction delete-retention 24h0m0s, dirty-ratio 0.5, not delete-retention 1h0m0s") {
		t.Errorf("another declaration: %v", err)
	}
	want.Compaction.MinCompactionLag = time.Minute
	if _, err := s.AlterTopic(testContext(t), "orders", func(c *TopicConfig) { c.Compaction.MinCompactionLag = time.Minute }); err != nil || topic.Config() != want {
		t.Errorf("altered it is %+v, %v", topic.Config(), err)
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	s = logSystem(t, store.Restart())
	all, err := s.Topics(testContext(t))
	if err != nil || len(all) != 1 || all[0].TopicConfig != want {
		t.Errorf("after a restart there are %+v, %v", all, err)
	}
	if _, err := declare(t, s, "plain", TopicConfig{}).Compact(testContext(t), 0); err == nil || !strings.Contains(err.Error(), "not compacted") {
		t.Errorf("compacting another topic: %v", err)
	}
}

// A topic that becomes compacted keeps its records without a key, and one that
// ceases to be keeps what it has.
func TestATopicIsAlteredToBeCompactedAndBack(t *testing.T) {
	s := logSystem(t, storagefake.New(), WithPartitionLimits(compactLimits()))
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	mustAppend(t, p, 0, "x")
	appendPairsTo(t, p, "a=1", "a=2")
	mustAppend(t, p, 0, "y")
	alter := func(f func(*TopicConfig)) {
		if _, err := s.AlterTopic(testContext(t), "orders", f); err != nil {
			t.Fatal(err)
		}
	}
	alter(func(c *TopicConfig) { *c = compactedTopic })
	compactTopic(t, topic)
	want := []string{"0:=x", "2:a=2", "3:=y"}
	expect(t, "compacted", readTexts(t, topic, FromBeginning()), want...)
	alter(func(c *TopicConfig) { *c = TopicConfig{Retention: Retention{Records: 2}} })
	appendPairsTo(t, p, "a=3")
	expect(t, "not compacted any more", readTexts(t, topic, FromBeginning()), append(want, "4:a=3")...)
}

// With fewer keys at once than there are it takes several runs, and each of them
// leaves a log that is right.
func TestCompactionInSeveralPasses(t *testing.T) {
	l := compactLimits()
	l.CompactKeyBytes = 4 * 64
	s := logSystem(t, storagefake.New(), WithPartitionLimits(l))
	topic := declare(t, s, "orders", compactedTopic)
	p := newProducer(t, topic, ProducerOptions{})
	var m compactModel
	for i := range 60 {
		text := fmt.Sprintf("k%d=%d", i*7%20, i)
		m.all = append(m.all, text)
		appendPairsTo(t, p, text)
	}
	if info := compactTopic(t, topic); info.Clean != 59 || info.Records > 20 || info.RecordsBefore > 30 {
		t.Errorf("it says %+v", info)
	}
	if err := m.checkWhole(topic, 0); err != nil {
		t.Error(err)
	}
}

// A tombstone stays as long as it was told after the values before it have gone.
func TestTombstonesStayAndGo(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		ctx := context.Background()
		store := storagefake.New()
		s := NewSystem(store, WithPartitionLimits(compactLimits()))
		config := compactedTopic
		config.Compaction.DeleteRetention = time.Hour
		topic := declare(t, s, "orders", config)
		p := newProducer(t, topic, ProducerOptions{})
		appendPairsTo(t, p, "a=1", "b=1")
		appendPairsTo(t, p, "a")
		time.Sleep(10 * time.Hour)
		expect(t, "the head", readTexts(t, topic, FromBeginning()), "0:a=1", "1:b=1", "2:a")
		appendPairsTo(t, p, "c=1")
		time.Sleep(DefaultRetentionEvery)
		synctest.Wait() // by itself
		expect(t, "compacted", readTexts(t, topic, FromBeginning()), "1:b=1", "2:a", "3:c=1")
		for range 5 { // whatever else is compacted
			time.Sleep(9 * time.Minute)
			appendPairsTo(t, p, "c=2")
			compactTopic(t, topic)
		}
		expect(t, "within the hour", readTexts(t, topic, FromBeginning()), "1:b=1", "2:a", "7:c=2", "8:c=2")
		if err := errors.Join(p.Close(ctx), s.Close(ctx)); err != nil {
			t.Fatal(err)
		}
		s = NewSystem(store.Restart(), WithPartitionLimits(compactLimits()))
		topic = declare(t, s, "orders", config)
		time.Sleep(20 * time.Minute)
		synctest.Wait() // by itself again, though nothing is appended
		expect(t, "after the hour", readTexts(t, topic, FromBeginning()), "1:b=1", "7:c=2", "8:c=2")
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// What is younger than the lag is left alone, what is older than the other is
// compacted though it is little, and so is nothing by itself while it is little.
func TestWhenCompactionIsDue(t *testing.T) {
	for name, c := range map[string]struct {
		Compaction
		bytes int
		clean uint64 // after an hour of a record a minute, of one key
	}{
		"by the ratio":  {Compaction{}, 1, 59},
		"too little":    {Compaction{}, 1 << 20, 0},
		"the least lag": {Compaction{MinCompactionLag: 20 * time.Minute}, 1, 40},
		"the most lag":  {Compaction{MaxCompactionLag: 30 * time.Minute}, 1 << 20, 30},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T) {
				ctx, l := context.Background(), compactLimits()
				l.CompactBytes = c.bytes
				s := NewSystem(storagefake.New(), WithPartitionLimits(l))
				c.Compaction.Enabled = true
				topic := declare(t, s, "orders", TopicConfig{Compaction: c.Compaction})
				p := newProducer(t, topic, ProducerOptions{})
				for range 60 {
					appendPairsTo(t, p, "a=1")
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				infos, err := topic.Describe(ctx)
				if err != nil || infos[0].Compaction.Clean > c.clean || infos[0].Compaction.Clean+2 < c.clean {
					t.Errorf("%+v, %v; want clean up to %d", infos, err, c.clean)
				}
				if err := errors.Join(p.Close(ctx), s.Close(ctx)); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// Whatever happens in whatever order: what a reader makes of a compacted partition
// is what it would have made of everything.
func TestCompactionAgainstAModel(t *testing.T) {
	for seed := range uint64(20) {
		inVirtualTime(t, func(t *testing.T) {
			r := newCompactRun(t, seed)
			for step := 0; step < 50 && !t.Failed(); step++ {
				r.step()
				if err := r.m.checkWhole(r.topic, r.m.low+r.random.Uint64N(uint64(len(r.m.all))-r.m.low+1)); err != nil {
					t.Errorf("seed %d: %v; the steps were %v", seed, err, r.steps)
				}
			}
			r.close()
		})
	}
}

// compactRun does what chance wants with a compacted partition.
type compactRun struct {
	t      *testing.T
	random *rand.Rand
	store  *storagefake.Store
	config TopicConfig
	limits PartitionLimits
	sys    *System
	topic  *Topic
	p      *Producer
	m      compactModel
	times  []time.Time // of the records
	steps  []string
}

func newCompactRun(t *testing.T, seed uint64) *compactRun {
	random := rand.New(rand.NewPCG(seed, 0))
	r := &compactRun{t: t, random: random, store: storagefake.New(), limits: compactLimits(), config: compactedTopic}
	r.limits.CacheBytes = []int{1, 300, 1 << 20}[random.IntN(3)]
	r.limits.CompactKeyBytes = []int{1, 256, 1 << 20}[random.IntN(3)]
	r.limits.SnapshotEntries = 2 + random.IntN(30)
	r.limits.RetentionEvery = 24 * 365 * time.Hour
	r.config.Compaction.DeleteRetention = time.Minute
	r.config.Durability = []Durability{Fsync, Interval}[random.IntN(2)]
	r.config.Compression = []Compression{Uncompressed, S2}[random.IntN(2)]
	r.open()
	return r
}

func (r *compactRun) open() {
	r.sys = NewSystem(r.store, WithPartitionLimits(r.limits))
	r.topic = declare(r.t, r.sys, "orders", r.config)
	r.p = newProducer(r.t, r.topic, ProducerOptions{})
}

func (r *compactRun) close() {
	if err := errors.Join(r.p.Close(context.Background()), r.sys.Close(context.Background())); err != nil {
		r.t.Error(err)
	}
}

func (r *compactRun) step() {
	ctx := context.Background()
	var err error
	var what string
	switch n := r.random.IntN(20); {
	case n < 10:
		var texts []string
		for range 1 + r.random.IntN(6) {
			texts = append(texts, []string{"a", "b", "c", "d", "e"}[r.random.IntN(5)]+[]string{"=x", "=y", "=", ""}[r.random.IntN(4)])
			r.times = append(r.times, time.Now())
		}
		what = fmt.Sprint("append ", texts)
		_, err = r.p.Append(ctx, 0, pairs(texts...))
		r.m.all = append(r.m.all, texts...)
	case n < 14:
		what = "compact"
		_, err = r.topic.Compact(ctx, 0)
	case n < 16:
		wait := time.Duration(1+r.random.IntN(100)) * time.Second
		what = fmt.Sprint("wait ", wait)
		time.Sleep(wait)
	case n < 17:
		what = "close and open"
		r.close()
		r.store = r.store.Restart()
		r.open()
	case n < 18:
		what = "kill and open"
		r.store = r.store.Restart()
		r.close()
		r.open()
	case n < 19 && r.random.IntN(3) == 0:
		before := r.m.low + r.random.Uint64N(uint64(len(r.m.all))-r.m.low+1)
		what = fmt.Sprint("trim before ", before)
		var b Bounds
		b, err = r.topic.Trim(ctx, 0, before)
		if b.First > before || b.First < r.m.low || before == uint64(len(r.m.all)) && b.First != before {
			err = errors.Join(err, fmt.Errorf("a trim left %+v", b))
		}
		r.m.low = b.First
	case len(r.times) > int(r.m.low):
		i := r.m.low + r.random.Uint64N(uint64(len(r.times))-r.m.low)
		what = fmt.Sprint("look up when came ", i)
		var at uint64
		at, err = r.topic.OffsetAt(ctx, 0, r.times[i])
		if at > i || at < r.m.low {
			err = errors.Join(err, fmt.Errorf("offset %d was appended at %v, and %d comes first", i, r.times[i], at))
		}
	}
	if r.steps = append(r.steps, what); err != nil {
		r.t.Errorf("%s: %v; the steps were %v", what, err, r.steps)
	}
}

// A compacted topic with a retention loses what is too old, though it is in a batch
// with what is not: with the next compaction.
func TestCompactionWithRetention(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		ctx, store := context.Background(), storagefake.New()
		s := NewSystem(store, WithPartitionLimits(compactLimits()))
		config := TopicConfig{Compaction: Compaction{Enabled: true}, Retention: Retention{Age: time.Hour}}
		topic := declare(t, s, "orders", config)
		p := newProducer(t, topic, ProducerOptions{})
		appendPairsTo(t, p, "old=1", "a=0")
		for i := range 100 { // one batch of the compacted log holds all of it
			time.Sleep(time.Minute)
			appendPairsTo(t, p, fmt.Sprint("a=", i), fmt.Sprint("b", i, "=1"))
		}
		time.Sleep(2 * DefaultRetentionEvery)
		synctest.Wait()
		got := readTexts(t, topic, FromBeginning())
		if len(got) < 60 || len(got) > 110 || strings.Contains(strings.Join(got, " "), "old") {
			t.Errorf("it holds %d records: %v", len(got), got)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if b, err := topic.Bounds(ctx, 0); err != nil || b != (Bounds{202, 202}) {
			t.Errorf("in the end it holds %+v, %v", b, err)
		}
		if logs := compactedLogs(t, store); len(logs) != 0 {
			t.Errorf("compacted logs are left: %v", logs)
		}
		appendPairsTo(t, p, "z=1")
		expect(t, "and goes on", readTexts(t, topic, FromBeginning()), "202:z=1")
		if err := errors.Join(p.Close(ctx), s.Close(ctx)); err != nil {
			t.Fatal(err)
		}
	})
}

// Bytes are dropped from the beginning, across the compacted log and the head.
func TestCompactionWithRetentionOfBytes(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		ctx, l := context.Background(), compactLimits()
		s := NewSystem(storagefake.New(), WithPartitionLimits(l))
		topic := declare(t, s, "orders", TopicConfig{Compaction: Compaction{Enabled: true}, Retention: Retention{Bytes: 2 << 20}})
		p := newProducer(t, topic, ProducerOptions{})
		var m compactModel
		for i := range 60 {
			text := fmt.Sprintf("k%d=%s", i, strings.Repeat("x", 100_000))
			m.all = append(m.all, text)
			appendPairsTo(t, p, text)
			time.Sleep(5 * time.Second)
		}
		time.Sleep(2 * DefaultRetentionEvery)
		synctest.Wait()
		infos, err := topic.Describe(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if i := infos[0]; i.Bytes > 2<<20 || i.Bytes < 1<<20 || i.First == 0 || i.First > 50 {
			t.Errorf("it holds %+v", i)
		}
		m.low = infos[0].First
		if err := m.checkWhole(topic, m.low); err != nil {
			t.Error(err)
		}
		if err := errors.Join(p.Close(ctx), s.Close(ctx)); err != nil {
			t.Fatal(err)
		}
	})
}

// Which compacted log is in force survives a snapshot, whatever the numbers are.
func TestSnapshotsNameTheCompactedLog(t *testing.T) {
	for _, want := range []*cleaned{nil, {log: "topic_orders_0_c1-1"},
		{log: "topic_orders_0_c7-2", last: 3, end: 1 << 60, head: 5, since: -7, records: 4, tombstones: 1, oldest: NoTime, report: runReport{1, 2, 3, 4}}} {
		s, again := newLogState(10), newLogState(10)
		s.next, s.low = 1<<61, 4
		if err := again.restore(s.snapshotWith(want)); err != nil {
			t.Fatal(err)
		}
		if got := again.cleaned; (got == nil) != (want == nil) || got != nil && *got != *want || again.next != s.next || again.low != 4 {
			t.Errorf("it reads %+v, want %+v", got, want)
		}
	}
}

func TestNamesOfCompactedLogs(t *testing.T) {
	name := cleanedName(ordersLog, 12, 3)
	if err := storage.CheckName(name); err != nil {
		t.Error(err)
	}
	if epoch, ok := cleanedEpoch(ordersLog, name); !ok || epoch != 12 {
		t.Errorf("%s is of epoch %d, %v", name, epoch, ok)
	}
	for _, other := range []string{ordersLog, ordersLog + "_c", ordersLog + "_c12", ordersLog + "_cx-1", "topic_orders_1_c1-1", ordersLog + "_c-1"} {
		if epoch, ok := cleanedEpoch(ordersLog, other); ok {
			t.Errorf("%s is taken for one of epoch %d", other, epoch)
		}
	}
}
