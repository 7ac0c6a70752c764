// Package retrybudget is a token bucket that bounds retries by a share of the
// traffic, as Finagle's RetryBudget does. It has no clock: time is an argument.
package retrybudget

import "time"

// Burst is how many retries a Budget saves up: this many, or as many as its floor
// allows in ten seconds, if that is more.
const Burst = 100

// Budget is a token bucket. Every unit of traffic puts a share of a token into it, and
// time does; a retry takes one. It is not safe for concurrent use.
type Budget struct {
	share, floor float64 // floor: tokens a second
	most, tokens float64
	at           time.Time
	traffic      int64
}

// New returns a budget that has what one second of its floor gives, one token at
// least.
func New(share, floor float64, now time.Time) *Budget {
	return &Budget{share: share, floor: floor, most: max(Burst, 10*floor), tokens: max(1, floor), at: now}
}

// Take takes a token, and returns 0; or how long it will be until there is one if
// nothing but time passes. Traffic is what there was in all, up to now.
func (b *Budget) Take(now time.Time, traffic int64) (wait time.Duration) {
	if wait = b.Wait(now, traffic); wait == 0 {
		b.tokens = max(0, b.tokens-1)
	}
	return wait
}

// Wait is how long it will be until there is a token, if nothing but time passes.
func (b *Budget) Wait(now time.Time, traffic int64) time.Duration {
	b.tokens += b.share * float64(max(0, traffic-b.traffic))
	b.tokens += b.floor * max(0, now.Sub(b.at).Seconds())
	b.tokens = min(b.tokens, b.most)
	b.at, b.traffic = now, max(traffic, b.traffic)
	// What the roundings of the sums have cost is not worth waiting for.
	if missing := 1 - b.tokens; missing > 1e-9 {
		return time.Duration(missing/b.floor*float64(time.Second)) + 1
	}
	return 0
}
