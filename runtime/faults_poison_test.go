package runtime_test

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

const poisonRecords = 3000

// calls counts how often user code was called for a record.
type calls struct {
	mu sync.Mutex
	of map[int64]int
}

// poison panics on that record, every time.
func (c *calls) poison(id, bad int64) {
	if id != bad {
		return
	}
	c.mu.Lock()
	c.of[id]++
	c.mu.Unlock()
	panic(fmt.Sprintf("record %d is poison", id))
}

type sum struct {
	Key   string
	Count int64
	Sum   int64
}

// poisoned are topologies with one operator that panics on a record after it has
// changed state and emitted; each counts the others by key.
var poisoned = map[string]func(b *topology.Builder, in topology.Stream[reading], c *calls, bad int64, on topology.ErrorOption) topology.Stream[sum]{
	"map": func(_ *topology.Builder, in topology.Stream[reading], c *calls, bad int64, on topology.ErrorOption) topology.Stream[sum] {
		m := topology.Map(in, "victim", func(r reading) reading { c.poison(r.ID, bad); return r }, on)
		return topology.Fold(topology.KeyBy(m, "by-key", reading.key), "sums", foldSum)
	},
	"fold": func(_ *topology.Builder, in topology.Stream[reading], c *calls, bad int64, on topology.ErrorOption) topology.Stream[sum] {
		return topology.Fold(topology.KeyBy(in, "by-key", reading.key), "victim", func(k string, s sum, r reading) sum {
			s = foldSum(k, s, r)
			c.poison(r.ID, bad)
			return s
		}, on)
	},
	"process": func(_ *topology.Builder, in topology.Stream[reading], c *calls, bad int64, on topology.ErrorOption) topology.Stream[sum] {
		return topology.Process(topology.KeyBy(in, "by-key", reading.key), "victim", func(p *topology.Processor[string, reading, sum]) {
			state := topology.ValueOf[sum](p, "sum")
			p.OnRecord(func(r reading) {
				state.Set(foldSum(p.Key(), state.Get(), r))
				p.Emit(state.Get())
				c.poison(r.ID, bad)
			})
		}, on)
	},
}

func foldSum(k string, s sum, r reading) sum { return sum{k, s.Count + 1, s.Sum + r.Value} }

// sumsWithout is the batch answer without one record: every state of every key.
func sumsWithout(bad int64) map[sum]int {
	all, state := map[sum]int{}, map[string]sum{}
	for i := range int64(poisonRecords) {
		if r := readingOf(i); i != bad {
			state[r.key()] = foldSum(r.key(), state[r.key()], r)
			all[state[r.key()]]++
		}
	}
	return all
}

func (r *rig) poison(kind string, bad int64, c *calls, on topology.ErrorOption) (*sinks.SliceSink[sum], *topology.Builder) {
	out := sinks.Slice[sum]()
	b := topology.New("faults")
	// One split: the sums of a key depend on the order of its records.
	in := topology.From(b, "readings", sources.Generator(readingOf, sources.Count(poisonRecords)))
	topology.To(poisoned[kind](b, in, c, bad, on), "out", topology.Sink[sum](out))
	return out, b
}

func TestPoisonGoesToItsTopicAndHarmsNobody(t *testing.T) {
	for kind := range poisoned {
		t.Run(kind, func(t *testing.T) {
			for _, bad := range []int64{0, 1234, poisonRecords - 1} {
				r, c := newRig(t), &calls{of: map[int64]int{}}
				out, b := r.poison(kind, bad, c, topology.OnError(topology.Retry(4, time.Microsecond), topology.DeadLetter("poison")))
				e := r.open()
				report, err := e.Run(within(t), b)
				if err != nil || report.Restarts != 0 {
					t.Fatalf("%+v %v", report, err)
				}
				sameSums(t, out.Values(), sumsWithout(bad))
				if c.of[bad] != 4 {
					t.Errorf("called %d times", c.of[bad])
				}
				checkLetter(t, e, bad)
				closeEngine(t, e)
			}
		})
	}
}

func sameSums(t *testing.T, got []sum, want map[sum]int) {
	t.Helper()
	for _, s := range got {
		if want[s]--; want[s] < 0 {
			t.Errorf("%+v is wrong, or there too often", s)
		}
	}
	for s, n := range want {
		if n > 0 {
			t.Errorf("%+v is missing", s)
		}
	}
}

func checkLetter(t *testing.T, e *runtime.Engine, bad int64) {
	t.Helper()
	n := 0
	eachRecord(t, e, "poison", func(_ int, _ int64, rec *codec.Record) {
		n++
		if v, err := codec.For[reading]().Decode(rec.Value); err != nil || v != readingOf(bad) {
			t.Errorf("the letter holds %+v, %v", v, err)
		}
		h := headersOf(rec)
		if h[actor.HeaderOperator] != "victim" || h[actor.HeaderJob] != "faults" || h[actor.HeaderAttempts] != "4" ||
			!strings.Contains(h[actor.HeaderError], fmt.Sprint("record ", bad, " is poison")) ||
			!strings.Contains(h[actor.HeaderStack], "poison") || h[actor.HeaderOrigin] == "" {
			t.Errorf("headers %q", h)
		}
	})
	if n != 1 {
		t.Errorf("%d letters", n)
	}
}

func headersOf(r *codec.Record) map[string]string {
	all := map[string]string{}
	for _, h := range r.Headers {
		all[h.Key] = string(h.Value)
	}
	return all
}

func TestPoisonFailsTheJobWithOneClearError(t *testing.T) {
	for kind := range poisoned {
		t.Run(kind, func(t *testing.T) {
			r, c := newRig(t), &calls{of: map[int64]int{}}
			_, b := r.poison(kind, 1234, c, topology.OnError(topology.Retry(2, time.Microsecond), topology.FailJob()))
			log := r.log
			_, err := r.run(b)
			var failure *dataflow.Failure
			if !errors.As(err, &failure) || failure.Node != "victim" || failure.Attempts != 2 || failure.Stack == "" {
				t.Fatalf("err = %v", err)
			}
			if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, `operator "victim"`) || !strings.Contains(text, "record 1234 is poison") {
				t.Errorf("err = %v", err)
			}
			if c.of[1234] != 2 {
				t.Errorf("called %d times: to begin again would not have helped", c.of[1234])
			}
			if n := log.count(slog.LevelError, "an actor failed"); n != 0 {
				t.Errorf("%d actors panicked", n)
			}
		})
	}
}

// A job that failed on a record goes on from its last checkpoint when its code
// was mended.
func TestAMendedJobGoesOn(t *testing.T) {
	r, c := newRig(t), &calls{of: map[int64]int{}}
	out, b := r.poison("fold", 2345, c, topology.OnError(topology.Retry(1, 0), topology.FailJob()))
	if _, err := r.run(b, runtime.CheckpointEvery(time.Millisecond)); err == nil {
		t.Fatal("no error")
	}
	b = topology.New("faults")
	in := topology.From(b, "readings", sources.Generator(readingOf, sources.Count(poisonRecords)))
	topology.To(poisoned["fold"](b, in, c, -1, topology.OnError()), "out", topology.Sink[sum](out))
	if _, err := r.run(b); err != nil {
		t.Fatal(err)
	}
	sameSums(t, out.Values(), sumsWithout(-1))
}

// TestAnUndecodableRecordIsPassedOver puts garbage between the records of a topic.
func TestAnUndecodableRecordIsPassedOver(t *testing.T) {
	r := newRig(t)
	e := r.open()
	defer func() { closeEngine(t, e) }()
	appendReadings(t, e, 500)
	appendGarbage(t, e, "records", 1)
	ids := func(on topology.ErrorOption) (*sinks.SliceSink[int64], error) {
		out := sinks.Slice[int64]()
		b := topology.New("faults")
		in := topology.From(b, "in", sources.Topic(recordsTopic()), on)
		topology.To(topology.Map(in, "id", func(r reading) int64 { return r.ID }), "out", topology.Sink[int64](out))
		_, err := e.Run(within(t), b, runtime.UntilEnd(), runtime.FreshState())
		return out, err
	}
	out, err := ids(topology.OnError(topology.DeadLetter("garbage")))
	if err != nil || len(out.Values()) != 500 {
		t.Fatalf("%d records, %v", len(out.Values()), err)
	}
	n := 0
	eachRecord(t, e, "garbage", func(_ int, _ int64, rec *codec.Record) {
		n++
		h := headersOf(rec)
		if string(rec.Value) != garbage || h[actor.HeaderOperator] != "in" || !strings.Contains(h[actor.HeaderOrigin], "topic records, partition 1, offset ") ||
			!strings.Contains(h[actor.HeaderError], "cannot be decoded") {
			t.Errorf("%q %q", rec.Value, h)
		}
	})
	if n != 1 {
		t.Errorf("%d letters", n)
	}
	_, err = ids(topology.OnError(topology.FailJob()))
	var record *dataflow.RecordError
	if !errors.As(err, &record) || !strings.Contains(err.Error(), `source "in"`) || !strings.Contains(err.Error(), "partition 1, offset") {
		t.Errorf("err = %v", err)
	}
}

const garbage = "\xdd\xff\xff\xff\xff"

func appendGarbage(t *testing.T, e *runtime.Engine, name string, partition int) {
	t.Helper()
	topic, err := e.Topic(within(t), name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := topic.NewProducer(actor.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Append(within(t), partition, []codec.Record{{Value: []byte(garbage), Time: codec.NoTime}}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(within(t)); err != nil {
		t.Fatal(err)
	}
}

// A damaged batch cannot be passed over: nobody knows what was in it.
func TestACorruptBatchFailsTheJob(t *testing.T) {
	r := newRig(t)
	e := r.open()
	appendReadings(t, e, 500)
	closeEngine(t, e)
	r.restart()
	all := r.entries("topic_records_0", storage.Data)
	r.corrupt("topic_records_0", all[0].Seq, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	b := topology.New("faults")
	topology.To(topology.From(b, "in", sources.Topic(recordsTopic()), topology.OnError(topology.Skip())), "out", sinks.Discard[reading]())
	_, err := r.run(b, runtime.UntilEnd(), runtime.Restarts(1, 0))
	if !errors.Is(err, actor.ErrCorrupt) || !strings.Contains(err.Error(), `source "in"`) || !strings.Contains(err.Error(), "records") {
		t.Errorf("err = %v", err)
	}
}

// A record that its sink cannot take follows the sink's policy.
func TestAnUnwritableRecordGoesToItsTopic(t *testing.T) {
	r := newRig(t)
	e := r.open()
	defer func() { closeEngine(t, e) }()
	b := topology.New("faults")
	in := topology.From(b, "in", sources.Generator(func(i int64) string {
		if i == 77 {
			return "two\nlines"
		}
		return strconv.FormatInt(i, 10)
	}, sources.Count(200)))
	path := r.dir + "/lines"
	topology.To(in, "out", sinks.Lines(path), topology.OnError(topology.DeadLetter("unwritable")))
	if _, err := e.Run(within(t), b); err != nil {
		t.Fatal(err)
	}
	n := 0
	eachRecord(t, e, "unwritable", func(_ int, _ int64, rec *codec.Record) {
		n++
		if string(rec.Value) != "two\nlines" || headersOf(rec)[actor.HeaderOperator] != "out" {
			t.Errorf("%q %q", rec.Value, headersOf(rec))
		}
	})
	if lines := readJSONLines[int](t, path); n != 1 || len(lines) != 199 {
		t.Errorf("%d letters, %d lines", n, len(lines))
	}
}

// User code that ends its goroutine, or keeps its thread, harms its job at most.
// odd is written by a function.
type odd struct{ f func() }

func (o odd) MarshalText() ([]byte, error) { o.f(); return []byte("odd"), nil }

func TestUserCodeThatDoesNotReturn(t *testing.T) {
	fold := func(f func()) *topology.Builder {
		b := topology.New("odd")
		keyed := topology.KeyBy(topology.From(b, "in", sources.Slice(1, 2, 3)), "all", func(int) string { return "" })
		topology.To(topology.Fold(keyed, "odd", func(_ string, n, _ int) int { f(); return n + 1 }), "out", sinks.Discard[int]())
		return b
	}
	flat := func(f func()) *topology.Builder { // work that may have to stop half-way runs elsewhere
		b := topology.New("odd")
		topology.To(topology.FlatMap(topology.From(b, "in", sources.Slice(1, 2, 3)), "odd",
			func(n int) []int { f(); return []int{n} }), "out", sinks.Discard[int]())
		return b
	}
	read := func(f func()) *topology.Builder {
		b := topology.New("odd")
		in := topology.From(b, "in", sources.Generator(func(i int64) int64 { f(); return i }, sources.Count(3)))
		topology.To(in, "out", sinks.Discard[int64]())
		return b
	}
	write := func(f func()) *topology.Builder {
		b := topology.New("odd")
		in := topology.From(b, "in", sources.Slice(odd{f}))
		topology.To(in, "out", sinks.JSONLines[odd](filepath.Join(t.TempDir(), "out")), topology.Parallelism(2))
		return b
	}
	e := openFaults(t, t.TempDir(), runtime.Restarts(0, time.Millisecond), runtime.CheckpointEvery(time.Millisecond))
	defer closeEngine(t, e)
	for name, of := range map[string]func(func()) *topology.Builder{"fold": fold, "flat map": flat, "source": read, "sink": write} {
		if _, err := e.Run(within(t), of(goruntime.Goexit), runtime.FreshState()); err == nil || !strings.Contains(err.Error(), "runtime.Goexit") {
			t.Errorf("Goexit in a %s: %v", name, err)
		}
		if r, err := e.Run(within(t), of(goruntime.LockOSThread), runtime.FreshState()); err != nil || !r.Finished {
			t.Errorf("LockOSThread in a %s: %+v, %v", name, r, err)
		}
	}
}
