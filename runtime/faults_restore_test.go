package runtime_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

const (
	manifestsLog = "job_faults_manifests"
	chunksLog    = "job_faults_chunks"
)

// journal is a logger that remembers, and tells of each line as it comes.
type journal struct {
	mu    sync.Mutex
	lines []slog.Record
	came  chan struct{} // holds one when there is something new
}

func newJournal() *journal { return &journal{came: make(chan struct{}, 1)} }

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	j.lines = append(j.lines, r)
	j.mu.Unlock()
	select {
	case j.came <- struct{}{}:
	default:
	}
	return nil
}

// count says how often something was logged at that level.
func (j *journal) count(level slog.Level, part string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range j.lines {
		if r.Level == level && strings.Contains(r.Message, part) {
			n++
		}
	}
	return n
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, r := range j.lines {
		fmt.Fprint(&b, r.Level, " ", r.Message)
		r.Attrs(func(a slog.Attr) bool { fmt.Fprint(&b, " ", a); return true })
		b.WriteByte('\n')
	}
	return b.String()
}

// await waits until something was logged so often.
func (j *journal) await(t *testing.T, level slog.Level, part string, times int) {
	t.Helper()
	ctx := within(t)
	for j.count(level, part) < times {
		select {
		case <-j.came:
		case <-ctx.Done():
			t.Fatalf("%q was not logged %d times", part, times)
		}
	}
}

// rig runs the topology of the fault tests on a store that can be spoilt.
type rig struct {
	t     *testing.T
	store *storagefake.Store
	dir   string
	log   *journal
	tap   runtimetest.Tap
}

func newRig(t *testing.T) *rig {
	return &rig{t: t, store: storagefake.New(), dir: t.TempDir(), log: newJournal()}
}

func (r *rig) open(opts ...runtime.Option) *runtime.Engine {
	r.t.Helper()
	e, err := runtime.Open(within(r.t), append([]runtime.Option{runtime.Store(r.store), runtime.Logger(slog.New(r.log)),
		runtime.ExactlyOnce(), runtime.CheckpointEvery(0), runtime.Parallelism(2)}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

// restart is what a new process would find.
func (r *rig) restart() { r.store, r.log = r.store.Restart(), newJournal() }

const (
	rigRecords = 3000
	rigPortion = 200 // records that go through before each checkpoint
)

// interrupt runs the job until it has taken so many checkpoints, each with more
// records than the one before, and kills it.
func (r *rig) interrupt(b *topology.Builder, checkpoints int) {
	r.t.Helper()
	e := r.open()
	j, err := e.Start(within(r.t), b)
	if err != nil {
		r.t.Fatal(err)
	}
	c := r.checkpoint(j)
	for range checkpoints {
		c = r.checkpointBehind(j, c)
	}
	r.tap.Pour(rigPortion) // what no checkpoint covers
	if err := j.Kill(within(r.t)); err != nil {
		r.t.Fatal(err)
	}
	closeEngine(r.t, e)
	r.restart()
}

func (r *rig) checkpoint(j *runtime.Job) runtime.Checkpoint {
	r.t.Helper()
	c, err := j.Checkpoint(within(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// checkpointBehind lets a portion through, and takes checkpoints until one has
// more records.
func (r *rig) checkpointBehind(j *runtime.Job, before runtime.Checkpoint) runtime.Checkpoint {
	r.t.Helper()
	r.tap.Pour(rigPortion)
	for r.log.count(slog.LevelError, "") == 0 {
		if c := r.checkpoint(j); c.Records > before.Records {
			return c
		}
	}
	r.t.Fatalf("errors were logged:\n%s", r.log)
	return before
}

func (r *rig) topology() *topology.Builder {
	return faultTopology(runtimetest.Through(&r.tap, readings(rigRecords, 0)), sinksIn(r.dir))
}

// run runs the job to its end in a new engine.
func (r *rig) run(b *topology.Builder, opts ...runtime.Option) (runtime.Report, error) {
	r.t.Helper()
	r.tap.Open()
	defer r.tap.Close()
	e := r.open()
	defer func() {
		if err := e.Close(within(r.t)); err != nil {
			r.t.Error(err)
		}
		r.restart()
	}()
	return e.Run(within(r.t), b, opts...)
}

// finish runs the job to its end and compares its results with the batch answer.
// The topics are not looked at: a job that has fallen back to an older checkpoint
// may have put something there twice.
func (r *rig) finish(opts ...runtime.Option) runtime.Report {
	r.t.Helper()
	report, err := r.run(r.topology(), opts...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.checkFiles()
	return report
}

func (r *rig) checkFiles() {
	r.t.Helper()
	seen := map[int64]bool{}
	for _, v := range readJSONLines[reading](r.t, filepath.Join(r.dir, recordsFile)) {
		if seen[v.ID] {
			r.t.Fatalf("record %d is there twice", v.ID)
		}
		seen[v.ID] = true
	}
	if len(seen) != rigRecords {
		r.t.Errorf("%d records of %d", len(seen), rigRecords)
	}
	want := totalsOf(rigRecords)
	got := readJSONLines[total](r.t, filepath.Join(r.dir, totalsFile))
	if len(got) != len(want) {
		r.t.Errorf("%d windows, want %d", len(got), len(want))
	}
	for _, w := range got {
		if w != want[w.windowKey()] {
			r.t.Errorf("got %+v, want %+v", w, want[w.windowKey()])
		}
	}
}

// entries returns the entries of a log that are of a kind.
func (r *rig) entries(name string, kind storage.Kind) (found []storage.Entry) {
	r.t.Helper()
	log, err := r.store.OpenLog(r.t.Context(), name, storage.LogOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	b, err := log.Bounds(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	all, err := log.Read(r.t.Context(), b.First, 1<<30)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range all {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

func (r *rig) corrupt(log string, seq uint64, f func([]byte) []byte) {
	r.t.Helper()
	if err := r.store.Corrupt(log, seq, f); err != nil {
		r.t.Fatal(err)
	}
}

// damages are what can happen to an entry.
var damages = map[string]func([]byte) []byte{
	"one bit":     func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
	"cut in half": func(b []byte) []byte { return b[:len(b)/2] },
	"zeroes":      func(b []byte) []byte { clear(b); return b },
}

func TestACorruptCheckpointFallsBackLoudly(t *testing.T) {
	for name, damage := range damages {
		t.Run("manifest/"+name, func(t *testing.T) {
			r := newRig(t)
			r.interrupt(r.topology(), 2)
			all := r.entries(manifestsLog, storage.State)
			r.corrupt(manifestsLog, all[len(all)-1].Seq, damage)
			r.fellBack()
		})
		t.Run("state/"+name, func(t *testing.T) {
			r := newRig(t)
			r.interrupt(r.topology(), 2)
			r.corrupt(chunksLog, newestChunk(t, r), damage)
			r.fellBack()
		})
	}
}

// fellBack runs the job to its end: it must have resumed from the checkpoint
// before the newest, and said so.
func (r *rig) fellBack() {
	r.t.Helper()
	all := r.entries(manifestsLog, storage.State)
	want := manifestOf(r.t, all[len(all)-2]).Checkpoint
	log := r.log
	report := r.finish()
	if report.Resumed == nil || report.Resumed.Number != want {
		r.t.Errorf("resumed from %+v, not from checkpoint %d", report.Resumed, want)
	}
	if log.count(slog.LevelError, "a checkpoint cannot be used; falling back to the one before") != 1 {
		r.t.Error("nothing was logged")
	}
}

// newestChunk is a chunk that only the newest checkpoint needs.
func newestChunk(t *testing.T, r *rig) (seq uint64) {
	t.Helper()
	all := r.entries(manifestsLog, storage.State)
	last, before := manifestOf(t, all[len(all)-1]), manifestOf(t, all[len(all)-2])
	old := chunksOf(before)
	for s := range chunksOf(last) {
		if !old[s] {
			seq = max(seq, s)
		}
	}
	if seq == 0 {
		t.Fatal("the newest checkpoint wrote no state")
	}
	return seq
}

func manifestOf(t *testing.T, e storage.Entry) *checkpoint.Manifest {
	t.Helper()
	var m struct {
		checkpoint.Manifest
		Parts int
		Bulk  []byte
	}
	if err := json.Unmarshal(e.Data[4:], &m); err != nil {
		t.Fatal(err)
	}
	if err := m.ReadBulk(m.Bulk); err != nil || m.Parts > 0 {
		t.Fatalf("%d parts, %v", m.Parts, err)
	}
	return &m.Manifest
}

func chunksOf(m *checkpoint.Manifest) map[uint64]bool {
	all := map[uint64]bool{}
	for _, groups := range m.Segments {
		for _, refs := range groups {
			for _, r := range refs {
				all[r.Seq] = true
			}
		}
	}
	return all
}

// A job that has lost all its checkpoints must not begin anew as if it had had none.
func TestWithoutAReadableCheckpointItDoesNotStart(t *testing.T) {
	for name, spoil := range map[string]func(*rig){
		"manifests": func(r *rig) {
			for _, e := range r.entries(manifestsLog, storage.State) {
				r.corrupt(manifestsLog, e.Seq, damages["one bit"])
			}
		},
		"state": func(r *rig) {
			for _, e := range r.entries(chunksLog, storage.Data) {
				r.corrupt(chunksLog, e.Seq, damages["cut in half"])
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.interrupt(r.topology(), 4) // more than are kept
			before := readJSONLines[reading](t, filepath.Join(r.dir, recordsFile))
			spoil(r)
			_, err := r.run(r.topology())
			if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "faults") {
				t.Errorf("err = %v", err)
			}
			if after := readJSONLines[reading](t, filepath.Join(r.dir, recordsFile)); len(after) != len(before) {
				t.Errorf("there were %d records in the output and now are %d", len(before), len(after))
			}
			// To begin anew is a decision.
			r.finish(runtime.FreshState())
		})
	}
}

func TestANewerCheckpointIsRefused(t *testing.T) {
	r := newRig(t)
	r.interrupt(r.topology(), 2)
	all := r.entries(manifestsLog, storage.State)
	r.corrupt(manifestsLog, all[len(all)-1].Seq, func([]byte) []byte {
		return sealed([]byte(`{"format":99,"positions":"are something else now"}`))
	})
	_, err := r.run(r.topology())
	if !errors.Is(err, checkpoint.ErrFormat) || !strings.Contains(err.Error(), `job "faults"`) || !strings.Contains(err.Error(), "99") {
		t.Fatalf("err = %v", err)
	}
}

// sealed puts the checksum in front, as the store does.
func sealed(b []byte) []byte {
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	return append(binary.BigEndian.AppendUint32(nil, sum), b...)
}

// blockedSink blocks in Commit until its context ends: what a crash between a
// checkpoint and its commit leaves behind.
type blockedSink[T any] struct {
	topology.Sink[T]
	reached chan struct{}
}

func (s blockedSink[T]) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	w, err := s.Sink.Open(ctx, o)
	return blockedWriter[T]{w, s.reached}, err
}

type blockedWriter[T any] struct {
	topology.SinkWriter[T]
	reached chan struct{}
}

func (w blockedWriter[T]) Commit(ctx context.Context, _ uint64) error {
	select {
	case w.reached <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

// A job that dies when its last checkpoint is complete and not committed has
// finished; its results must come out all the same.
func TestTheLastCheckpointIsCommittedAfterACrash(t *testing.T) {
	ctx, r := within(t), newRig(t)
	out := sinksIn(r.dir)
	reached := make(chan struct{}, 1)
	out.copies = blockedSink[reading]{out.copies, reached}
	e := r.open()
	j, err := e.Start(ctx, faultTopology(readings(rigRecords, 0), out))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-reached:
	case <-ctx.Done():
		t.Fatal("no commit")
	}
	if err := j.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	closeEngine(t, e)
	r.restart()
	for range 2 { // the second time there is nothing left to do
		report, err := r.run(r.topology())
		if err != nil || !report.AlreadyFinished {
			t.Fatalf("%+v %v", report, err)
		}
		e := r.open()
		n := 0
		readTopic(t, e, "records", func(int, int64, reading) { n++ })
		if n != rigRecords {
			t.Errorf("%d records of %d came out", n, rigRecords)
		}
		closeEngine(t, e)
		r.restart()
	}
}

// A finished job whose results are committed does not look at its sinks again.
func TestAFinishedJobLeavesItsOutputAlone(t *testing.T) {
	r := newRig(t)
	r.finish()
	r.dir = filepath.Join(r.dir, "elsewhere", "that", "does", "not", "exist")
	if report, err := r.run(r.topology()); err != nil || !report.AlreadyFinished {
		t.Fatalf("%+v %v", report, err)
	}
}

// failing is a sink that takes nothing.
type failing[T any] struct{ topology.Sink[T] }

var errSink = errors.New("the sink is out of order")

func (s failing[T]) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	w, err := s.Sink.Open(ctx, o)
	return failingWriter[T]{w}, err
}

type failingWriter[T any] struct{ topology.SinkWriter[T] }

func (failingWriter[T]) Write(context.Context, *topology.Batch[T]) error { return errSink }

func TestAJobCanBeEndedBetweenTwoAttempts(t *testing.T) {
	for name, end := range map[string]func(*runtime.Job) error{
		"stop": func(j *runtime.Job) error {
			// It does not end in good order, and must not say so.
			if report, err := j.Stop(within(t)); !errors.Is(err, errSink) || report.Stopped {
				return fmt.Errorf("%+v, %w", report, err)
			}
			return nil
		},
		"kill": func(j *runtime.Job) error { return j.Kill(within(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			out := sinksIn(r.dir)
			out.records = failing[reading]{out.records}
			e := r.open(runtime.Restarts(3, time.Hour))
			j, err := e.Start(within(t), faultTopology(readings(rigRecords, 0), out))
			if err != nil {
				t.Fatal(err)
			}
			r.log.await(t, slog.LevelError, "the job failed and begins again", 1)
			if err := end(j); err != nil {
				t.Error(err)
			}
			if _, err := j.Checkpoint(within(t)); err == nil {
				t.Error("a checkpoint of a job that has ended")
			}
			closeEngine(t, e)
		})
	}
}

func TestAFailingJobGivesUpWithItsError(t *testing.T) {
	r := newRig(t)
	out := sinksIn(r.dir)
	out.records = failing[reading]{out.records}
	report, err := r.run(faultTopology(readings(rigRecords, 0), out), runtime.Restarts(3, time.Millisecond))
	if !errors.Is(err, errSink) || report.Restarts != 3 || !strings.Contains(err.Error(), `sink "records"`) {
		t.Fatalf("%+v %v", report, err)
	}
	r.finish()
}

// What panics outside of operators ends the attempt, never the process.
func TestPanicsOfSourcesAndSinksAreFailures(t *testing.T) {
	for name, build := range map[string]func(*rig) *topology.Builder{
		"source": func(r *rig) *topology.Builder {
			in := sources.Generator(func(i int64) reading {
				if i == 777 {
					panic("record 777 is cursed")
				}
				return readingOf(i)
			}, sources.Count(rigRecords), sources.Splits(faultSplits))
			return faultTopology(in, sinksIn(r.dir))
		},
		"sink": func(r *rig) *topology.Builder {
			out := sinksIn(r.dir)
			out.copies = panicking[reading]{Sink: out.copies}
			return faultTopology(readings(rigRecords, 0), out)
		},
		"sink while it is opened": func(r *rig) *topology.Builder {
			out := sinksIn(r.dir)
			out.copies = panicking[reading]{Sink: out.copies, early: true}
			return faultTopology(readings(rigRecords, 0), out)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			_, err := r.run(build(r), runtime.Restarts(1, 0))
			if err == nil || !strings.Contains(err.Error(), "cursed") || !strings.Contains(err.Error(), "panicked") {
				t.Fatalf("err = %v", err)
			}
			r.finish()
		})
	}
}

type panicking[T any] struct {
	topology.Sink[T]
	early bool
}

func (s panicking[T]) Open(ctx context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	if s.early {
		panic("this sink is cursed")
	}
	w, err := s.Sink.Open(ctx, o)
	return panickingWriter[T]{w}, err
}

type panickingWriter[T any] struct{ topology.SinkWriter[T] }

func (panickingWriter[T]) Write(context.Context, *topology.Batch[T]) error {
	panic("this sink is cursed")
}

// A lost operator's state must not come back when its name does.
func TestLostStateStaysLost(t *testing.T) {
	r := newRig(t)
	graph := func(fold string) *topology.Builder {
		b := topology.New("faults")
		all := topology.From(b, "readings", runtimetest.Through(&r.tap, readings(rigRecords, 0)))
		byKey := topology.KeyBy(all, "by-key", reading.key)
		counts := topology.Fold(byKey, fold, func(_ string, n int64, _ reading) int64 { return n + 1 })
		topology.To(counts, "out", sinks.Discard[int64]())
		return b
	}
	r.interrupt(graph("first"), 1)
	_, err := r.run(graph("second"))
	var refused *runtime.IncompatibleError
	if !errors.As(err, &refused) || !refused.Lost || !strings.Contains(err.Error(), `state of fold "first"`) {
		t.Fatalf("err = %v", err)
	}
	e := r.open(runtime.AllowLostState())
	j, err := e.Start(within(t), graph("second"))
	if err != nil {
		t.Fatal(err)
	}
	r.checkpointBehind(j, r.checkpoint(j))
	if err := j.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	closeEngine(t, e)
	r.restart()
	// The newest checkpoint is of the graph with "second" alone: it needs no
	// permission any more, although an older one is of another graph.
	r.interrupt(graph("second"), 1)
	m := manifestOf(t, r.entries(manifestsLog, storage.State)[len(r.entries(manifestsLog, storage.State))-1])
	if m.Segments["first"] != nil || m.Segments["second"] == nil {
		t.Errorf("state of %d operators is kept, with that of the lost one: %v", len(m.Segments), m.Segments["first"] != nil)
	}
}

// A topic that is read from its end has an end when the job first starts. What
// comes while the job is down, before it has read anything, is not passed over.
func TestTheEndOfATopicIsRemembered(t *testing.T) {
	r := newRig(t)
	out := sinks.Slice[reading]()
	graph := func() *topology.Builder {
		b := topology.New("faults")
		in := recordsTopic().StartingAt(topology.Start{Kind: topology.StartEnd})
		topology.To(topology.From(b, "in", sources.Topic(in)), "out", topology.Sink[reading](out))
		return b
	}
	e := r.open()
	j, err := e.Start(within(t), graph())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Checkpoint(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := j.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	appendReadings(t, e, 100)
	if report, err := e.Run(within(t), graph(), runtime.UntilEnd()); err != nil || report.Resumed == nil {
		t.Fatalf("%+v %v", report, err)
	}
	closeEngine(t, e)
	if n := len(out.Values()); n != 100 {
		t.Errorf("%d records of 100 were read", n)
	}
}

// appendReadings puts readings into the topic of records.
func appendReadings(t *testing.T, e *runtime.Engine, n int64) {
	t.Helper()
	b := topology.New("feed")
	topology.To(topology.From(b, "in", readings(n, 0)), "out", sinks.Topic(recordsTopic()))
	if _, err := e.Run(within(t), b); err != nil {
		t.Fatal(err)
	}
}
