package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/troupestream/troupe/benchmarks/measure"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/topology"
)

// checkpointEvery is the interval of the topology's checkpoints.
const checkpointEvery = time.Second

// Troupe is the job as a topology: a source of the records in memory, two
// operators, state by key, and a sink that adds up what it drops. Checkpoints
// are taken every second, and one at the end.
type Troupe struct {
	data        *Data
	parallelism int
	engine      *runtime.Engine
	runs        int
}

// OpenTroupe opens an engine in a temporary directory. Close it.
func OpenTroupe(ctx context.Context, d *Data, parallelism int, more ...runtime.Option) (*Troupe, error) {
	e, err := runtime.Open(ctx, append([]runtime.Option{runtime.CheckpointEvery(checkpointEvery),
		runtime.Parallelism(parallelism)}, more...)...)
	if err != nil {
		return nil, err
	}
	return &Troupe{data: d, parallelism: parallelism, engine: e}, nil
}

// Close closes the engine.
func (t *Troupe) Close(ctx context.Context) error { return t.engine.Close(ctx) }

// Variant is the job for measure.Compare: "troupe-p1" at parallelism 1.
func (t *Troupe) Variant() measure.Variant {
	return measure.Variant{Name: "troupe-p" + strconv.Itoa(t.parallelism), Run: t.run}
}

func (t *Troupe) run(ctx context.Context) (int64, uint64, error) {
	// A job of its own for every run: one that has finished stays finished.
	t.runs++
	source := newSlabSource(t.data, t.parallelism)
	out := &tally{}
	report, err := t.engine.Run(ctx, Topology(fmt.Sprintf("pipeline-%d", t.runs), source, out))
	switch {
	case err != nil:
		return 0, 0, err
	case !report.Finished:
		return 0, 0, context.Cause(ctx)
	case report.Restarts > 0:
		return 0, 0, errors.New("the job failed on the way and began again, which takes time")
	}
	records := int64(source.passes()) * int64(t.data.Len())
	return records, out.total.users, out.check(t.data, source.passes())
}

// Count is the state of a user: how many records, and a hash of the user's name.
type Count struct {
	N    int64
	User uint64
}

// Topology is the job.
func Topology(name string, records topology.Source[[]byte], out topology.Sink[Count]) *topology.Builder {
	b := topology.New(name)
	in := topology.From(b, "records", records)
	events := topology.Map(in, "parse", parseRecord)
	kept := topology.Filter(events, "keep", func(e Event) bool { return e.Kept() })
	byUser := topology.KeyBy(kept, "by-user", func(e Event) string { return e.User })
	counts := topology.Fold(byUser, "count", countUser)
	topology.To(counts, "drop", out)
	return b
}

func parseRecord(record []byte) Event {
	e, ok := Scan(record)
	if !ok {
		panic(errRecord)
	}
	return e
}

func countUser(user string, c Count, _ Event) Count {
	if c.N == 0 {
		c.User = fnv(user)
	}
	c.N++
	return c
}
