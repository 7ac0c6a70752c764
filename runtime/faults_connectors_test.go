package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// shortFuse is the number on which a fuse panics whenever it is written or read.
const shortFuse = 77

var fuseCalls atomic.Int64 // calls that panicked

// fuse is a number with text of its own, which JSON and CSV use.
type fuse int64

func (f fuse) burn() {
	if f == shortFuse {
		fuseCalls.Add(1)
		panic("a short fuse")
	}
}

func (f fuse) MarshalText() ([]byte, error) {
	f.burn()
	return strconv.AppendInt(nil, int64(f), 10), nil
}

func (f *fuse) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	*f = fuse(n)
	f.burn()
	return err
}

type bomb struct {
	N fuse `json:"n" csv:"n"`
}

// bombCodec stores bombs by their text.
type bombCodec struct{}

func (bombCodec) Append(dst []byte, b bomb) ([]byte, error) {
	text, err := b.N.MarshalText()
	return append(dst, text...), err
}

func (bombCodec) Decode(data []byte) (b bomb, err error) { return b, b.N.UnmarshalText(data) }

func bombs() topics.Topic[bomb] { return topics.Of[bomb]("bombs").StoredAs(bombCodec{}) }

const bombCount = 200

func (bombCodec) Name() string { return "bomb" }

// bombSinks write bombs by user code; each with how many records it holds.
var bombSinks = map[string]func(dir string) topology.Sink[bomb]{
	"json":  func(dir string) topology.Sink[bomb] { return sinks.JSONLines[bomb](filepath.Join(dir, "bombs")) },
	"csv":   func(dir string) topology.Sink[bomb] { return sinks.CSV[bomb](filepath.Join(dir, "bombs")) },
	"topic": func(string) topology.Sink[bomb] { return sinks.Topic(bombs()) },
}

func bombsTo(out topology.Sink[bomb], on topology.ErrorOption) *topology.Builder {
	b := topology.New("faults")
	in := topology.From(b, "in", sources.Generator(func(i int64) bomb { return bomb{fuse(i)} }, sources.Count(bombCount)))
	topology.To(in, "out", out, on)
	return b
}

func held(t *testing.T, e *runtime.Engine, dir, kind string) (n int) {
	t.Helper()
	if kind == "topic" {
		eachRecord(t, e, "bombs", func(int, int64, *codec.Record) { n++ })
		return n
	}
	data, err := os.ReadFile(filepath.Join(dir, "bombs"))
	if err != nil {
		t.Fatal(err)
	}
	n = strings.Count(string(data), "\n")
	if kind == "csv" {
		n--
	}
	return n
}

func TestAPanicInASinksUserCodeFollowsThePolicy(t *testing.T) {
	for kind, sink := range bombSinks {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t)
			e := r.open()
			defer func() { closeEngine(t, e) }()
			run := func(then ...topology.Reaction) error {
				fuseCalls.Store(0)
				then = append(then, topology.Retry(4, time.Microsecond))
				report, err := e.Run(within(t), bombsTo(sink(r.dir), topology.OnError(then...)), runtime.FreshState(), runtime.ExactlyOnce())
				if report.Restarts != 0 {
					t.Errorf("%d restarts", report.Restarts)
				}
				return err
			}
			wantOneClearError(t, run(topology.FailJob()), `sink "out" cannot write a record`, "a short fuse")
			if n := fuseCalls.Load(); n < 4 || n > 5 { // the error shows the record, if it can
				t.Errorf("%d calls", n)
			}
			before := 0
			if kind == "topic" {
				before = held(t, e, r.dir, kind)
			}
			if err := run(topology.Skip()); err != nil {
				t.Fatal(err)
			}
			if n := held(t, e, r.dir, kind) - before; n != bombCount-1 {
				t.Errorf("%d records are there", n)
			}
			if err := run(topology.DeadLetter("duds")); err != nil {
				t.Fatal(err)
			}
			wantDud(t, e, "duds", map[string]string{actor.HeaderOperator: "out", actor.HeaderAttempts: "4", actor.HeaderOrigin: "in/",
				actor.HeaderError: "a short fuse", actor.HeaderStack: "fuse.burn"})
		})
	}
}

func wantOneClearError(t *testing.T, err error, parts ...string) {
	t.Helper()
	var record *dataflow.RecordError
	if !errors.As(err, &record) || record.Stack == "" {
		t.Fatalf("err = %v", err)
	}
	for _, part := range append(parts, "give the") {
		if strings.Count(err.Error(), part) != 1 || strings.Contains(err.Error(), "\n") {
			t.Errorf("err = %v, want %q in it once", err, part)
		}
	}
}

// wantDud requires the one letter of the record that panicked.
func wantDud(t *testing.T, e *runtime.Engine, topic string, headers map[string]string) {
	t.Helper()
	n := 0
	eachRecord(t, e, topic, func(_ int, _ int64, rec *codec.Record) {
		n++
		got := headersOf(rec)
		for key, part := range headers {
			if !strings.Contains(got[key], part) {
				t.Errorf("header %s is %q, want %q in it", key, got[key], part)
			}
		}
	})
	if n != 1 {
		t.Errorf("%d letters", n)
	}
}

// bombOrigins say which record it is.
var bombOrigins = map[string]string{"ndjson": "in.ndjson:78", "csv": "in.csv:79", "topic": "offset 77", "generator": "record 77"}

// bombSources read bombs by user code.
func bombSources(t *testing.T, r *rig, e *runtime.Engine) map[string]topology.Source[bomb] {
	lines, rows := "", "n\n"
	for i := range bombCount {
		lines += fmt.Sprintf("{\"n\":\"%d\"}\n", i)
		rows += fmt.Sprintf("%d\n", i)
	}
	write := func(name, text string) string {
		path := filepath.Join(r.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	appendAll(t, e, "bombs", bombCount)
	return map[string]topology.Source[bomb]{
		"ndjson":    sources.NDJSON[bomb](write("in.ndjson", lines)),
		"csv":       sources.CSV[bomb](write("in.csv", rows)),
		"topic":     sources.Topic(bombs()),
		"generator": sources.Generator(func(i int64) bomb { fuse(i).burn(); return bomb{fuse(i)} }, sources.Count(bombCount)),
	}
}

// appendAll fills a topic with the texts of bombs.
func appendAll(t *testing.T, e *runtime.Engine, name string, n int) {
	t.Helper()
	topic, err := e.Declare(within(t), name, actor.TopicConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	p, err := topic.NewProducer(actor.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := p.Append(within(t), 0, []codec.Record{{Value: strconv.AppendInt(nil, int64(i), 10), Time: codec.NoTime}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(within(t)); err != nil {
		t.Fatal(err)
	}
}

func TestAPanicInASourcesUserCodeFollowsThePolicy(t *testing.T) {
	r := newRig(t)
	e := r.open()
	defer func() { closeEngine(t, e) }()
	for kind, in := range bombSources(t, r, e) {
		t.Run(kind, func(t *testing.T) {
			run := func(then topology.Reaction) (int, error) {
				out := sinks.Discard[bomb]()
				b := topology.New("faults-" + kind)
				topology.To(topology.From(b, "in", in, topology.OnError(then)), "out", out)
				fuseCalls.Store(0)
				report, err := e.Run(within(t), b, runtime.FreshState(), runtime.UntilEnd())
				if report.Restarts != 0 || fuseCalls.Load() != 1 {
					t.Errorf("%d restarts, %d calls", report.Restarts, fuseCalls.Load())
				}
				return int(out.Count()), err
			}
			_, err := run(topology.FailJob())
			wantOneClearError(t, err, `source "in"`, "a short fuse")
			for _, then := range []topology.Reaction{topology.Skip(), topology.DeadLetter("duds-" + kind)} {
				if n, err := run(then); err != nil || n != bombCount-1 {
					t.Errorf("%d records, %v", n, err)
				}
			}
			wantDud(t, e, "duds-"+kind, map[string]string{actor.HeaderOperator: "in", actor.HeaderAttempts: "1",
				actor.HeaderOrigin: bombOrigins[kind], actor.HeaderError: "a short fuse", actor.HeaderStack: "fuse.burn"})
		})
	}
}

// collapsing is a connector that panics where it is told to.
type collapsing struct {
	brittle
	where string
}

func (c collapsing) at(where string) {
	if c.where == where {
		panic("it fell apart")
	}
}

func (c collapsing) Splits(context.Context) ([]string, error) {
	c.at("Splits")
	return []string{"only"}, nil
}
func (c collapsing) Close() error { return nil }

func (c collapsing) Read(context.Context, *topology.Batch[int], int) error {
	c.at("Read")
	return errors.New("it has nothing")
}

type collapsingSource struct{ collapsing }

func (s collapsingSource) Open(context.Context, topology.OpenRequest) (topology.SourceReader[int], error) {
	s.at("Open")
	return s.collapsing, nil
}

type collapsingSink struct {
	collapsing
	inline bool
}

func (s collapsingSink) Info() topology.SinkInfo { return topology.SinkInfo{Inline: s.inline} }

func (s collapsingSink) Open(context.Context, topology.SinkOpen) (topology.SinkWriter[int], error) {
	s.at("Open")
	return s, nil
}

func (s collapsingSink) Write(context.Context, *topology.Batch[int]) error { s.at("Write"); return nil }
func (s collapsingSink) Commit(context.Context, uint64) error              { return nil }
func (s collapsingSink) Prepare(context.Context, uint64) ([]byte, error) {
	s.at("Prepare")
	return nil, nil
}

// A connector that panics outside of any record fails the job in the end, with
// an error that says who it was.
func TestAPanicOfAConnectorNamesIt(t *testing.T) {
	fails := func(t *testing.T, in topology.Source[int], out topology.Sink[int], who string) {
		t.Helper()
		b := topology.New("collapsing")
		topology.To(topology.From(b, "in", in), "out", out)
		e := open(t, t.TempDir())
		_, err := e.Run(within(t), b, runtime.Restarts(1, 0))
		if err == nil || strings.Count(err.Error(), who) != 1 || !strings.Contains(err.Error(), "panicked: it fell apart") || strings.Contains(err.Error(), "\n") {
			t.Errorf("err = %v, want one that names %s", err, who)
		}
	}
	for _, where := range []string{"Splits", "Open", "Read"} {
		t.Run("source "+where, func(t *testing.T) {
			fails(t, collapsingSource{collapsing{where: where}}, sinks.Discard[int](), `source "in"`)
		})
	}
	for _, where := range []string{"Open", "Write", "Prepare"} {
		for _, inline := range []bool{false, true} {
			t.Run(fmt.Sprintf("sink %s, inline %v", where, inline), func(t *testing.T) {
				fails(t, sources.Slice(1, 2, 3), collapsingSink{collapsing{where: where}, inline}, `sink "out"`)
			})
		}
	}
}

// A job can follow another of its name at once: nothing that is still under way
// to the actors of the one is taken for the other's.
func TestJobsOfOneNameFollowEachOtherAtOnce(t *testing.T) {
	r := newRig(t)
	e := r.open()
	defer func() { closeEngine(t, e) }()
	for i := range 100 {
		b := topology.New("again")
		topology.To(topology.From(b, "in", sources.Slices([]int{1}, []int{2})), "out", sinks.Discard[int]())
		report, err := e.Run(within(t), b, runtime.FreshState())
		if err != nil || !report.Finished || report.Restarts != 0 {
			t.Fatalf("run %d: %+v, %v\n%s", i, report, err, r.log)
		}
	}
}
