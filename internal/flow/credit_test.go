package flow

import (
	"testing"

	"pgregory.net/rapid"
)

// The channel between a sender and a receiver may lose, repeat and reorder
// grants. Whatever it does, no more than a window is ever under way, and once
// the newest grant arrives the sender can go on.
func TestNeverMoreThanAWindowUnderWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := Window{Parcels: rapid.IntRange(1, 20).Draw(t, "parcels"), Bytes: rapid.IntRange(1, 5000).Draw(t, "bytes")}
		s, r := NewSender(7, w), NewReceiver(7, w)
		var sizes []int // under way
		grants := []Grant{{Session: 6, Parcels: 1 << 40, Bytes: 1 << 40}}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				if s.Open() {
					n := rapid.IntRange(0, 2000).Draw(t, "size")
					s.Sent(n)
					sizes = append(sizes, n)
				}
			case 1:
				if len(sizes) > 0 {
					if g, due := r.Consumed(sizes[0]); due {
						grants = append(grants, g)
					}
					sizes = sizes[1:]
				}
			case 2:
				s.Granted(grants[rapid.IntRange(0, len(grants)-1).Draw(t, "grant")])
			}
			bytes := 0
			for _, n := range sizes[:max(0, len(sizes)-1)] {
				bytes += n
			}
			if len(sizes) > w.Parcels || bytes >= w.Bytes {
				t.Fatalf("%d parcels and %d bytes besides the last under way, window %+v", len(sizes), bytes, w)
			}
		}
		for _, n := range sizes {
			r.Consumed(n)
		}
		s.Granted(r.Grant())
		if !s.Open() || s.Available() != w.Parcels {
			t.Fatalf("with nothing under way and the newest grant the window must be open, %d available", s.Available())
		}
	})
}

func TestAGrantIsDueAtHalfTheWindow(t *testing.T) {
	r := NewReceiver(1, Window{Parcels: 8, Bytes: 1 << 20})
	for i := 1; i <= 4; i++ {
		if _, due := r.Consumed(1); due != (i == 4) {
			t.Fatalf("after %d of 8 parcels: due %v", i, due)
		}
	}
}
