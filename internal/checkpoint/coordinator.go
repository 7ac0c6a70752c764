package checkpoint

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config are the times of a coordinator.
type Config struct {
	Interval time.Duration // between the beginnings of two checkpoints; 0: none but those asked for
	Timeout  time.Duration // after which a checkpoint is given up
	Failures int           // given up in a row that are one too many; 0: there is no such number
}

// Coordinator follows checkpoints: one at a time, from the trigger until every
// task has contributed its part.
type Coordinator struct {
	config  Config
	tasks   []string
	number  uint64
	pending *Pending
	due     time.Time
	wanted  []Request
	failed  int // given up since the last one that was complete
}

// Request asks for a checkpoint outside of the interval.
type Request struct {
	Asked     bool   // somebody waits for it
	Savepoint string // name to keep it under; "": keep it like any other
	Stop      bool   // sources stop reading behind it
	Finished  bool   // the input has ended
}

// Pending is a checkpoint under way.
type Pending struct {
	Number  uint64
	Request Request
	Started time.Time
	Parts   map[string]Part // by task
}

// NewCoordinator returns a coordinator of tasks of these names. last is the newest
// checkpoint's number so far.
func NewCoordinator(c Config, tasks []string, last uint64, now time.Time) *Coordinator {
	return &Coordinator{config: c, tasks: tasks, number: last, due: now.Add(c.Interval)}
}

// Request notes that a checkpoint is wanted as soon as none is under way. One that
// has not begun yet serves all who want the same.
func (c *Coordinator) Request(r Request) {
	if !slices.Contains(c.wanted, r) {
		c.wanted = append(c.wanted, r)
	}
}

// Trigger begins a checkpoint if it is time to and none is under way.
func (c *Coordinator) Trigger(now time.Time) *Pending {
	if c.pending != nil {
		return nil
	}
	var r Request
	switch {
	case len(c.wanted) > 0:
		r, c.wanted = c.wanted[0], c.wanted[1:]
	case c.config.Interval <= 0 || now.Before(c.due):
		return nil
	}
	c.number++
	c.due = now.Add(c.config.Interval)
	c.pending = &Pending{Number: c.number, Request: r, Started: now, Parts: map[string]Part{}}
	return c.pending
}

// Ack takes a task's part. It returns the checkpoint when that was the last
// part missing; it is then no longer under way. Parts of a checkpoint that was
// given up are ignored.
func (c *Coordinator) Ack(number uint64, task string, p Part) *Pending {
	if c.pending == nil || c.pending.Number != number {
		return nil
	}
	c.pending.Parts[task] = p
	if len(c.pending.Parts) < len(c.tasks) {
		return nil
	}
	done := c.pending
	c.pending, c.failed = nil, 0
	return done
}

// Expire gives up a checkpoint that takes longer than the timeout. A request
// that it was to fulfil is put back, so that it is tried again.
func (c *Coordinator) Expire(now time.Time) (given *Pending, err error) {
	p := c.pending
	if p == nil || c.config.Timeout <= 0 || now.Sub(p.Started) < c.config.Timeout {
		return nil, nil
	}
	c.pending = nil
	c.failed++
	if p.Request != (Request{}) {
		c.wanted = slices.DeleteFunc(c.wanted, func(r Request) bool { return r == p.Request })
		c.wanted = append([]Request{p.Request}, c.wanted...)
	}
	return p, fmt.Errorf("checkpoint %d was given up after %v: %s of %d tasks have not contributed", p.Number, c.config.Timeout, c.missing(p), len(c.tasks))
}

// missingMost is how many of the tasks that have not contributed are named.
const missingMost = 8

// missing names the tasks that a checkpoint waits for.
func (c *Coordinator) missing(p *Pending) string {
	var names []string
	more := 0
	for _, t := range c.tasks {
		switch _, ok := p.Parts[t]; {
		case ok:
		case len(names) < missingMost:
			names = append(names, t)
		default:
			more++
		}
	}
	text := strings.Join(names, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Exhausted returns how many checkpoints were given up in a row, if that is one too
// many, or 0.
func (c *Coordinator) Exhausted() int {
	if c.config.Failures <= 0 || c.failed < c.config.Failures {
		return 0
	}
	return c.failed
}

// Wake returns when Trigger or Expire should be called next; the zero time when
// there is nothing to wait for.
func (c *Coordinator) Wake() time.Time {
	if p := c.pending; p != nil {
		if c.config.Timeout <= 0 {
			return time.Time{}
		}
		return p.Started.Add(c.config.Timeout)
	}
	if c.config.Interval <= 0 {
		return time.Time{}
	}
	return c.due
}

// Pending returns the checkpoint under way, or nil.
func (c *Coordinator) Pending() *Pending { return c.pending }

// Number is the newest checkpoint that was begun.
func (c *Coordinator) Number() uint64 { return c.number }
