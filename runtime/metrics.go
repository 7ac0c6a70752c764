package runtime

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/telemetry"
)

// snapshot is what the engine's metrics are read from.
func (e *Engine) snapshot() telemetry.Snapshot {
	s := telemetry.Snapshot{Now: time.Now()}
	e.measureJobs(&s)
	s.Mailboxes = append(s.Mailboxes, e.mailboxes()...)
	e.logs.measure(&s)
	e.compactions.measure(&s)
	e.system.MeasureConsumers(&s)
	e.system.MeasureQueues(&s)
	return s
}

func (e *Engine) mailboxes() (all []telemetry.MailboxStats) {
	e.system.Mailboxes(func(id string, m *actor.Mailbox) {
		job, kind := mailboxLabels(id)
		all = append(all, telemetry.MailboxStats{Job: job, Kind: kind, Depth: int64(m.Depth()), Bytes: m.Bytes()})
	})
	return all
}

func (e *Engine) mailboxFull(actorID string) { e.metrics.MailboxRefused(mailboxLabels(actorID)) }

// measureJobs adds the jobs that run, and those that have ended: a job that has done
// its work between two exports must show in the next. That one has its gauges, too;
// those that follow have its counters only.
func (e *Engine) measureJobs(s *telemetry.Snapshot) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, j := range e.jobs {
		j.measure(s)
	}
	for name, past := range e.past {
		s.Operators = append(s.Operators, past.Operators...)
		s.Jobs = append(s.Jobs, past.Jobs...)
		s.Edges = append(s.Edges, past.Edges...)
		s.Mailboxes = append(s.Mailboxes, past.Mailboxes...)
		e.past[name] = counted(past)
	}
}

// lastly is what there is to say of a job that has ended: nothing that grows with
// time, as the age of its checkpoint does.
func (j *Job) lastly() telemetry.Snapshot {
	var s telemetry.Snapshot
	j.measure(&s)
	for i := range s.Operators {
		s.Operators[i].Watermark = dataflow.NoTime
	}
	for i := range s.Jobs {
		s.Jobs[i].Checkpoint = time.Time{}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s.Mailboxes = j.mailboxes
	return s
}

// counted is what remains of that once it was told.
func counted(last telemetry.Snapshot) telemetry.Snapshot {
	s := telemetry.Snapshot{Operators: slices.Clone(last.Operators), Jobs: slices.Clone(last.Jobs)}
	for i := range s.Operators {
		s.Operators[i].Lag = -1
	}
	for i := range s.Jobs {
		s.Jobs[i].CheckpointBytes = 0
	}
	return s
}

// noteMailboxes keeps what the job's mailboxes hold: when it has ended, they are
// gone. It is called at every complete checkpoint, of which the last is shortly
// before that.
func (j *Job) noteMailboxes() {
	if j.engine.metrics == nil {
		return
	}
	own := slices.DeleteFunc(j.engine.mailboxes(), func(m telemetry.MailboxStats) bool { return m.Job != j.name })
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mailboxes = own
}

// logFigures are the figures of all partitions, by topic.
type logFigures struct {
	mu     sync.Mutex
	topics map[string]*telemetry.TopicStats
	ends   map[telemetry.PartitionStats]uint64 // end offset of each, whose own field is 0
}

// appended takes in what a partition has stored.
func (e *Engine) appended(a actor.Appended) {
	if e.metrics == nil {
		return
	}
	e.metrics.Appended(a.Topic, a.Took)
	l := &e.logs
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.topics == nil {
		l.topics, l.ends = map[string]*telemetry.TopicStats{}, map[telemetry.PartitionStats]uint64{}
	}
	t := l.topics[a.Topic]
	if t == nil {
		t = &telemetry.TopicStats{Topic: a.Topic}
		l.topics[a.Topic] = t
	}
	t.Appends++
	t.Bytes += int64(a.Bytes)
	l.ends[telemetry.PartitionStats{Topic: a.Topic, Partition: a.Partition}] = a.EndOffset
}

func (l *logFigures) measure(s *telemetry.Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.topics {
		s.Topics = append(s.Topics, *t)
	}
	for p, end := range l.ends {
		p.EndOffset = int64(end)
		s.Partitions = append(s.Partitions, p)
	}
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
	j.counters.EachEdge(func(edge string, credit, waiting int64) {
		s.Edges = append(s.Edges, telemetry.EdgeStats{Job: j.name, Edge: edge, Credit: credit, Waiting: waiting})
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
	if parts[0] == "topic" {
		return "", "partition"
	}
	return "", "other"
}
