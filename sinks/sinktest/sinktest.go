// Package sinktest is the conformance suite of sinks: what a job relies on, as
// tests that any sink can be put through.
//
//	func TestMySink(t *testing.T) {
//		sinktest.Run(t, sinktest.Harness[int]{New: …, Record: func(i int) int { return i }})
//	}
//
// A kill is played by abandoning a writer without closing it.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/connectortest"
	"github.com/troupestream/troupe/topology"
)

// Case is one place to write to.
type Case[T any] struct {
	// Sink makes the sink, as every start of a job does.
	Sink func() topology.Sink[T]
	// Contents returns what somebody else sees there, in order where there is one.
	Contents func(t *testing.T) []T
}

// Harness describes a sink to the suite. New and Record are required.
type Harness[T any] struct {
	// New makes a place to write to. It is called for every test.
	New func(t *testing.T) Case[T]
	// Record makes records, each different from the others.
	Record func(i int) T
	// Poison makes a record that cannot be written; nil if there is none.
	Poison func() T
	// Panicking makes a record on which user code that the sink calls panics, each
	// time; nil if the sink calls none.
	Panicking func() T
	// HiddenUntilCommit: in exactly-once mode, nothing shows before Commit.
	HiddenUntilCommit bool
	// Unordered: Contents come in any order.
	Unordered bool
	// Pooled names functions whose goroutines are not the sink's own, but kept warm
	// by what it works on: they are no leak.
	Pooled []string
	// Equal compares records; by default reflect.DeepEqual does.
	Equal func(a, b T) bool
}

// Run puts a sink through the suite.
func Run[T any](t *testing.T, h Harness[T]) {
	if h.Equal == nil {
		h.Equal = func(a, b T) bool { return reflect.DeepEqual(a, b) }
	}
	t.Run("WritesInOrder", h.writesInOrder)
	t.Run("StateIsDurable", h.stateIsDurable)
	t.Run("HiddenUntilCommit", h.hiddenUntilCommit)
	t.Run("CommitIsRepeatable", h.commitIsRepeatable)
	t.Run("RestartBeforeAnyCheckpoint", h.restartBeforeAnyCheckpoint)
	t.Run("CheckpointsOverlap", h.checkpointsOverlap)
	t.Run("KilledAnywhere", h.killedAnywhere)
	t.Run("Rescaled", h.rescaled)
	t.Run("PoisonIsNamed", func(t *testing.T) { h.poisonIsNamed(t, h.Poison, false) })
	t.Run("PanicIsNamed", func(t *testing.T) { h.poisonIsNamed(t, h.Panicking, true) })
	t.Run("Cancelled", h.cancelled)
	t.Run("LeaksNothing", h.leaksNothing)
}

// job plays the part of a job that writes records 0, 1, 2… through one writer,
// takes checkpoints, dies and resumes.
type job[T any] struct {
	h           *Harness[T]
	t           *testing.T
	c           Case[T]
	w           topology.SinkWriter[T]
	incarnation uint64
	checkpoint  uint64 // the last one that was prepared
	next        int    // the record to write next
	prepared    []snapshot
	complete    *snapshot // the newest complete checkpoint
}

type snapshot struct {
	checkpoint uint64
	next       int
	state      []byte
}

func (h *Harness[T]) start(t *testing.T) *job[T] {
	j := &job[T]{h: h, t: t, c: h.New(t)}
	j.open()
	t.Cleanup(func() { j.w.Close() })
	return j
}

func (j *job[T]) open() {
	j.t.Helper()
	j.incarnation++
	o := request(j.incarnation, 0, 1)
	j.next = 0
	if j.complete != nil {
		o.Resumed, o.States, j.next = true, [][]byte{j.complete.state}, j.complete.next
	}
	w, err := j.c.Sink().Open(j.deadline(), o)
	if err != nil {
		j.t.Fatalf("open %+v: %v", o, err)
	}
	j.w = w
}

func request(incarnation uint64, task, tasks int) topology.SinkOpen {
	return topology.SinkOpen{Job: "job", Sink: "sink", Task: task, Tasks: tasks, Incarnation: incarnation, ExactlyOnce: true}
}

// kill abandons the writer and opens another.
func (j *job[T]) kill() {
	j.t.Helper()
	j.prepared = nil
	old := j.w
	j.t.Cleanup(func() { old.Close() }) // long after, only to give back what it holds
	j.open()
}

func (j *job[T]) write(n int) {
	j.t.Helper()
	b := new(topology.Batch[T])
	for range n {
		b.Values = append(b.Values, j.h.Record(j.next))
		j.next++
	}
	if err := j.w.Write(j.deadline(), b); err != nil {
		j.t.Fatalf("Write: %v", err)
	}
	clear(b.Values) // a sink that kept the batch is found out
}

func (j *job[T]) prepare() {
	j.t.Helper()
	j.checkpoint++
	state, err := j.w.Prepare(j.deadline(), j.checkpoint)
	if err != nil {
		j.t.Fatalf("Prepare: %v", err)
	}
	j.prepared = append(j.prepared, snapshot{j.checkpoint, j.next, append([]byte{}, state...)})
}

// finish makes the oldest checkpoint that is under way a complete one.
func (j *job[T]) finish() {
	s := j.prepared[0]
	j.prepared = j.prepared[1:]
	j.complete = &s
}

func (j *job[T]) commit() {
	j.t.Helper()
	if err := j.w.Commit(j.deadline(), j.complete.checkpoint); err != nil {
		j.t.Fatalf("Commit: %v", err)
	}
}

// all takes a whole checkpoint.
func (j *job[T]) all() {
	j.t.Helper()
	j.prepare()
	j.finish()
	j.commit()
}

func (j *job[T]) deadline() context.Context { return deadline(j.t) }

// shows requires that exactly records 0 to n-1 are there, or at least they,
// as the sink guarantees.
func (j *job[T]) shows(n int) {
	j.t.Helper()
	j.h.shows(j.t, j.c, n)
}

func (h *Harness[T]) shows(t *testing.T, c Case[T], n int) {
	t.Helper()
	got := c.Contents(t)
	if c.Sink().Info().Guarantee == topology.EffectivelyOnce {
		if len(got) != n {
			t.Fatalf("%d records are there, want %d", len(got), n)
		}
		if !h.Unordered {
			h.inOrder(t, got)
			return
		}
	}
	for i := range n {
		if !h.contains(got, h.Record(i)) {
			t.Fatalf("record %d of %d is not there", i, n)
		}
	}
}

func (h *Harness[T]) inOrder(t *testing.T, got []T) {
	t.Helper()
	for i := range got {
		if want := h.Record(i); !h.Equal(got[i], want) {
			t.Fatalf("record %d is %+v, want %+v", i, got[i], want)
		}
	}
}

func (h *Harness[T]) contains(all []T, v T) bool {
	for i := range all {
		if h.Equal(all[i], v) {
			return true
		}
	}
	return false
}

func (h *Harness[T]) writesInOrder(t *testing.T) {
	j := h.start(t)
	for _, n := range []int{1, 0, 3, 100, 1, 400} {
		j.write(n)
	}
	j.all()
	if got := j.c.Contents(t); !h.Unordered {
		h.inOrder(t, got)
	}
	j.shows(505)
	if err := j.w.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	j.shows(505)
}

func (h *Harness[T]) stateIsDurable(t *testing.T) {
	j := h.start(t)
	j.write(10)
	j.all()
	j.shows(10)
	j.kill()
	j.shows(10)
	j.write(5)
	j.all()
	j.shows(15)
}

func (h *Harness[T]) hiddenUntilCommit(t *testing.T) {
	if !h.HiddenUntilCommit {
		t.Skip("the sink shows records before they are committed")
	}
	j := h.start(t)
	j.write(10)
	j.shows(0)
	j.prepare()
	j.write(5)
	j.shows(0)
	j.finish()
	j.commit()
	j.shows(10)
	j.kill()
	j.shows(10)
}

func (h *Harness[T]) commitIsRepeatable(t *testing.T) {
	j := h.start(t)
	j.write(10)
	j.all()
	j.commit()
	j.kill() // Open commits it a third time
	j.kill()
	j.shows(10)
	j.write(1)
	j.all()
	j.shows(11)
}

func (h *Harness[T]) restartBeforeAnyCheckpoint(t *testing.T) {
	j := h.start(t)
	j.write(10)
	j.kill()
	j.write(3)
	j.prepare() // never completes
	j.kill()
	j.write(4)
	j.all()
	j.shows(4)
}

func (h *Harness[T]) checkpointsOverlap(t *testing.T) {
	for _, completed := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(completed), func(t *testing.T) {
			j := h.start(t)
			j.write(4)
			j.prepare()
			j.write(3)
			j.prepare()
			j.write(2)
			for range completed {
				j.finish()
			}
			j.kill()
			j.write(12 - j.next)
			j.all()
			j.shows(12)
		})
	}
	j := h.start(t)
	j.write(4)
	j.prepare()
	j.write(3)
	j.prepare()
	j.write(2)
	j.finish()
	j.commit()
	j.finish()
	j.commit()
	j.all()
	j.shows(9)
}

// killedAnywhere runs random jobs to the end, with random deaths.
func (h *Harness[T]) killedAnywhere(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			j := h.start(t)
			for range 60 {
				h.randomStep(j, r)
			}
			for len(j.prepared) > 0 {
				j.finish()
				j.commit()
			}
			n := j.next
			j.all()
			j.shows(n)
		})
	}
}

func (h *Harness[T]) randomStep(j *job[T], r *rand.Rand) {
	switch k := r.IntN(10); {
	case k < 4:
		j.write(r.IntN(20))
	case k < 6 && len(j.prepared) < 2:
		j.prepare()
	case k < 7 && len(j.prepared) > 0:
		j.finish()
	case k < 8 && len(j.prepared) > 0:
		j.finish()
		j.commit()
	case k < 9 && j.complete != nil && len(j.prepared) == 0 && j.complete.checkpoint == j.checkpoint:
		j.commit()
	case k == 9:
		j.kill()
	}
}

func (h *Harness[T]) rescaled(t *testing.T) {
	c := h.New(t)
	info := c.Sink().Info()
	if info.MaxParallelism == 1 {
		t.Skip("the sink has one writer")
	}
	states := h.generation(t, c, 1, 3, nil, 0)
	states = h.generation(t, c, 2, 2, states, 30)
	states = h.generation(t, c, 3, 4, states, 50)
	h.generation(t, c, 4, 1, states, 90)
	if got := c.Contents(t); info.Guarantee == topology.EffectivelyOnce && len(got) != 100 {
		t.Fatalf("%d records are there, want 100", len(got))
	}
	h.contain(t, c, 100)
}

func (h *Harness[T]) contain(t *testing.T, c Case[T], n int) {
	t.Helper()
	got := c.Contents(t)
	for i := range n {
		if !h.contains(got, h.Record(i)) {
			t.Fatalf("record %d of %d is not there", i, n)
		}
	}
}

// generation opens a number of writers, has each write ten records, takes a
// checkpoint without committing it, writes ten more and abandons the writers.
// The last generation commits.
func (h *Harness[T]) generation(t *testing.T, c Case[T], incarnation uint64, tasks int, states [][]byte, next int) (prepared [][]byte) {
	t.Helper()
	var writers []topology.SinkWriter[T]
	for task := range tasks {
		o := request(incarnation, task, tasks)
		o.Resumed = incarnation > 1
		if task == 0 {
			o.States = states
		}
		w, err := c.Sink().Open(deadline(t), o)
		if err != nil {
			t.Fatalf("open task %d of %d: %v", task, tasks, err)
		}
		t.Cleanup(func() { w.Close() })
		writers = append(writers, w)
	}
	for task, w := range writers {
		h.writeRange(t, w, next+10*task, 10)
		state, err := w.Prepare(deadline(t), incarnation)
		if err != nil {
			t.Fatalf("Prepare: %v", err)
		}
		prepared = append(prepared, append([]byte{}, state...))
	}
	for task, w := range writers {
		if tasks > 1 {
			h.writeRange(t, w, next+10*task, 10) // after the checkpoint: to be undone
		} else if err := w.Commit(deadline(t), incarnation); err != nil {
			t.Fatalf("Commit: %v", err)
		}
	}
	return prepared
}

func (h *Harness[T]) writeRange(t *testing.T, w topology.SinkWriter[T], from, n int) {
	t.Helper()
	b := new(topology.Batch[T])
	for i := range n {
		b.Values = append(b.Values, h.Record(from+i))
	}
	if err := w.Write(deadline(t), b); err != nil {
		t.Fatalf("Write: %v", err)
	}
}

func (h *Harness[T]) poisonIsNamed(t *testing.T, make func() T, panics bool) {
	if make == nil {
		t.Skip("there is no such record")
	}
	j := h.start(t)
	j.write(2)
	err := j.w.Write(deadline(t), &topology.Batch[T]{Values: []T{h.Record(2), make(), h.Record(3)}})
	if poison := connectortest.Poison(t, err, panics); poison.Index != 1 {
		t.Errorf("the error names record %d (%v), want 1", poison.Index, poison.Err)
	}
	if panics { // it is tried again, with what follows it
		err := j.w.Write(deadline(t), &topology.Batch[T]{Values: []T{make(), h.Record(3)}})
		if poison := connectortest.Poison(t, err, panics); poison.Index != 0 {
			t.Errorf("tried again, the error names record %d (%v), want 0", poison.Index, poison.Err)
		}
	}
	j.next = 3 // the ones in front of it were written, those behind it were not
	j.write(2)
	j.all()
	j.shows(5)
}

func (h *Harness[T]) cancelled(t *testing.T) {
	j := h.start(t)
	j.write(3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- j.w.Write(ctx, &topology.Batch[T]{Values: []T{h.Record(3)}}) }()
	select {
	case err := <-ended:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled Write returned %v, want context.Canceled or nil", err)
		}
		if err == nil {
			j.next = 4
		}
	case <-time.After(connectortest.Patience):
		t.Fatal("a cancelled Write does not return")
	}
	j.write(2)
	n := j.next
	j.all()
	j.shows(n)
}

func (h *Harness[T]) leaksNothing(t *testing.T) {
	connectortest.LeaksNothing(t, h.Pooled, func() {
		c := h.New(t)
		w, err := c.Sink().Open(deadline(t), request(1, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		h.writeRange(t, w, 0, 3)
		if err := w.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
		w.Close()
	})
}

func deadline(t *testing.T) context.Context { return connectortest.Deadline(t) }
