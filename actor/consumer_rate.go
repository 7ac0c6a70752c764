package actor

import (
	"math"
	"time"
)

// rateWindow is over which time a rate is measured, roughly: what is as long ago
// counts for a third.
const rateWindow = 15 * time.Second

// meter measures how often something happens: an exponentially weighted mean.
type meter struct {
	since time.Time // of the last look
	count uint64    // then
	rate  float64   // per second
	known bool
}

// look brings the rate up to date and returns it.
func (m *meter) look(now time.Time, count uint64) float64 {
	passed := now.Sub(m.since)
	if m.since.IsZero() || passed < rateWindow/15 {
		if m.since.IsZero() {
			m.since, m.count = now, count
		}
		return m.rate
	}
	rate := float64(count-m.count) / passed.Seconds()
	weight := 1 - math.Exp(-passed.Seconds()/rateWindow.Seconds())
	if !m.known {
		weight = 1
	}
	m.rate += weight * (rate - m.rate)
	m.since, m.count, m.known = now, count, true
	return m.rate
}
