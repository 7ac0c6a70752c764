package runtime

import (
	"cmp"
	"slices"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/watermark"
)

// Status is how a job is doing.
type Status struct {
	Job        string
	State      State
	Attempt    int // counts from 1; 0 while the first is being restored
	Uptime     time.Duration
	Failure    error       // of the last attempt that failed
	Checkpoint *Checkpoint // the newest complete one
	Operators  []OperatorStatus
}

// OperatorStatus are the figures of an operator, over all its tasks and since
// the job was started.
type OperatorStatus struct {
	Name, Kind      string
	dataflow.Totals // In, Out, Late, Future, Failures, DeadLetters, Skipped, Expired, Keys

	// Watermark is how far event time has come in the slowest of its tasks. Zero:
	// there is none yet, or none at all, as in front of an EventTime, or it is at
	// the end.
	Watermark time.Time
	// Ended: all of its input has ended and reached it, in all of its tasks. At the
	// end of a job whose input ends, it holds for every operator. A job that was
	// stopped has not ended.
	Ended bool
	Lag   int64 // records known to wait in front of a source; -1: unknown
}

// Status returns how the job is doing now.
func (j *Job) Status() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Status{Job: j.name, State: j.state, Attempt: j.attempt, Uptime: time.Since(j.started),
		Failure: j.failure, Checkpoint: j.last, Operators: j.operators()}
}

// operators sums the counters up by operator, in the order of the topology.
func (j *Job) operators() []OperatorStatus {
	sums := map[string]*OperatorStatus{}
	marks := map[string]int64{}
	order := map[string]int{}
	for i, n := range j.graph.Nodes() {
		sums[n.Name] = &OperatorStatus{Name: n.Name, Kind: n.Kind, Lag: -1}
		order[n.Name] = i
		if n.Role == dataflow.Source {
			sums[n.Name].Lag = j.counters.Lag(n.Name)
		}
	}
	j.counters.Each(func(node string, _ int, m *dataflow.Metrics) {
		s := sums[node]
		if s == nil {
			return
		}
		m.AddTo(&s.Totals)
		w := m.Watermark.Load()
		if low, seen := marks[node]; !seen || w < low {
			marks[node] = w
		}
	})
	list := make([]OperatorStatus, 0, len(sums))
	for name, s := range sums {
		if w, seen := marks[name]; seen && w != watermark.Min {
			s.Ended = w == watermark.Max
			if !s.Ended {
				s.Watermark = time.UnixMilli(w)
			}
		}
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b OperatorStatus) int { return cmp.Compare(order[a.Name], order[b.Name]) })
	return list
}
