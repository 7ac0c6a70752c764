package runtime

import (
	"strings"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/telemetry"
)

// snapshot is what the engine's metrics are read from.
func (e *Engine) snapshot() telemetry.Snapshot {
	s := telemetry.Snapshot{Now: time.Now()}
	for _, j := range e.Jobs() {
		j.measure(&s)
	}
	e.system.Mailboxes(func(id string, m *actor.Mailbox) {
		job, kind := mailboxLabels(id)
		s.Mailboxes = append(s.Mailboxes, telemetry.MailboxStats{Job: job, Kind: kind, Depth: int64(m.Depth()), Bytes: m.Bytes()})
	})
	return s
}

func (j *Job) measure(s *telemetry.Snapshot) {
	j.counters.Each(func(node string, _ int, m *dataflow.Metrics) {
		s.Operators = append(s.Operators, telemetry.OperatorStats{Job: j.name, Operator: node,
			In: m.In.Load(), Out: m.Out.Load(), Late: m.Late.Load(), Future: m.Future.Load(),
			Failures: m.Failures.Load(), DeadLetters: m.DeadLetters.Load(), Skipped: m.Skipped.Load(),
			Expired: m.Expired.Load(), Keys: m.Keys.Load(), Watermark: m.Watermark.Load(), Lag: -1})
	})
	for _, n := range j.graph.Nodes() {
		if n.Role == dataflow.Source {
			s.Operators = append(s.Operators, telemetry.OperatorStats{Job: j.name, Operator: n.Name,
				Watermark: dataflow.NoTime, Lag: j.counters.Lag(n.Name)})
		}
	}
	j.counters.EachEdge(func(edge string, credit, inFlight int64) {
		s.Edges = append(s.Edges, telemetry.EdgeStats{Job: j.name, Edge: edge, Credit: credit, InFlight: inFlight})
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	stats := telemetry.JobStats{Job: j.name, Restarts: int64(max(0, j.attempt-1))}
	if j.last != nil {
		stats.CheckpointBytes, stats.Checkpoint = j.last.Bytes, j.last.Time
	}
	s.Jobs = append(s.Jobs, stats)
}

// mailboxLabels are the job and the kind of actor that an actor's id tells: few
// values, whatever the number of actors.
func mailboxLabels(id string) (job, kind string) {
	parts := strings.SplitN(id, "/", 2)
	if name, ok := strings.CutPrefix(parts[0], "job-"); ok {
		if len(parts) == 1 {
			return name, "job"
		}
		return name, "task"
	}
	kind, _, _ = strings.Cut(parts[0], "-")
	return "", kind
}
