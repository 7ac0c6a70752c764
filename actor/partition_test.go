package actor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

const ordersLog = "topic_orders_0"

// script decides about the appends to the log of the topic under test.
type script struct {
	mu    sync.Mutex
	steps []step
}

// step is for the next append of a kind that matches, once.
type step struct {
	kind    storage.Kind
	fault   storagefake.Fault
	arrived chan struct{} // closed when the append is about to happen
}

func (s *script) expect(kind storage.Kind, fault storagefake.Fault) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	arrived := make(chan struct{})
	s.steps = append(s.steps, step{kind, fault, arrived})
	return arrived
}

func (s *script) onAppend(a storagefake.Append) storagefake.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, st := range s.steps {
		if a.Log == ordersLog && a.Kind == st.kind {
			s.steps = slices.Delete(s.steps, i, i+1)
			close(st.arrived)
			return st.fault
		}
	}
	return storagefake.Fault{}
}

// outcomeOf appends in the background.
func outcomeOf(t testing.TB, p *Producer, text string) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	err := p.AppendAsync(testContext(t), 0, records(text), func(_ Ack, err error) { done <- err })
	if err != nil {
		done <- err
	}
	return done
}

// An owner has an append under way when another takes over. At every moment at
// which that append can reach the store, it is either in the log in front of
// the marker and acknowledged, or not in the log and refused.
func TestZombieWriter(t *testing.T) {
	moments := []string{
		"before the new owner reads", "between its reading and its marker",
		"after its marker", "after its first append", "with an append of its own under way",
	}
	for moment, name := range moments {
		t.Run(name, func(t *testing.T) {
			store, plan := storagefake.New(), &script{}
			store.OnAppend(plan.onAppend)
			zombie, heir := logSystem(t, store), logSystem(t, store)
			zp := newProducer(t, declare(t, zombie, "orders", TopicConfig{}), ProducerOptions{})
			mustAppend(t, zp, 0, "z0")

			letZombie := make(chan struct{})
			held := plan.expect(storage.Data, storagefake.Fault{Hold: letZombie})
			z1 := outcomeOf(t, zp, "z1")
			await(t, held, "the zombie's append")
			var z1err error
			release := func() { close(letZombie); z1err = await(t, z1, "the zombie's answer") }

			if moment == 0 {
				release()
			}
			letHeir := make(chan struct{})
			marker := plan.expect(storage.Epoch, storagefake.Fault{Hold: letHeir})
			topic, err := heir.Topic(testContext(t), "orders")
			if err != nil {
				t.Fatal(err)
			}
			hp := newProducer(t, topic, ProducerOptions{})
			first := outcomeOf(t, hp, "h0")
			await(t, marker, "the marker")
			if moment == 1 {
				release()
			}
			if moment == 4 {
				letAppend := make(chan struct{})
				under := plan.expect(storage.Data, storagefake.Fault{Hold: letAppend})
				close(letHeir)
				await(t, under, "the new owner's append")
				release()
				close(letAppend)
			} else {
				close(letHeir)
			}
			if moment == 2 {
				if _, err := topic.Bounds(testContext(t), 0); err != nil { // answered behind the marker
					t.Fatal(err)
				}
				release()
			}
			if err := await(t, first, "the new owner's append"); err != nil {
				t.Fatalf("the new owner's append: %v", err)
			}
			if moment == 3 {
				release()
			}
			mustAppend(t, hp, 0, "h1")
			want := []string{"z0", "h0", "h1"}
			if z1err == nil {
				want = []string{"z0", "z1", "h0", "h1"}
			} else if !errors.Is(z1err, ErrFenced) {
				t.Errorf("the zombie was told %v, want nil or ErrFenced", z1err)
			}
			if stored := z1err == nil; stored != (moment < 2) {
				t.Errorf("the zombie's append was stored: %v", stored)
			}
			z2err := await(t, outcomeOf(t, zp, "z2"), "the zombie's last answer")
			if !errors.Is(z2err, ErrFenced) && !errors.Is(z2err, ErrStopped) {
				t.Errorf("a zombie's append was answered with %v", z2err)
			}
			for i := range want {
				want[i] = fmt.Sprint(i, ":", want[i])
			}
			expect(t, "the log", readAll(t, openReader(t, topic, 0, FromBeginning())), want...)
		})
	}
}

// Answers get lost, and appends get lost; markers and snapshots, too. Nobody is
// told what the log does not say.
func TestLostAppendsAndLostAnswers(t *testing.T) {
	limits := DefaultPartitionLimits()
	limits.SnapshotEntries = 3
	kinds := []storagefake.Fault{{}, {}, {}, {LoseReply: true}, {LoseRequest: true}}
	for seed := range uint64(25) {
		random := rand.New(rand.NewPCG(seed, 0))
		var faults []storagefake.Fault
		for range 12 {
			faults = append(faults, kinds[random.IntN(len(kinds))])
		}
		store := storagefake.New()
		var mu sync.Mutex
		store.OnAppend(func(a storagefake.Append) (f storagefake.Fault) {
			mu.Lock()
			defer mu.Unlock()
			if len(faults) > 0 && a.Log == ordersLog {
				f, faults = faults[0], faults[1:]
			}
			return f
		})
		s := NewSystem(store, WithPartitionLimits(limits))
		topic := declare(t, s, "orders", TopicConfig{})
		p := newProducer(t, topic, ProducerOptions{})
		var want []string
		for i := range 8 {
			text := fmt.Sprint("r", i)
			ack := mustAppend(t, p, 0, text)
			if ack.Offset != uint64(i) {
				t.Fatalf("seed %d: append %d got offset %d", seed, i, ack.Offset)
			}
			want = append(want, fmt.Sprint(i, ":", text))
		}
		got := readAll(t, openReader(t, topic, 0, FromBeginning()))
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: got %v, want %v", seed, got, want)
		}
		if err := s.Close(testContext(t)); err != nil {
			t.Fatal(err)
		}
		s = NewSystem(store.Restart(), WithPartitionLimits(limits))
		topic = declare(t, s, "orders", TopicConfig{})
		if got := readAll(t, openReader(t, topic, 0, FromBeginning())); !slices.Equal(got, want) {
			t.Fatalf("seed %d, after a restart: got %v, want %v", seed, got, want)
		}
		if err := s.Close(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestIdempotentProducerAcrossRestarts(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	p := newProducer(t, declare(t, s, "orders", TopicConfig{}), ProducerOptions{ID: "job"})
	mustAppend(t, p, 0, "a", "b")
	saved := p.Sequence(0)
	mustAppend(t, p, 0, "c", "d")
	mustAppend(t, p, 0, "e")
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}

	s = logSystem(t, store.Restart())
	topic := declare(t, s, "orders", TopicConfig{})
	old := newProducer(t, topic, ProducerOptions{ID: "job", Next: map[int]uint64{0: 5}})
	resumed := newProducer(t, topic, ProducerOptions{ID: "job", Epoch: 1, Next: map[int]uint64{0: saved}})
	if ack := mustAppend(t, resumed, 0, "c"); ack != (Ack{Offset: 2, Count: 1, Duplicates: 1}) {
		t.Errorf("a duplicate: %+v", ack)
	}
	// Other borders than the first time: two duplicates, two new ones.
	if ack := mustAppend(t, resumed, 0, "d", "e", "f", "g"); ack != (Ack{Offset: 5, Count: 4, Duplicates: 2}) {
		t.Errorf("partly duplicates: %+v", ack)
	}
	if _, err := old.Append(testContext(t), 0, records("x")); !errors.Is(err, ErrProducerFenced) {
		t.Errorf("an older epoch: %v", err)
	}
	ahead := newProducer(t, topic, ProducerOptions{ID: "job", Epoch: 1, Next: map[int]uint64{0: 9}})
	if _, err := ahead.Append(testContext(t), 0, records("x")); !errors.Is(err, ErrOutOfSequence) {
		t.Errorf("a gap: %v", err)
	}
	expect(t, "the log", readAll(t, openReader(t, topic, 0, FromBeginning())), "0:a", "1:b", "2:c", "3:d", "4:e", "5:f", "6:g")
}

func TestFullStoreRefusesStaysReadableAndHeals(t *testing.T) {
	store := storagefake.New()
	s := logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{ID: "job"})
	mustAppend(t, p, 0, "a")
	store.SetFull(true)
	for range 2 {
		if _, err := p.Append(testContext(t), 0, records("b")); !errors.Is(err, ErrFull) {
			t.Fatalf("append to a full store: %v", err)
		}
	}
	expect(t, "a full store", readAll(t, openReader(t, topic, 0, FromBeginning())), "0:a")
	store.SetFull(false)
	mustAppend(t, p, 0, "b") // with the sequence of the one that was refused
	expect(t, "healed", readAll(t, openReader(t, topic, 0, FromBeginning())), "0:a", "1:b")
}

func TestAPartitionOpensForReadingOnAFullStore(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	mustAppend(t, newProducer(t, declare(t, s, "orders", TopicConfig{}), ProducerOptions{}), 0, "a")
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	store = store.Restart()
	store.SetFull(true)
	s = logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	expect(t, "a full store", readAll(t, openReader(t, topic, 0, FromBeginning())), "0:a")
	if _, err := p.Append(testContext(t), 0, records("b")); !errors.Is(err, ErrFull) {
		t.Fatalf("append to a full store: %v", err)
	}
	store.SetFull(false)
	mustAppend(t, p, 0, "b")
}

func TestCorruptBatchIsReportedAndOthersGoOn(t *testing.T) {
	store := storagefake.New()
	limits := DefaultPartitionLimits()
	limits.CacheBytes = 1 // so that readers must go to the store
	s := logSystem(t, store, WithPartitionLimits(limits))
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	for i := range 5 {
		mustAppend(t, p, 0, fmt.Sprint("r", i))
	}
	const damaged = 4                  // 1 is the marker, so this is offset 2
	for _, at := range []int{20, -1} { // in the head, in the records
		flip := func(b []byte) []byte {
			b[(at+len(b))%len(b)] ^= 1
			return b
		}
		if err := store.Corrupt(ordersLog, damaged, flip); err != nil {
			t.Fatal(err)
		}
		r := openReader(t, topic, 0, FromBeginning())
		for range 2 {
			if _, err := r.Next(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // it does not go away by itself
			_, err := r.Next(testContext(t))
			var where *CorruptError
			if !errors.As(err, &where) || !errors.Is(err, ErrCorrupt) || where.Offset != 2 || where.Seq != damaged {
				t.Fatalf("reading a damaged batch: %v", err)
			}
			if !strings.Contains(err.Error(), "topic orders, partition 0") {
				t.Errorf("the error does not say where: %v", err)
			}
		}
		r.Seek(3)
		expect(t, "behind the damage", readAll(t, r), "3:r3", "4:r4")
		if _, err := openReader(t, topic, 0, FromOffset(2)).Next(testContext(t)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("reading from the damaged offset: %v", err)
		}
		if err := store.Corrupt(ordersLog, damaged, flip); err != nil { // repair
			t.Fatal(err)
		}
	}
	mustAppend(t, p, 0, "r5")
}

// countingStore counts what is read from the logs of a topic.
type countingStore struct {
	storage.Store
	reads, entries *atomic.Int64
}

type countingLog struct {
	storage.Log
	store *countingStore
}

func counting(s storage.Store) *countingStore {
	return &countingStore{s, new(atomic.Int64), new(atomic.Int64)}
}

func (s *countingStore) OpenLog(ctx context.Context, name string, o storage.LogOptions) (storage.Log, error) {
	l, err := s.Store.OpenLog(ctx, name, o)
	if err != nil || !strings.HasPrefix(name, "topic_") {
		return l, err
	}
	return &countingLog{l, s}, nil
}

func (l *countingLog) Read(ctx context.Context, from uint64, maxBytes int) ([]storage.Entry, error) {
	entries, err := l.Log.Read(ctx, from, maxBytes)
	l.store.reads.Add(1)
	l.store.entries.Add(int64(len(entries)))
	return entries, err
}

func TestReopeningReadsOnlyWhatIsNew(t *testing.T) {
	limits := DefaultPartitionLimits()
	limits.SnapshotEntries = 10
	read := map[int]int64{}
	for _, appends := range []int{25, 205} {
		store := storagefake.New()
		s := NewSystem(store, WithPartitionLimits(limits))
		p := newProducer(t, declare(t, s, "orders", TopicConfig{}), ProducerOptions{ID: "p"})
		for i := range appends {
			mustAppend(t, p, 0, fmt.Sprint(i))
		}
		crashed := counting(store.Restart()) // without a clean stop
		if err := s.Close(testContext(t)); err == nil {
			t.Log("closed on a store that is gone")
		}
		s = NewSystem(crashed, WithPartitionLimits(limits))
		topic := declare(t, s, "orders", TopicConfig{})
		if b, err := topic.Bounds(testContext(t), 0); err != nil || b.Next != uint64(appends) {
			t.Fatalf("bounds %v, %v", b, err)
		}
		read[appends] = crashed.entries.Load()
		if err := s.Close(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	if read[205] > read[25]+10 || read[205] > 16 {
		t.Errorf("read %d entries of a log of 25 appends, %d of one of 205", read[25], read[205])
	}
}

func TestReadersAtTheTailDoNotTouchTheStore(t *testing.T) {
	store := counting(storagefake.New())
	s := logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	mustAppend(t, p, 0, "a")
	store.reads.Store(0)
	r := openReader(t, topic, 0, FromBeginning())
	for i := range 20 {
		if _, err := r.Next(testContext(t)); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, p, 0, fmt.Sprint(i))
	}
	if n := store.reads.Load(); n != 0 {
		t.Errorf("%d reads from the store, want 0", n)
	}
}

func TestCatchUpReadsInLargePieces(t *testing.T) {
	fake := storagefake.New()
	s := NewSystem(fake)
	p := newProducer(t, declare(t, s, "orders", TopicConfig{}), ProducerOptions{})
	for i := range 300 {
		mustAppend(t, p, 0, fmt.Sprint(i))
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	store := counting(fake.Restart())
	s = logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	r := openReader(t, topic, 0, FromBeginning())
	store.reads.Store(0)
	if got := readAll(t, r); len(got) != 300 {
		t.Fatalf("read %d records, want 300", len(got))
	}
	if n := store.reads.Load(); n > 20 { // most of it to find the first batch
		t.Errorf("%d reads for 300 small batches, want at most 20", n)
	}
}

func TestTrim(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{ID: "p"})
	for i := range 4 {
		mustAppend(t, p, 0, fmt.Sprint("a", i), fmt.Sprint("b", i))
	}
	check := func(topic *Topic, first uint64) {
		t.Helper()
		if b, err := topic.Bounds(testContext(t), 0); err != nil || b != (Bounds{first, 8}) {
			t.Errorf("bounds %+v, %v, want %d to 8", b, err, first)
		}
		if first == 0 {
			return
		}
		_, err := topic.OpenReader(testContext(t), 0, FromOffset(first-1))
		var where *OffsetError
		if !errors.As(err, &where) || !errors.Is(err, ErrOffsetOutOfRange) || where.First != first || where.Next != 8 {
			t.Errorf("reading a trimmed offset: %v", err)
		}
	}
	trim := func(before, first uint64) {
		t.Helper()
		if b, err := topic.Trim(testContext(t), 0, before); err != nil || b.First != first {
			t.Errorf("trim before %d: %+v, %v, want first %d", before, b, err, first)
		}
		check(topic, first)
	}
	trim(0, 0)
	trim(3, 2) // offset 3 is inside a batch, which stays whole
	trim(1, 2) // it never goes back
	expect(t, "the rest", readAll(t, openReader(t, topic, 0, FromBeginning())), "2:a1", "3:b1", "4:a2", "5:b2", "6:a3", "7:b3")
	if _, err := topic.Trim(testContext(t), 0, 9); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("trim beyond the end: %v", err)
	}
	restart := func() {
		t.Helper()
		if err := s.Close(testContext(t)); err != nil {
			t.Fatal(err)
		}
		store = store.Restart()
		s = NewSystem(store)
		topic = declare(t, s, "orders", TopicConfig{})
	}
	restart()
	check(topic, 2)
	trim(8, 8)
	restart()
	check(topic, 8)
	p = newProducer(t, topic, ProducerOptions{ID: "p", Next: map[int]uint64{0: 7}})
	if ack := mustAppend(t, p, 0, "b3", "new"); ack.Offset != 8 || ack.Duplicates != 1 {
		t.Errorf("after everything was trimmed: %+v", ack)
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestTrimMakesSpaceOnAFullStore(t *testing.T) {
	store := storagefake.New()
	limits := DefaultPartitionLimits()
	limits.SnapshotEntries = 4
	s := logSystem(t, store, WithPartitionLimits(limits))
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	for i := range 10 {
		mustAppend(t, p, 0, fmt.Sprint(i))
	}
	before := logBounds(t, store)
	store.SetFull(true)
	if _, err := topic.Trim(testContext(t), 0, 10); !errors.Is(err, ErrFull) {
		t.Errorf("trim of a full store: %v", err)
	}
	if after := logBounds(t, store); after.First <= before.First {
		t.Error("nothing was dropped although an older snapshot covers it")
	}
	store.SetFull(false)
	mustAppend(t, p, 0, "10")
}

func logBounds(t testing.TB, store storage.Store) storage.Bounds {
	t.Helper()
	log, err := store.OpenLog(testContext(t), ordersLog, storage.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	b, err := log.Bounds(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAPartitionThatPanicsReadsItsLogAgain(t *testing.T) {
	store, plan := storagefake.New(), &script{}
	store.OnAppend(plan.onAppend)
	s := logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	mustAppend(t, p, 0, "a")
	hold := make(chan struct{})
	held := plan.expect(storage.Data, storagefake.Fault{Hold: hold})
	b := outcomeOf(t, p, "b")
	await(t, held, "the append")
	s.Send(topic.partitions[0].pid.Load(), &sized{}) // not an order: our own mistake
	if err := await(t, b, "the answer to what was under way"); !errors.Is(err, ErrUnknown) {
		t.Errorf("what was under way was answered with %v, want ErrUnknown", err)
	}
	mustAppend(t, p, 0, "c") // behind a new marker
	close(hold)
	mustAppend(t, p, 0, "d")
	expect(t, "the log", readAll(t, openReader(t, topic, 0, FromBeginning())), "0:a", "1:c", "2:d")
}

func TestAppendsOfManyProducersShareBatches(t *testing.T) {
	store, plan := storagefake.New(), &script{}
	store.OnAppend(plan.onAppend)
	s := logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	hold := make(chan struct{})
	held := plan.expect(storage.Data, storagefake.Fault{Hold: hold})
	first := outcomeOf(t, p, "0")
	await(t, held, "the first append")
	var rest []<-chan error
	for i := range 50 {
		rest = append(rest, outcomeOf(t, p, fmt.Sprint(i+1)))
	}
	close(hold)
	for _, done := range append(rest, first) {
		if err := await(t, done, "an append"); err != nil {
			t.Fatal(err)
		}
	}
	if last := logBounds(t, store).Last; last > 5 { // marker, first, rest: 3, or a few more
		t.Errorf("51 appends took %d entries, want group commit", last)
	}
}

func TestCompressedTopics(t *testing.T) {
	for _, c := range []Compression{Uncompressed, S2, Zstd} {
		s := logSystem(t, storagefake.New())
		topic := declare(t, s, "orders", TopicConfig{Compression: c})
		p := newProducer(t, topic, ProducerOptions{})
		text := strings.Repeat("words that come again ", 100)
		mustAppend(t, p, 0, text)
		batch, err := openReader(t, topic, 0, FromBeginning()).Next(testContext(t))
		if err != nil {
			t.Fatalf("compression %v: %v", c, err)
		}
		if batch.Info.Compression != c {
			t.Errorf("stored with compression %v, want %v", batch.Info.Compression, c)
		}
		expect(t, "the record", texts(batch), "0:"+text)
	}
}
