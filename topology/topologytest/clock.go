package topologytest

import (
	"math"
	"time"
)

// Now is the virtual time.
func (d *Driver) Now() time.Time { return d.now }

// Advance lets time pass: timers fire on the way, each at its own time.
func (d *Driver) Advance(by time.Duration) {
	if d.t != nil {
		d.t.Helper()
	}
	until := d.now.Add(by)
	for d.Run(); d.err == nil; d.Run() {
		next, ok, err := d.run.tick()
		d.fail(err)
		if !ok || next > until.UnixMilli() || err != nil {
			break
		}
		d.now = time.UnixMilli(max(next, d.now.UnixMilli()+1)).UTC()
	}
	if d.now.Before(until) {
		d.now = until
	}
	d.Run()
}

// Counters are what an operator has counted, over all of its tasks.
type Counters struct {
	In, Out     int64 // records
	Late        int64 // records behind the watermark
	Future      int64 // records too far ahead to move the watermark
	Failures    int64 // calls of user code that panicked, and records refused
	DeadLetters int64
	Skipped     int64
	Keys        int64 // keys that have state
	Expired     int64 // state that outlived its time-to-live
	// Watermark is the lowest of the tasks'.
	Watermark int64
}

// Counters returns the counters of an operator since the last start or Restore.
func (d *Driver) Counters(name string) Counters {
	c := Counters{Watermark: math.MaxInt64}
	for _, m := range d.metrics[name] {
		c.In += m.In.Load()
		c.Out += m.Out.Load()
		c.Late += m.Late.Load()
		c.Future += m.Future.Load()
		c.Failures += m.Failures.Load()
		c.DeadLetters += m.DeadLetters.Load()
		c.Skipped += m.Skipped.Load()
		c.Keys += m.Keys.Load()
		c.Expired += m.Expired.Load()
		c.Watermark = min(c.Watermark, m.Watermark.Load())
	}
	return c
}
