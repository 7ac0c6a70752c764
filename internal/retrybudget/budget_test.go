package retrybudget

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestShare: whatever comes in whatever order, there are never more retries than the
// share, the floor and what was saved up allow; and whoever waits as long as is said
// gets one.
func TestShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share, floor := rapid.Float64Range(0.01, 2).Draw(t, "share"), rapid.Float64Range(0.1, 50).Draw(t, "floor")
		began := time.Unix(1e9, 0)
		now, traffic, retries := began, int64(0), 0
		b := New(share, floor, now)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				traffic += int64(rapid.IntRange(0, 50).Draw(t, "traffic"))
			case 1:
				now = now.Add(time.Duration(rapid.IntRange(-10, 500).Draw(t, "ms")) * time.Millisecond)
			case 2:
				if b.Take(now, traffic) == 0 {
					retries++
				}
			default:
				if wait := b.Wait(now, traffic); wait > 0 {
					if wait > time.Duration(float64(time.Second)/floor)+2 {
						t.Fatalf("a wait of %v at %v a second", wait, floor)
					}
					now = now.Add(wait)
				}
				if wait := b.Take(now, traffic); wait != 0 {
					t.Fatalf("after the wait it is another %v", wait)
				}
				retries++
			}
		}
		passed := now.Sub(began).Seconds() + 2 // the clock may have gone back, by 10 ms each time
		if bound := max(1, floor) + share*float64(traffic) + floor*passed + 1; float64(retries) > bound {
			t.Fatalf("%d retries, of %v", retries, bound)
		}
	})
}

// A long calm does not allow a storm.
func TestBurst(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := New(0.2, 1, now)
	now = now.Add(24 * time.Hour)
	n := 0
	for b.Take(now, 1_000_000) == 0 {
		n++
	}
	if n != Burst {
		t.Errorf("%d at once, want %d", n, Burst)
	}
}
