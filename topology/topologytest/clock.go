package topologytest

import (
	"math"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
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
	dataflow.Totals
	Watermark int64 // the lowest of the tasks'
}

// Counters returns the counters of an operator since the last start or Restore.
func (d *Driver) Counters(name string) Counters {
	c := Counters{Watermark: math.MaxInt64}
	for _, m := range d.metrics[name] {
		m.AddTo(&c.Totals)
		c.Watermark = min(c.Watermark, m.Watermark.Load())
	}
	return c
}
