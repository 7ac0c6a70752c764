package actor

import (
	"context"
	"fmt"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/dataflow"
)

// reportPatience is how long a report may take. The end of a job waits for the last
// one, and what a report is about can be seen from the next one as well.
const reportPatience = 10 * time.Second

// reporting tells the sources that want to know how far complete checkpoints have
// come: one report at a time, and of those that wait the newest.
type reporting struct {
	busy    bool
	waiting *checkpoint.Manifest
}

// reported ends a report.
type reported struct{}

func (c *coordinator) report(m *checkpoint.Manifest) {
	r := &c.reports
	if r.busy {
		r.waiting = m
		return
	}
	a, reporters := c.attempt, reportersOf(c.attempt.spec.Nodes)
	if len(reporters) == 0 {
		return
	}
	r.busy = true
	a.background("the coordinator", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, reportPatience)
		defer cancel()
		for n, to := range reporters {
			err := a.call(n, func() error { return to.Report(ctx, m.Positions[n.Name]) })
			if err != nil && a.ctx.Err() == nil {
				a.sys.log.Warn("a source could not report how far the job has come", "job", a.spec.Name,
					"source", n.Name, "checkpoint", m.Checkpoint, "error", fmt.Errorf("%w; the next checkpoint reports again", err))
			}
		}
		a.sys.Send(c.self, reported{})
	})
}

func (c *coordinator) reported() {
	next := c.reports.waiting
	c.reports = reporting{}
	if next != nil {
		c.report(next)
	}
	c.finish()
}

func reportersOf(nodes []*dataflow.Node) map[*dataflow.Node]dataflow.Reporter {
	all := map[*dataflow.Node]dataflow.Reporter{}
	for _, n := range nodes {
		if n.Role != dataflow.Source {
			continue
		}
		if r := dataflow.ReporterOf(n.Source); r != nil {
			all[n] = r
		}
	}
	return all
}

type checkpointsKey struct{}

// withCheckpoints has the context of an attempt say whose it is.
func withCheckpoints(ctx context.Context, job *pactor.PID) context.Context {
	return context.WithValue(ctx, checkpointsKey{}, job)
}

// AskCheckpoint asks for a checkpoint as soon as none is under way. It is for sources that
// can go on only behind one: ctx is what Open or Read was called with. In a context that
// is of no job it does nothing.
func AskCheckpoint(ctx context.Context) {
	s, ok := SystemFrom(ctx)
	if job, is := ctx.Value(checkpointsKey{}).(*pactor.PID); is && ok {
		s.Send(job, requestCheckpoint{request: checkpoint.Request{Asked: true}})
	}
}
