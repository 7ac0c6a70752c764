package actor

import "time"

// TickInterval is how often operators that act on processing time (timers,
// idleness, time-to-live) look at the clock: 20 ms. It is how late they may be.
const TickInterval = 20 * time.Millisecond

// scheduleTick has the task look at the clock after TickInterval, if any of its
// operators cares for it.
func (c *taskCore) scheduleTick() {
	if c.ticking && c.attempt.ctx.Err() == nil {
		sys, self := c.attempt.sys, c.self
		time.AfterFunc(TickInterval, func() { sys.Send(self, tick{}) })
	}
}

// tick lets operators act on processing time. A task that waits for credit does
// not tick: it could not send what its timers produce, and the time it waits
// says nothing about whether its sources are idle.
func (c *taskCore) tick() {
	defer c.scheduleTick()
	if !c.ready() || c.ended || c.attempt.failed.Load() {
		return
	}
	c.do((*ticking)(c))
}

// ticking is the work of acting on processing time.
type ticking taskCore

func (t *ticking) run() error {
	_, _, err := t.task.Tick(t.attempt.now().UnixMilli())
	return err
}

func (t *ticking) done() { t.task.Flush() }
