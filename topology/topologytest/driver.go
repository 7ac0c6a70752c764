package topologytest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

// TB is what a Driver needs of a *testing.T.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// DeadLetter is a record that an error policy put aside.
type DeadLetter = dataflow.DeadLetter

// Driver runs a topology step by step. It is used by one goroutine, and starts
// none.
type Driver struct {
	t       TB
	graph   *topology.Graph
	options options
	random  *rand.Rand // nil: everything in its turn
	now     time.Time
	ctx     context.Context
	cancel  context.CancelFunc
	run     *running
	letters []DeadLetter
	metrics map[string][]*dataflow.Metrics
	saved   map[string]map[int][][]byte // segments of all snapshots so far, by node and key group
	number  uint64                      // of the last snapshot
	starts  uint64
	busy    bool // user code pushed into an input while the driver was at work
	err     error
}

// New builds a topology and starts it. Mistakes fail the test.
func New(t TB, b *topology.Builder, opts ...Option) *Driver {
	t.Helper()
	d, err := open(t, b, opts)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(d.close)
	return d
}

// Run runs a topology until all of its sources have ended.
func Run(t TB, b *topology.Builder, opts ...Option) {
	t.Helper()
	d := New(t, b, opts...)
	if d == nil {
		return
	}
	if d.Run(); d.err == nil {
		d.fail(d.run.unfinished())
	}
	d.close()
}

// Execute is Run where there is no test: in examples, say.
func Execute(b *topology.Builder, opts ...Option) error {
	d, err := open(nil, b, opts)
	if err != nil {
		return err
	}
	defer d.close()
	if d.Run(); d.err != nil {
		return d.err
	}
	return d.run.unfinished()
}

func open(t TB, b *topology.Builder, opts []Option) (*Driver, error) {
	g, err := b.Build()
	if err != nil {
		return nil, err
	}
	d := &Driver{t: t, graph: g, options: defaults()}
	for _, o := range opts {
		o(&d.options)
	}
	if d.options.seeded {
		d.random = rand.New(rand.NewPCG(d.options.seed, 0))
	}
	d.now = d.options.now
	return d, d.start(d.options.snapshot)
}

// Run works until there is nothing left to do: every source has ended, or
// waits for more.
func (d *Driver) Run() {
	if d.t != nil {
		d.t.Helper()
	}
	if d.busy || d.err != nil {
		return
	}
	d.busy = true
	err := d.run.settle()
	d.busy = false
	d.fail(err)
}

// Step does one piece of work, the reading of one batch or the delivery of
// one, and says whether there was any.
func (d *Driver) Step() bool {
	if d.busy || d.err != nil {
		return false
	}
	d.busy = true
	worked, err := d.run.step()
	d.busy = false
	d.fail(err)
	return worked && err == nil
}

// Ended says whether all sources have ended and all records have come through.
func (d *Driver) Ended() bool { return d.run.unfinished() == nil }

// Err returns the error that ended the topology; see MayFail.
func (d *Driver) Err() error { return d.err }

// DeadLetters returns the records that error policies put aside so far.
func (d *Driver) DeadLetters() []DeadLetter { return slices.Clone(d.letters) }

// Graph returns the graph that runs.
func (d *Driver) Graph() *topology.Graph { return d.graph }

func (d *Driver) fail(err error) {
	if err == nil {
		return
	}
	if d.err == nil {
		d.err = err
	}
	if d.t != nil && !d.options.mayFail {
		d.t.Helper()
		d.t.Fatalf("topology %q: %v", d.graph.Name(), err)
	}
}

func (d *Driver) close() {
	if d.cancel == nil {
		return
	}
	if err := d.run.close(); err != nil && d.err == nil {
		d.fail(fmt.Errorf("close: %w", err))
	}
	d.cancel()
	d.cancel = nil
}

// start brings the tasks to life, from a snapshot or from nothing.
func (d *Driver) start(s *Snapshot) error {
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), driverKey{}, d))
	d.ctx, d.cancel = ctx, cancel
	d.starts++
	d.metrics, d.saved = map[string][]*dataflow.Metrics{}, map[string]map[int][][]byte{}
	if s != nil {
		d.number, d.saved = s.number, cloneSegments(s.segments)
	}
	var err error
	if d.run, err = newRunning(d, s); err != nil {
		cancel()
		d.cancel = nil
		return errors.Join(err, d.run.close())
	}
	return nil
}

// driverKey leads from the context of an Open to the driver, so that an Input
// can set it going.
type driverKey struct{}

func (d *Driver) warn(msg string, args ...any) {
	if d.t != nil {
		d.t.Logf("warning: %s %v", msg, args)
	}
}
