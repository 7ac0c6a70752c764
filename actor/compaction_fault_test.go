package actor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// mortalStore is a store whose process is killed in front of the n-th step that
// changes something: neither that nor anything after it happens.
type mortalStore struct {
	storage.Store
	steps, lives *atomic.Int64
	dead         chan struct{}
	once         sync.Once
}

func newMortalStore(inner storage.Store, steps int64) *mortalStore {
	m := &mortalStore{Store: inner, steps: new(atomic.Int64), lives: new(atomic.Int64), dead: make(chan struct{})}
	m.lives.Store(steps)
	return m
}

func (m *mortalStore) step() error {
	if m.steps.Add(1) >= m.lives.Load() {
		m.once.Do(func() { close(m.dead) })
		return storage.ErrClosed
	}
	return nil
}

func (m *mortalStore) OpenLog(ctx context.Context, name string, o storage.LogOptions) (storage.Log, error) {
	if err := m.step(); err != nil {
		return nil, err
	}
	l, err := m.Store.OpenLog(ctx, name, o)
	return &mortalLog{l, m}, err
}

func (m *mortalStore) DeleteLog(ctx context.Context, name string) error {
	if err := m.step(); err != nil {
		return err
	}
	return m.Store.DeleteLog(ctx, name)
}

type mortalLog struct {
	storage.Log
	m *mortalStore
}

func (l *mortalLog) Append(ctx context.Context, kind storage.Kind, data []byte, expect uint64) (uint64, error) {
	if err := l.m.step(); err != nil {
		return 0, err
	}
	return l.Log.Append(ctx, kind, data, expect)
}

func (l *mortalLog) Trim(ctx context.Context, before uint64) error {
	if err := l.m.step(); err != nil {
		return err
	}
	return l.Log.Trim(ctx, before)
}

// The process is killed in front of every single step that changes the store, with
// compactions, trims and appends under way. Whatever step it is, the next process
// finds every record that was acknowledged, compacts what is left to compact, and
// leaves no log behind.
func TestCompactionKilledAtEveryStep(t *testing.T) {
	limits := compactLimits()
	limits.CompactKeyBytes = 3 * 64
	killed := 0
	for steps := int64(1); ; steps++ {
		inner := storagefake.New()
		store := newMortalStore(inner, steps)
		var m compactModel
		done := compactUntilKilled(t, store, limits, &m)
		inner = inner.Restart()
		checkAfterKill(t, steps, inner, limits, &m)
		if t.Failed() {
			return
		}
		if done {
			break
		}
		killed++
	}
	if killed < 40 {
		t.Errorf("it was killed at %d steps only", killed)
	}
}

// compactUntilKilled works on a partition, and notes in the model what was
// acknowledged. It says whether it came to the end.
func compactUntilKilled(t *testing.T, store *mortalStore, limits PartitionLimits, m *compactModel) bool {
	s := NewSystem(store, WithPartitionLimits(limits))
	defer func() { _ = s.Close(testContext(t)) }()
	topic, err := s.Declare(testContext(t), "orders", compactedTopic)
	if err != nil {
		return false
	}
	p := newProducer(t, topic, ProducerOptions{})
	for i := range 24 {
		texts := []string{fmt.Sprintf("k%d=%d", i%5, i), fmt.Sprintf("k%d", (i+2)%7)}
		if _, err := p.Append(testContext(t), 0, pairs(texts...)); err != nil {
			return false
		}
		m.all = append(m.all, texts...)
		if i%6 != 5 {
			continue
		}
		if _, err := topic.Compact(testContext(t), 0); err != nil {
			return false
		}
		if i == 17 {
			if _, err := topic.Trim(testContext(t), 0, 5); err != nil {
				return false
			}
			m.low = 0 // what goes depends on the batches
			m.both = true
		}
	}
	return true
}

func checkAfterKill(t *testing.T, steps int64, store *storagefake.Store, limits PartitionLimits, m *compactModel) {
	t.Helper()
	s := NewSystem(store, WithPartitionLimits(limits))
	defer func() {
		if err := s.Close(testContext(t)); err != nil {
			t.Errorf("killed at step %d: close: %v", steps, err)
		}
	}()
	topic := declare(t, s, "orders", compactedTopic)
	b, err := topic.Bounds(testContext(t), 0)
	if err != nil {
		t.Errorf("killed at step %d: %v", steps, err)
		return
	}
	if b.Next > uint64(len(m.all)) { // appended, and not acknowledged any more
		i := len(m.all) / 2
		m.all = append(m.all, fmt.Sprintf("k%d=%d", i%5, i), fmt.Sprintf("k%d", (i+2)%7))
	}
	if err := m.checkWhole(topic, 0); err != nil {
		t.Errorf("killed at step %d: %v", steps, err)
	}
	appendPairsTo(t, newProducer(t, topic, ProducerOptions{}), "last=1")
	m.all = append(m.all, "last=1")
	compactTopic(t, topic)
	if err := m.checkWhole(topic, 0); err != nil {
		t.Errorf("killed at step %d, then compacted: %v", steps, err)
	}
	// The next owner finds what this one could not know of, and deletes it.
	if err := s.Close(testContext(t)); err != nil {
		t.Error(err)
	}
	store = store.Restart()
	s = NewSystem(store, WithPartitionLimits(limits))
	topic = declare(t, s, "orders", compactedTopic)
	if err := m.checkWhole(topic, 0); err != nil {
		t.Errorf("killed at step %d, then opened twice: %v", steps, err)
	}
	ref, _ := topic.partition(0)
	s.Send(ref.pid.Load(), retain{})
	eventually(t, "left-overs to be deleted", func() bool { return len(compactedLogs(t, store)) <= 1 })
}

// compactHeld begins a compaction and holds it at its append to a log.
type heldAppends struct {
	mu      sync.Mutex
	matches func(storagefake.Append) bool
	arrived chan struct{}
	release chan struct{}
}

func holdAppend(store *storagefake.Store, matches func(storagefake.Append) bool) *heldAppends {
	h := &heldAppends{matches: matches, arrived: make(chan struct{}), release: make(chan struct{})}
	store.OnAppend(func(a storagefake.Append) storagefake.Fault {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.matches == nil || !h.matches(a) {
			return storagefake.Fault{}
		}
		h.matches = nil
		close(h.arrived)
		return storagefake.Fault{Hold: h.release}
	})
	return h
}

// An owner is replaced while it compacts. Whether it is held while it writes the
// compacted log or at the moment of putting that in force: nothing it does counts,
// and nothing that its successor has is lost.
func TestZombieCompacts(t *testing.T) {
	for name, matches := range map[string]func(storagefake.Append) bool{
		"writing":          func(a storagefake.Append) bool { return strings.HasPrefix(a.Log, cleanedPrefix(ordersLog)) },
		"putting in force": func(a storagefake.Append) bool { return a.Log == ordersLog && a.Kind == storage.State },
	} {
		for _, first := range []bool{true, false} { // is there a compacted log in force already?
			t.Run(fmt.Sprintf("%s, in force before: %v", name, !first), func(t *testing.T) {
				store := storagefake.New()
				zombie := logSystem(t, store, WithPartitionLimits(compactLimits()))
				zt := declare(t, zombie, "orders", compactedTopic)
				zp := newProducer(t, zt, ProducerOptions{})
				var m compactModel
				put := func(p *Producer, texts ...string) {
					appendPairsTo(t, p, texts...)
					m.all = append(m.all, texts...)
				}
				put(zp, "a=1", "b=1")
				put(zp, "a=2")
				put(zp, "c=1")
				if !first {
					compactTopic(t, zt)
					put(zp, "b=2")
					put(zp, "c=2")
				}
				held := holdAppend(store, matches)
				answer := make(chan error, 1)
				go func() {
					_, err := zt.Compact(context.Background(), 0)
					answer <- err
				}()
				await(t, held.arrived, "the zombie's compaction")

				heir := logSystem(t, store, WithPartitionLimits(compactLimits()))
				ht, err := heir.Topic(testContext(t), "orders")
				if err != nil {
					t.Fatal(err)
				}
				hp := newProducer(t, ht, ProducerOptions{})
				put(hp, "a=3")
				put(hp, "d=1")
				if err := m.checkWhole(ht, 0); err != nil {
					t.Errorf("before the zombie goes on: %v", err)
				}
				info := compactTopic(t, ht)
				close(held.release)
				if err := await(t, answer, "the zombie's answer"); err == nil {
					// Told of a log that was written: then it must be the heir that
					// has it in force, and it is not.
					t.Error("a zombie was told that its compaction is in force")
				}
				put(hp, "e=1")
				if err := m.checkWhole(ht, 0); err != nil {
					t.Errorf("after the zombie went on: %v", err)
				}
				if again := compactTopic(t, ht); again.Clean <= info.Clean {
					t.Errorf("it says %+v after %+v", again, info)
				}
				if err := m.checkWhole(ht, 0); err != nil {
					t.Error(err)
				}
				ref, _ := ht.partition(0)
				heir.Send(ref.pid.Load(), retain{})
				if err := heir.Close(testContext(t)); err != nil {
					t.Fatal(err)
				}
				after := logSystem(t, store, WithPartitionLimits(compactLimits()))
				at, err := after.Topic(testContext(t), "orders")
				if err == nil {
					err = m.checkWhole(at, 0)
				}
				if err != nil {
					t.Errorf("opened again: %v", err)
				}
				ref, _ = at.partition(0)
				after.Send(ref.pid.Load(), retain{})
				eventually(t, "left-overs to be deleted", func() bool { return len(compactedLogs(t, store)) == 1 })
			})
		}
	}
}

// A snapshot that slips in between the successor's reading and its marker counts:
// the log that it puts in force is in force.
func TestACompactedLogComesInForceWhileAnotherTakesOver(t *testing.T) {
	store := storagefake.New()
	old := logSystem(t, store, WithPartitionLimits(compactLimits()))
	topic := declare(t, old, "orders", compactedTopic)
	p := newProducer(t, topic, ProducerOptions{})
	m := compactModel{all: []string{"a=1", "a=2", "b=1"}}
	for _, text := range m.all {
		appendPairsTo(t, p, text)
	}
	held := holdAppend(store, func(a storagefake.Append) bool { return a.Log == ordersLog && a.Kind == storage.Epoch })
	heir := logSystem(t, store, WithPartitionLimits(compactLimits()))
	ht, err := heir.Topic(testContext(t), "orders")
	if err != nil {
		t.Fatal(err)
	}
	bounds := make(chan error, 1)
	go func() {
		_, err := ht.Bounds(context.Background(), 0)
		bounds <- err
	}()
	await(t, held.arrived, "the successor's marker")
	compactTopic(t, topic)
	close(held.release)
	if err := await(t, bounds, "the successor"); err != nil {
		t.Fatal(err)
	}
	if err := m.checkWhole(ht, 0); err != nil {
		t.Error(err)
	}
	infos, err := ht.Describe(testContext(t))
	if err != nil || infos[0].Compaction.Clean != 2 {
		t.Errorf("the successor has %+v, %v", infos, err)
	}
}

// Lost answers, of the compacted log's appends and of the snapshot's.
func TestCompactionAndLostAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		log   string
		fault storagefake.Fault
		fails bool // and is then tried again
	}{
		"of the log":              {cleanedPrefix(ordersLog), storagefake.Fault{LoseReply: true}, true},
		"of the snapshot":         {ordersLog, storagefake.Fault{LoseReply: true}, false},
		"of a snapshot, not made": {ordersLog, storagefake.Fault{LoseRequest: true}, false},
		"no space for the log":    {cleanedPrefix(ordersLog), storagefake.Fault{Err: storage.ErrFull}, true},
		"no space for a snapshot": {ordersLog, storagefake.Fault{Err: storage.ErrFull}, true},
	} {
		t.Run(name, func(t *testing.T) {
			store := storagefake.New()
			s := logSystem(t, store, WithPartitionLimits(compactLimits()))
			topic := declare(t, s, "orders", compactedTopic)
			p := newProducer(t, topic, ProducerOptions{})
			m := compactModel{all: []string{"a=1", "a=2", "b=1"}}
			for _, text := range m.all {
				appendPairsTo(t, p, text)
			}
			var once atomic.Bool
			store.OnAppend(func(a storagefake.Append) storagefake.Fault {
				is := strings.HasPrefix(a.Log, c.log)
				if c.log == ordersLog {
					is = a.Log == ordersLog && a.Kind == storage.State
				}
				if is && !once.Swap(true) {
					return c.fault
				}
				return storagefake.Fault{}
			})
			_, err := topic.Compact(testContext(t), 0)
			if (err != nil) != c.fails {
				t.Errorf("compacting: %v", err)
			}
			if err := m.checkWhole(topic, 0); err != nil {
				t.Error(err)
			}
			if c.fails {
				infos, err := topic.Describe(testContext(t))
				if err != nil || infos[0].Compaction.Failed == "" || infos[0].Compaction.Clean != 0 {
					t.Errorf("it says %+v, %v", infos, err)
				}
				eventually(t, "what was made in vain to be deleted", func() bool { return len(compactedLogs(t, store)) == 0 })
			}
			if info := compactTopic(t, topic); info.Clean != 2 || info.Failed != "" {
				t.Errorf("in the end it says %+v", info)
			}
			if err := m.checkWhole(topic, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// Damage of the compacted log is reported where it is, and only there.
func TestDamageOfACompactedLog(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store, WithPartitionLimits(compactLimits()))
	topic := declare(t, s, "orders", compactedTopic)
	p := newProducer(t, topic, ProducerOptions{})
	appendPairsTo(t, p, "a=1", "b=1")
	appendPairsTo(t, p, "a=2")
	appendPairsTo(t, p, "c=1")
	compactTopic(t, topic)
	log := compactedLogs(t, store)[0]
	flip := func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	if err := store.Corrupt(log, 1, flip); err != nil {
		t.Fatal(err)
	}
	r := openReader(t, topic, 0, FromBeginning())
	if _, err := r.Next(testContext(t)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("reading a damaged batch: %v", err)
	}
	r.Seek(3)
	if got, err := readPairs(testContext(t), r); err != nil || len(got) != 1 {
		t.Errorf("behind it: %v, %v", got, err)
	}
	appendPairsTo(t, p, "c=2")
	if _, err := topic.Compact(testContext(t), 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("compacting it: %v", err)
	}
	if err := store.Corrupt(log, 1, flip); err != nil {
		t.Fatal(err)
	}
	compactTopic(t, topic)
	expect(t, "repaired", readTexts(t, topic, FromBeginning()), "1:b=1", "2:a=2", "3:c=1", "4:c=2")
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	store = store.Restart()
	for _, log := range compactedLogs(t, store) {
		if err := store.DeleteLog(testContext(t), log); err != nil {
			t.Fatal(err)
		}
	}
	s = logSystem(t, store, WithPartitionLimits(compactLimits()))
	if _, err := declare(t, s, "orders", compactedTopic).Bounds(testContext(t), 0); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "backup") {
		t.Errorf("without its compacted log: %v", err)
	}
}

// Publishers, readers from everywhere, compaction without a pause, and a trim now
// and then, all at once. Each key only ever rises, for every reader; and in the end
// each has its last value.
func TestCompactionLedger(t *testing.T) {
	const publishers, each, keys = 3, 120, 17
	limits := compactLimits()
	limits.CompactKeyBytes, limits.SnapshotEntries = 8*64, 20
	s := logSystem(t, storagefake.New(), WithPartitionLimits(limits))
	topic := declare(t, s, "orders", compactedTopic)
	ctx, stop := context.WithCancel(testContext(t))
	var work, others sync.WaitGroup
	last := make([]map[string]string, publishers)
	for n := range publishers {
		last[n] = map[string]string{}
		work.Go(func() {
			p, err := topic.NewProducer(ProducerOptions{ID: fmt.Sprint("p", n)})
			if err != nil {
				t.Error(err)
				return
			}
			for i := range each {
				key := fmt.Sprintf("p%d-%d", n, rand.IntN(keys))
				text := fmt.Sprintf("%s=%06d", key, i)
				if rand.IntN(5) == 0 {
					text = key
				}
				if _, err := p.Append(ctx, 0, pairs(text)); err != nil {
					t.Error(err)
					return
				}
				amount(last[n], text)
			}
		})
	}
	others.Go(func() {
		for ctx.Err() == nil {
			if _, err := topic.Compact(ctx, 0); err != nil && ctx.Err() == nil {
				t.Errorf("compact: %v", err)
				return
			}
		}
	})
	for range 2 {
		others.Go(func() {
			for ctx.Err() == nil {
				if err := readRising(ctx, topic); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	stop()
	others.Wait()
	compactTopic(t, topic)
	got, err := readPairs(testContext(t), openReader(t, topic, 0, FromBeginning()))
	if err != nil {
		t.Fatal(err)
	}
	if most := publishers*keys + 1; len(got) > most {
		t.Errorf("%d records are left of %d keys", len(got), publishers*keys)
	}
	is := map[string]string{}
	for _, rec := range got {
		amount(is, rec.text)
	}
	for n := range last {
		for key, value := range last[n] {
			if is[key] != value {
				t.Errorf("%s is %q, and was left at %q", key, is[key], value)
			}
			delete(is, key)
		}
	}
	if len(is) > 0 {
		t.Errorf("deleted keys are back: %v", is)
	}
}

// readRising reads from the beginning to the end, and fails when an offset or the
// value of a key goes back.
func readRising(ctx context.Context, topic *Topic) error {
	r, err := topic.OpenReader(ctx, 0, FromBeginning())
	if err != nil {
		return err
	}
	defer r.Close()
	next, values := uint64(0), map[string]string{}
	for {
		batch, err := r.TryNext(ctx)
		if errors.Is(err, ErrEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		some, err := appendPairs(nil, batch)
		if err != nil {
			return err
		}
		for _, rec := range some {
			key, value, ok := strings.Cut(rec.text, "=")
			if rec.offset < next || ok && value <= values[key] {
				return fmt.Errorf("offset %d: %s comes after offset %d and %s", rec.offset, rec.text, next, values[key])
			}
			if next = rec.offset + 1; ok {
				values[key] = value
			}
		}
	}
}

// Damage right behind a compacted log does not look as if that had been trimmed.
func TestDamageBehindACompactedLog(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store, WithPartitionLimits(compactLimits()))
	topic := declare(t, s, "orders", compactedTopic)
	p := newProducer(t, topic, ProducerOptions{})
	for _, text := range []string{"a=1", "a=2", "b=1", "c=1"} {
		appendPairsTo(t, p, text)
	}
	compactTopic(t, topic)
	appendPairsTo(t, p, "d=1")
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	store = store.Restart()
	// 1 is the marker, then four batches, the last of which is the head's first.
	if err := store.Corrupt(ordersLog, 5, func(b []byte) []byte { b[20] ^= 1; return b }); err != nil {
		t.Fatal(err)
	}
	s = logSystem(t, store, WithPartitionLimits(compactLimits()))
	topic = declare(t, s, "orders", compactedTopic)
	r := openReader(t, topic, 0, FromBeginning())
	batch, err := r.Next(testContext(t))
	if err != nil || batch.Offset() != 1 || batch.Left() != 2 {
		t.Errorf("the compacted part begins with %+v, %v", batch, err)
	}
	if _, err := r.Next(testContext(t)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("behind it: %v", err)
	}
	r.Seek(4)
	if got, err := readPairs(testContext(t), r); err != nil || len(got) != 1 {
		t.Errorf("behind the damage: %v, %v", got, err)
	}
}

// A reader stops half-way through a compacted log of many batches, another takes its
// place, and it goes on in that: what it remembers of its place is not good there.
func TestAReaderGoesOnInTheNextCompactedLog(t *testing.T) {
	l := compactLimits()
	l.ReadBytes = 1
	s := logSystem(t, storagefake.New(), WithPartitionLimits(l))
	topic := declare(t, s, "orders", compactedTopic)
	p := newProducer(t, topic, ProducerOptions{})
	var m compactModel
	put := func(key int) {
		text := fmt.Sprintf("k%02d=%s", key, strings.Repeat("x", 100_000)) // three to a batch
		m.all = append(m.all, text)
		appendPairsTo(t, p, text)
	}
	for key := range 30 {
		put(key)
	}
	compactTopic(t, topic)
	r := openReader(t, topic, 0, FromBeginning())
	var got []located
	next := func() error {
		batch, err := r.TryNext(testContext(t))
		if err == nil {
			got, err = appendPairs(got, batch)
		}
		return err
	}
	for range 5 {
		if err := next(); err != nil {
			t.Fatal(err)
		}
	}
	for key := range 12 { // the batches in front of its place go
		put(key)
	}
	compactTopic(t, topic)
	var err error
	for err == nil {
		err = next()
	}
	if !errors.Is(err, ErrEnd) {
		t.Fatal(err)
	}
	is := map[string]string{}
	for i, rec := range got {
		if i > 0 && got[i-1].offset >= rec.offset {
			t.Errorf("offset %d comes after %d", rec.offset, got[i-1].offset)
		}
		amount(is, rec.text)
	}
	if len(is) != 30 || len(got) < 42 || got[len(got)-1].offset != 41 {
		t.Errorf("it has read %d records of %d keys", len(got), len(is))
	}
}

// A new owner deletes what its predecessors have left, and nothing of a successor.
func TestWhatIsLeftBehind(t *testing.T) {
	store := storagefake.New()
	inForce := &cleaned{log: cleanedName(ordersLog, 3, 2)}
	for _, name := range []string{ordersLog, ordersLog + "0", inForce.log, cleanedName(ordersLog, 3, 1), cleanedName(ordersLog, 9, 1),
		cleanedName("topic_orders_1", 3, 1), ordersLog + "_cx"} {
		if _, err := store.OpenLog(testContext(t), name, storage.LogOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	left, err := leftBehind(testContext(t), store, ordersLog, 9, inForce)
	if err != nil || len(left) != 1 || left[0] != cleanedName(ordersLog, 3, 1) {
		t.Errorf("%v, %v", left, err)
	}
}
