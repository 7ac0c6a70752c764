package actor

import (
	"errors"
	"fmt"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"
)

// Defaults of supervision.
const (
	DefaultRestartsMax    = 10
	DefaultRestartsWithin = time.Minute
	DefaultBackoffInitial = 10 * time.Millisecond
	DefaultBackoffMax     = 5 * time.Second
)

// Supervision restarts an actor that panicked, after a pause that doubles with
// every failure within the window. When there were too many, it escalates: the
// supervising actor fails in turn; at the root the actor is stopped and the
// system's failure function is told.
//
// Panics of user code are caught where that code is called and follow the
// operator's error policy. What arrives here is a mistake of ours, so it is
// logged with its stack.
type Supervision struct {
	RestartsMax    int           // restarts within the window before it gives up
	RestartsWithin time.Duration // the window
	BackoffInitial time.Duration // pause before the first restart
	BackoffMax     time.Duration // longest pause

	system *System
	stops  bool // what fails too often is stopped, its supervisor is told, and its siblings go on
}

// Supervision returns the supervision with the default limits.
func (s *System) Supervision() *Supervision {
	return &Supervision{
		RestartsMax:    DefaultRestartsMax,
		RestartsWithin: DefaultRestartsWithin,
		BackoffInitial: DefaultBackoffInitial,
		BackoffMax:     DefaultBackoffMax,
		system:         s,
	}
}

// HandleFailure decides about a child that panicked. Its mailbox is suspended
// until it is restarted or stopped. Under a guardian this runs on the goroutine
// of the failed child, so for several children at once.
func (v *Supervision) HandleFailure(_ *pactor.ActorSystem, supervisor pactor.Supervisor, child *pactor.PID,
	stats *pactor.RestartStatistics, reason, message any) {
	if stats.NumberOfFailures(v.RestartsWithin) == 0 {
		stats.Reset()
	}
	stats.Fail()
	failures := stats.NumberOfFailures(v.RestartsWithin)
	v.report(child, reason, message, failures)
	if failures <= v.RestartsMax {
		time.AfterFunc(v.backoff(failures), func() { supervisor.RestartChildren(child) })
		return
	}
	if _, isActor := supervisor.(pactor.Context); isActor && !v.stops {
		supervisor.EscalateFailure(reason, message)
		return
	}
	supervisor.StopChildren(child)
	v.system.onFailure(child.Id, fmt.Errorf("actor %s failed %d times within %v and was stopped: %w",
		child.Id, failures, v.RestartsWithin, asError(reason)))
}

// backoff doubles from BackoffInitial to BackoffMax.
func (v *Supervision) backoff(failures int) time.Duration {
	pause := v.BackoffInitial
	for i := 1; i < failures && pause < v.BackoffMax; i++ {
		pause *= 2
	}
	return min(pause, v.BackoffMax)
}

func (v *Supervision) report(child *pactor.PID, reason, message any, failures int) {
	attrs := []any{"actor", child.Id, "reason", reason, "message", fmt.Sprintf("%T", message), "failures", failures}
	if p, ok := reason.(*PanicError); ok {
		attrs = append(attrs, "stack", string(p.Stack))
	}
	v.system.log.Error("an actor failed", attrs...)
}

func asError(reason any) error {
	if err, ok := reason.(error); ok {
		return err
	}
	return errors.New(fmt.Sprint(reason))
}
