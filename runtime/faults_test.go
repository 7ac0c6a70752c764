package runtime_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
	"github.com/troupestream/troupe/runtime/runtimetest/ledger"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// The input of the fault tests: record i is always the same, and so is every
// result that follows from it.
const (
	faultSplits = 3
	faultKeys   = 20
	faultBound  = 5 * time.Second
	faultWindow = 10 * time.Second
)

// reading is a record of the fault tests.
type reading struct {
	ID    int64 `json:"id"`
	At    int64 `json:"at"` // Unix milliseconds, out of order within faultBound
	Value int64 `json:"value"`
}

var faultEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func readingOf(i int64) reading {
	jitter := i * 7919 % (faultBound.Milliseconds() / 2)
	return reading{ID: i, At: faultEpoch.UnixMilli() + i*10 - jitter, Value: i * i % 1009}
}

// key spreads the records of every split over all keys.
func (r reading) key() string { return "k" + strconv.FormatInt(r.ID/faultSplits%faultKeys, 10) }

func (r reading) time() time.Time { return time.UnixMilli(r.At) }

// id names the record in a ledger: splits and keys keep their order.
func (r reading) id() ledger.ID {
	return ledger.ID{Producer: "split-" + strconv.FormatInt(r.ID%faultSplits, 10), Seq: uint64(r.ID)}
}

// total is the result of a window.
type total struct {
	Key   string `json:"key"`
	Start int64  `json:"start"`
	Count int64  `json:"count"`
	Sum   int64  `json:"sum"`
}

type windowKey struct {
	key   string
	start int64
}

func (w total) windowKey() windowKey { return windowKey{w.Key, w.Start} }

// totalsOf is the batch answer for the records below n.
func totalsOf(n int64) map[windowKey]total {
	all := map[windowKey]total{}
	for i := range n {
		r := readingOf(i)
		k := windowKey{r.key(), r.At - r.At%faultWindow.Milliseconds()}
		w := all[k]
		all[k] = total{k.key, k.start, w.Count + 1, w.Sum + r.Value}
	}
	return all
}

// faultSinks are the outputs of the topology under test.
type faultSinks struct {
	records topology.Sink[reading]
	copies  topology.Sink[reading]
	totals  topology.Sink[total]
	results topology.Sink[total]
}

const (
	recordsFile = "records.jsonl"
	totalsFile  = "totals.jsonl"
)

func sinksIn(dir string) faultSinks {
	return faultSinks{
		records: sinks.JSONLines[reading](filepath.Join(dir, recordsFile)),
		copies:  sinks.Topic(recordsTopic()),
		totals:  sinks.JSONLines[total](filepath.Join(dir, totalsFile)),
		results: sinks.Topic(topics.Of[total]("totals")),
	}
}

func recordsTopic() topics.Topic[reading] {
	return topics.Of[reading]("records").Partitions(2).KeyedBy(func(r reading) []byte { return []byte(r.key()) })
}

// faultTopology reads readings, copies them, and counts them in windows.
func faultTopology(in topology.Source[reading], out faultSinks) *topology.Builder {
	b := topology.New("faults")
	all := topology.From(b, "readings", in)
	topology.To(all, "records", out.records)
	topology.To(all, "copies", out.copies)
	timed := topology.EventTime(all, "time", faultBound, reading.time)
	byKey := topology.KeyBy(timed, "by-key", reading.key)
	windows, _ := topology.WindowFold(byKey, "totals", topology.Tumbling(faultWindow),
		func(_ string, w total, r reading) total { return total{Count: w.Count + 1, Sum: w.Sum + r.Value} })
	totals := topology.Map(windows, "name", func(w topology.Window[string, total]) total {
		return total{w.Key, w.Start.UnixMilli(), w.Value.Count, w.Value.Sum}
	})
	topology.To(totals, "totals-file", out.totals)
	topology.To(totals, "totals-topic", out.results)
	return b
}

func readings(n int64, rate float64) topology.Source[reading] {
	return sources.Generator(readingOf, sources.Count(n), sources.Splits(faultSplits), sources.Rate(rate))
}

// judge compares all that the topology has put out with what it should be.
func judge(t *testing.T, dir string, n int64) {
	t.Helper()
	e := openFaults(t, dir)
	defer closeEngine(t, e)
	var records, results ledger.Ledger
	for i := range n {
		r := readingOf(i)
		records.Sent(ledger.Send{ID: r.id(), Key: r.key(), Offset: ledger.NoOffset})
	}
	want := totalsOf(n)
	for k := range want {
		results.Sent(ledger.Send{ID: ledger.ID{Producer: k.key, Seq: uint64(k.start)}, Offset: ledger.NoOffset})
	}
	judgeRecords(t, e, dir, n, &records)
	judgeTotals(t, e, dir, want, &results)
	for _, v := range []*ledger.Verdict{records.Check(), results.Check()} {
		if err := v.Err(); err != nil {
			t.Error(err)
		}
	}
}

func judgeRecords(t *testing.T, e *runtime.Engine, dir string, n int64, l *ledger.Ledger) {
	l.Declare(ledger.Sink{Name: "file", EffectivelyOnce: true})
	l.Declare(ledger.Sink{Name: "topic", EffectivelyOnce: true})
	got := readJSONLines[reading](t, filepath.Join(dir, recordsFile))
	for _, r := range got {
		l.Delivered(ledger.Delivery{Sink: "file", ID: r.id(), Key: r.key(), Attempt: 1})
	}
	l.Finished(ledger.Read{What: "file", Want: n, Got: int64(len(got))})
	l.CheckLogs()
	in := 0
	readTopic(t, e, "records", func(p int, offset int64, r reading) {
		in++
		l.Logged(ledger.Entry{Reader: "test", Partition: p, Offset: offset, ID: r.id(), Key: r.key()})
		l.Delivered(ledger.Delivery{Sink: "topic", ID: r.id(), Key: r.key(), Attempt: 1})
	})
	l.Finished(ledger.Read{What: "topic", Want: n, Got: int64(in)})
}

func judgeTotals(t *testing.T, e *runtime.Engine, dir string, want map[windowKey]total, l *ledger.Ledger) {
	file, topic := map[windowKey]total{}, map[windowKey]total{}
	deliver := func(sink string, into map[windowKey]total, w total) {
		into[w.windowKey()] = w
		l.Delivered(ledger.Delivery{Sink: sink, ID: ledger.ID{Producer: w.Key, Seq: uint64(w.Start)}, Attempt: 1})
	}
	for _, sink := range []string{"file", "topic"} {
		l.Declare(ledger.Sink{Name: sink, EffectivelyOnce: true})
	}
	for _, w := range readJSONLines[total](t, filepath.Join(dir, totalsFile)) {
		deliver("file", file, w)
	}
	readTopic(t, e, "totals", func(_ int, _ int64, w total) { deliver("topic", topic, w) })
	l.Finished(ledger.Read{What: "file", Want: int64(len(want)), Got: int64(len(file))})
	l.Finished(ledger.Read{What: "topic", Want: int64(len(want)), Got: int64(len(topic))})
	ledger.CompareState(l, "totals in the file", want, file)
	ledger.CompareState(l, "totals in the topic", want, topic)
}

// quiet is the logger of tests that do not look at the log.
var quiet = slog.New(slog.DiscardHandler)

func openFaults(t *testing.T, dir string, opts ...runtime.Option) *runtime.Engine {
	t.Helper()
	e, err := runtime.Open(within(t), append([]runtime.Option{runtime.DataDir(filepath.Join(dir, "data")), runtime.Logger(quiet),
		runtime.ExactlyOnce()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	closedInTheEnd(t, e)
	return e
}

func closeEngine(t *testing.T, e *runtime.Engine) {
	t.Helper()
	if err := e.Close(within(t)); err != nil {
		t.Error(err)
	}
}

func readJSONLines[T any](t *testing.T, path string) (all []T) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return all
		}
		var v T
		if err == nil {
			err = json.Unmarshal(line, &v)
		}
		if err != nil {
			t.Fatalf("%s: line %d: %q: %v", path, len(all)+1, line, err)
		}
		all = append(all, v)
	}
}

// readTopic calls f with all that a topic holds.
func readTopic[T any](t *testing.T, e *runtime.Engine, name string, f func(partition int, offset int64, v T)) {
	t.Helper()
	eachRecord(t, e, name, func(p int, offset int64, r *codec.Record) {
		v, err := codec.For[T]().Decode(r.Value)
		if err != nil {
			t.Fatalf("topic %s, partition %d, offset %d: %v", name, p, offset, err)
		}
		f(p, offset, v)
	})
}

func eachRecord(t *testing.T, e *runtime.Engine, name string, f func(partition int, offset int64, r *codec.Record)) {
	t.Helper()
	ctx := within(t)
	topic, err := e.Topic(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	for p := range topic.Partitions() {
		if err := eachInPartition(ctx, topic, p, f); err != nil {
			t.Fatal(err)
		}
	}
}

func eachInPartition(ctx context.Context, topic *actor.Topic, p int, f func(int, int64, *codec.Record)) error {
	reader, err := topic.OpenReader(ctx, p, actor.FromBeginning())
	if err != nil {
		return err
	}
	defer reader.Close()
	for offset := int64(0); ; {
		batch, err := reader.TryNext(ctx)
		if errors.Is(err, actor.ErrEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		for r := (codec.Record{}); batch.Next(&r); offset++ {
			f(p, offset, &r)
		}
		if err := batch.Err(); err != nil {
			return err
		}
	}
}

// fragile is a sink that marks the moments at which a kill is most interesting.
type fragile[T any] struct {
	topology.Sink[T]
	life *runtimetest.Life
}

func (s fragile[T]) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	s.life.Moment()
	w, err := s.Sink.Open(ctx, o)
	return fragileWriter[T]{w, s.life}, err
}

type fragileWriter[T any] struct {
	topology.SinkWriter[T]
	life *runtimetest.Life
}

func (w fragileWriter[T]) Prepare(ctx context.Context, checkpoint uint64) ([]byte, error) {
	w.life.Moment()
	state, err := w.SinkWriter.Prepare(ctx, checkpoint)
	w.life.Moment()
	return state, err
}

func (w fragileWriter[T]) Commit(ctx context.Context, checkpoint uint64) error {
	w.life.Moment()
	err := w.SinkWriter.Commit(ctx, checkpoint)
	w.life.Moment()
	return err
}

func fragileSinks(s faultSinks, l *runtimetest.Life) faultSinks {
	return faultSinks{fragile[reading]{s.records, l}, fragile[reading]{s.copies, l}, fragile[total]{s.totals, l}, fragile[total]{s.results, l}}
}
