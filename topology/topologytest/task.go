package topologytest

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/watermark"
)

// errWait is what a source of this package returns when it has nothing more
// for now.
var errWait = errors.New("nothing to read at the moment")

// task is a dataflow.Task with what surrounds it: its parcels, its splits, the
// writer of a sink.
type task struct {
	*dataflow.Task
	run       *running
	chain     *dataflow.Chain
	index     int
	metrics   map[string]*dataflow.Metrics
	inbox     []channel
	live      int // channels and splits that have not ended
	splits    []*split
	writer    dataflow.SinkWriter // when the chain is a sink
	unflushed bool
	ended     bool
}

// channel is the way from one task to another.
type channel struct {
	wire    *dataflow.Wire
	head    int
	number  int
	parcels []dataflow.Parcel
	time    int64 // watermark so far
	ended   bool
}

type split struct {
	id     string
	reader dataflow.SplitReader
	waits  bool
	ended  bool
}

func newTask(r *running, c *dataflow.Chain, index int) *task {
	t := &task{run: r, chain: c, index: index, metrics: map[string]*dataflow.Metrics{}}
	for head, w := range c.In {
		for i := range w.From.Parallelism {
			t.inbox = append(t.inbox, channel{wire: w, head: head, number: i, time: watermark.Min})
		}
	}
	t.live = len(t.inbox)
	return t
}

// open builds the task and restores its state.
func (t *task) open(s *Snapshot, splits []string) (err error) {
	d := t.run.d
	for _, id := range splits {
		t.splits = append(t.splits, &split{id: id})
	}
	t.live += len(splits)
	t.Task, err = dataflow.NewTask(t.run.plan, t.chain, t.index, dataflow.TaskOptions{
		Context: d.ctx, Job: d.graph.Name(), KeyGroups: d.graph.KeyGroups(), BatchSize: d.options.batchSize,
		Incarnation: d.starts, ExactlyOnce: true, Resumed: s != nil,
		Now:        func() time.Time { return d.now },
		Sleep:      func(by time.Duration) error { d.now = d.now.Add(by); return nil },
		DeadLetter: func(l dataflow.DeadLetter) error { d.letters = append(d.letters, l); return nil },
		Warn:       d.warn,
		Metrics:    t.metricsOf,
		Edge:       func(w *dataflow.Wire) dataflow.Edge { return edge{t.run, w, t.index} },
		Origins:    splits,
		SinkStates: s.sinkStates(t.index),
	})
	if err != nil {
		return err
	}
	if s != nil {
		if err := t.Restore(s.of()); err != nil {
			return err
		}
	}
	if n := t.chain.Sink; n != nil {
		if t.writer, err = n.Sink.Open(d.ctx, sinkOpen(t.run, n, t.index, t.chain.Parallelism, s)); err != nil {
			return fmt.Errorf("sink %q: %w", n.Name, err)
		}
	}
	return nil
}

func (t *task) metricsOf(node string) *dataflow.Metrics {
	m := t.metrics[node]
	if m == nil {
		m = &dataflow.Metrics{}
		t.metrics[node] = m
		t.run.d.metrics[node] = append(t.run.d.metrics[node], m)
	}
	return m
}

func (t *task) openReaders(s *Snapshot) error {
	n := t.chain.Source
	if n == nil {
		return nil
	}
	for _, sp := range t.splits {
		r, err := n.Source.Open(t.run.d.ctx, dataflow.OpenRequest{Split: sp.id, Position: s.position(n.Name, sp.id)})
		if err != nil {
			return fmt.Errorf("source %q, split %q: %w", n.Name, sp.id, err)
		}
		sp.reader = r
	}
	if len(t.splits) == 0 {
		if err := t.Deliver(0, 0, &dataflow.Parcel{Watermark: watermark.Max}); err != nil {
			return err
		}
		t.end()
	}
	return nil
}

// accept takes a parcel from an edge.
func (t *task) accept(w *dataflow.Wire, from int, p dataflow.Parcel) {
	for i := range t.inbox {
		c := &t.inbox[i]
		if c.wire != w || c.number != from {
			continue
		}
		if c.ended || p.Watermark < c.time {
			t.run.broken = fmt.Errorf("internal: channel %d of %q goes on after its end, or back in time", from, t.chain.Name())
		}
		c.time, c.ended = p.Watermark, p.End
		c.parcels = append(c.parcels, p)
	}
}

func (t *task) deliveries() (ms []move) {
	for i := range t.inbox {
		if c := &t.inbox[i]; len(c.parcels) > 0 {
			ms = append(ms, func() error { return t.deliver(c) })
		}
	}
	return ms
}

// deliver runs the first parcel of a channel.
func (t *task) deliver(c *channel) error {
	t.run.wake()
	p := c.parcels[0]
	c.parcels[0] = dataflow.Parcel{}
	c.parcels = c.parcels[1:]
	err := t.take(c, &p)
	if p.Batch != nil {
		c.wire.Link.Release(p.Batch)
	}
	if err != nil || !p.End {
		return err
	}
	if err := t.EndOrigin(t.Origin(c.head, c.number)); err != nil {
		return err
	}
	t.oneEnded()
	return nil
}

func (t *task) take(c *channel, p *dataflow.Parcel) error {
	n := t.chain.Sink
	if n == nil {
		t.unflushed = true
		return t.Deliver(c.head, c.number, p)
	}
	if p.Batch == nil {
		return nil
	}
	t.metricsOf(n.Name).In.Add(int64(p.Records))
	c.wire.Link.Columns(p.Batch).Origin = t.Origin(c.head, c.number)
	return dataflow.WriteBatch(t.Env(n), n.Policy, c.wire.Link, t.writer, p.Batch)
}

func (t *task) flush() error {
	t.unflushed = false
	t.Flush()
	return nil
}

func (t *task) oneEnded() {
	if t.live--; t.live == 0 {
		t.end()
	}
}

func (t *task) end() {
	t.ended, t.unflushed = true, false
	t.End()
}

func (t *task) reads() (ms []move) {
	for i, s := range t.splits {
		if !s.ended && !s.waits {
			ms = append(ms, func() error { return t.read(i, s) })
		}
	}
	return ms
}

// read reads one batch of a split and runs it through the chain.
func (t *task) read(i int, s *split) error {
	batch, n, err := s.reader.Read(t.run.d.ctx, t.run.batchSize())
	if n > 0 {
		t.run.wake()
		if err := t.feed(i, batch, n); err != nil {
			return err
		}
	}
	var bad *dataflow.RecordError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errWait):
		s.waits = true
		if t.run.goneThrough(t.chain.Source) {
			return t.endSplit(i, s)
		}
		return nil
	case errors.Is(err, io.EOF):
		return t.endSplit(i, s)
	case errors.As(err, &bad):
		return t.unreadable(s, bad)
	default:
		return fmt.Errorf("source %q, split %q: %w", t.chain.Source.Name, s.id, err)
	}
}

// goneThrough says whether a source is the reading half of a Through whose
// writing half has ended.
func (r *running) goneThrough(source *dataflow.Node) bool {
	if source.Topic == "" {
		return false
	}
	for _, t := range r.tasks {
		for _, n := range t.chain.Nodes {
			if n.Role == dataflow.Sink && n.Topic == source.Topic && !t.ended {
				return false
			}
		}
	}
	return true
}

// batchSize is how much to read at once; with a seed, up to that.
func (r *running) batchSize() int {
	if r.d.random == nil {
		return r.d.options.batchSize
	}
	return 1 + r.d.random.IntN(r.d.options.batchSize)
}

func (t *task) feed(i int, batch any, n int) error {
	source := t.chain.Source
	m := t.metricsOf(source.Name)
	m.In.Add(int64(n))
	m.Out.Add(int64(n))
	t.unflushed = true
	defer source.Outputs[0].Link.Release(batch)
	return t.Deliver(0, i, &dataflow.Parcel{Batch: batch, Records: n, Watermark: watermark.Min})
}

func (t *task) endSplit(i int, s *split) error {
	s.ended = true
	t.run.wake()
	if err := t.EndOrigin(i); err != nil {
		return err
	}
	if err := t.Deliver(0, i, &dataflow.Parcel{Watermark: watermark.Max}); err != nil {
		return err
	}
	t.unflushed = true
	t.oneEnded()
	return nil
}

// unreadable does with a record that a source could not read what its policy says.
func (t *task) unreadable(s *split, bad *dataflow.RecordError) error {
	n := t.chain.Source
	m := t.metricsOf(n.Name)
	m.Failures.Add(1)
	switch n.Policy.Then {
	case dataflow.ToTopic:
		m.DeadLetters.Add(1)
		t.run.d.letters = append(t.run.d.letters, dataflow.DeadLetter{Topic: n.Policy.Topic, Node: n.Name,
			Value: bad.Raw, Time: dataflow.NoTime, Error: bad.Error(), Stack: bad.Stack, Attempts: 1, Origin: s.id})
		return nil
	case dataflow.SkipRecord:
		m.Skipped.Add(1)
		return nil
	default:
		return fmt.Errorf("source %q cannot read a record: %w", n.Name, bad)
	}
}

func (t *task) prepare(number uint64) (map[string][]byte, error) {
	states, err := t.PrepareSinks(t.run.d.ctx, number)
	if err != nil || t.writer == nil {
		return states, err
	}
	state, err := t.writer.Prepare(t.run.d.ctx, number)
	if err != nil {
		return nil, fmt.Errorf("sink %q: %w", t.chain.Sink.Name, err)
	}
	states[t.chain.Sink.Name] = state
	return states, nil
}

func (t *task) commit(number uint64) error {
	ctx := t.run.d.ctx
	if err := t.CommitSinks(ctx, number); err != nil || t.writer == nil {
		return err
	}
	if err := t.writer.Commit(ctx, number); err != nil {
		return fmt.Errorf("sink %q: %w", t.chain.Sink.Name, err)
	}
	return nil
}

func (t *task) close() error {
	var all []error
	for _, s := range t.splits {
		if s.reader != nil {
			all = append(all, s.reader.Close())
		}
	}
	if t.writer != nil {
		all = append(all, t.writer.Close())
	}
	if t.Task != nil {
		all = append(all, t.Task.Close())
	}
	return errors.Join(all...)
}
