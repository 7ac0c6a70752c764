package watermark

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// feed gives an origin records.
func feed(g *Generator, origin int, now int64, times ...int64) {
	g.Begin(origin, now)
	for _, t := range times {
		g.Observe(t)
	}
}

func wantMark(t rapid.TB, g *Generator, time int64, idle bool) {
	t.Helper()
	if got, gotIdle := g.Watermark(); got != time || gotIdle != idle {
		t.Fatalf("watermark %d, idle %v; want %d, %v", got, gotIdle, time, idle)
	}
}

func TestWatermarkIsBehindTheNewestRecordByTheBound(t *testing.T) {
	g := NewGenerator(Rules{Bound: 10}, 1)
	wantMark(t, g, Min, false)
	feed(g, 0, 0, 100)
	wantMark(t, g, 89, false)
	feed(g, 0, 0, 50, 99)
	wantMark(t, g, 89, false)
	feed(g, 0, 0, 101)
	wantMark(t, g, 90, false)
}

// Every combination of what three origins can be. Until the silent ones have
// been silent for long enough they hold the others back, and one that has never
// given anything holds back all; then only the active ones count. One that has
// ended never does.
func TestWatermarkOfOriginsInEveryState(t *testing.T) {
	kinds := []string{"active", "idle", "ended", "never started"}
	for _, a := range kinds {
		for _, b := range kinds {
			for _, c := range kinds {
				t.Run(fmt.Sprint(a, ", ", b, ", ", c), func(t *testing.T) { originsInState(t, []string{a, b, c}) })
			}
		}
	}
}

func originsInState(t *testing.T, states []string) {
	g := NewGenerator(Rules{Idle: 800}, len(states))
	g.Tick(0)
	for i, s := range states {
		if s != "never started" {
			feed(g, i, 0, int64(i+1)*100)
		}
		if s == "ended" {
			g.End(i)
		}
	}
	wantOf(t, g, states, "active", "idle", "never started")
	for now := int64(100); now <= 900; now += 100 {
		for i, s := range states {
			if s == "active" {
				feed(g, i, now, int64(i+1)*100)
			}
		}
		g.Tick(now)
	}
	wantOf(t, g, states, "active")
}

// wantOf wants the minimum over the origins in the given states.
func wantOf(t *testing.T, g *Generator, states []string, counts ...string) {
	t.Helper()
	low, active := Max, false
	for i, s := range states {
		if !slices.Contains(counts, s) {
			continue
		}
		active = true
		if s == "never started" {
			low = Min
		} else {
			low = min(low, int64(i+1)*100-1)
		}
	}
	before, _ := g.Watermark()
	if !active {
		wantMark(t, g, before, true)
	} else if low < before {
		t.Errorf("watermark %d is above %d", before, low)
	} else {
		wantMark(t, g, low, false)
	}
}

func TestWatermarkWhenAllAreIdleStaysWhereItIs(t *testing.T) {
	g := NewGenerator(Rules{Idle: 80}, 2)
	g.Tick(0)
	feed(g, 0, 0, 100)
	feed(g, 1, 0, 50)
	wantMark(t, g, 49, false)
	for now := int64(10); now <= 100; now += 10 {
		g.Tick(now)
	}
	wantMark(t, g, 49, true)
	if at, ok := g.NextTick(); ok {
		t.Errorf("wants to tick at %d, and nothing can change", at)
	}
	feed(g, 1, 200, 60) // behind what the other has
	wantMark(t, g, 59, false)
	feed(g, 0, 200, 70)
	wantMark(t, g, 59, false)
	feed(g, 1, 200, 300)
	wantMark(t, g, 99, false)
}

// A clock that nobody looks at does not run: where a task is blocked for an
// hour, its origins have not been idle for an hour.
func TestIdlenessDoesNotCountWhileBlocked(t *testing.T) {
	g := NewGenerator(Rules{Idle: 80}, 2)
	g.Tick(0)
	feed(g, 0, 0, 100)
	feed(g, 1, 0, 50)
	g.Tick(10)
	g.Tick(3_600_000)
	wantMark(t, g, 49, false)
	for i := range int64(6) {
		feed(g, 0, 0, 100)
		g.Tick(3_600_010 + 10*i)
		wantMark(t, g, 49, false)
	}
	g.Tick(3_600_070)
	wantMark(t, g, 99, false)
}

func TestIdlenessIsFoundInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		idle := rapid.Int64Range(1, 1000).Draw(t, "idle")
		g := NewGenerator(Rules{Idle: idle}, 2)
		now := int64(1000)
		g.Tick(now)
		last := now + rapid.Int64Range(0, 50).Draw(t, "record")
		feed(g, 1, last, 5)
		for {
			next, ok := g.NextTick()
			if !ok {
				t.Fatal("gave up waiting")
			}
			now = max(next, last)
			feed(g, 0, now, 10)
			g.Tick(now)
			if g.origins[1].idle {
				break
			}
		}
		if waited := now - last; waited < idle-max(1, idle/8) || waited > idle+2*max(1, idle/8) {
			t.Fatalf("idle after %d, want %d", waited, idle)
		}
	})
}

func TestARecordFarAheadDoesNotMoveTheWatermark(t *testing.T) {
	g := NewGenerator(Rules{Drift: 1000}, 1)
	g.Begin(0, 5000)
	for _, c := range []struct {
		time   int64
		future bool
		want   int64
	}{{100, false, 99}, {6001, true, 99}, {1 << 50, true, 99}, {6000, false, 5999}} {
		if _, future := g.Observe(c.time); future != c.future {
			t.Errorf("%d is future: %v", c.time, future)
		}
		wantMark(t, g, c.want, false)
	}
}

func TestAJumpNeedsConfirmation(t *testing.T) {
	g := NewGenerator(Rules{Jump: 100}, 1)
	feed(g, 0, 0, 1000, 1000)
	wantMark(t, g, 999, false)
	far := func(n int) {
		for i := range n {
			feed(g, 0, 0, 5000-int64(i))
		}
	}
	far(Confirmations - 1)
	wantMark(t, g, 999, false)
	feed(g, 0, 0, 900) // contradicts them
	far(Confirmations - 1)
	wantMark(t, g, 999, false)
	far(1)
	wantMark(t, g, 5000-(Confirmations-2)-1, false) // the lowest of them
	feed(g, 0, 0, 5050)
	wantMark(t, g, 5049, false)
}

// Wrong dates in front of an origin's right ones change nothing, as long as no two of
// them agree: event time is what it is without them, wherever it was restarted.
func TestWrongDatesAtTheBeginning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := Rules{Bound: rapid.Int64Range(0, 20).Draw(t, "bound"), Jump: 100}
		g, plain := NewGenerator(rules, 1), NewGenerator(Rules{Bound: rules.Bound}, 1)
		for i := range rapid.Int64Range(0, Confirmations-2).Draw(t, "wrong") {
			feed(g, 0, 0, 1<<40+i*1000)
			wantMark(t, g, Min, false)
		}
		for i, at := range rapid.SliceOfN(rapid.Int64Range(5000, 5000+rules.Jump), 2, 20).Draw(t, "right") {
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				g = restarted(g, rules)
			}
			g.Begin(0, 0)
			plain.Begin(0, 0)
			got, _ := g.Observe(at)
			if want, _ := plain.Observe(at); got != want {
				t.Fatalf("record %d: the mark is %d, want %d", i, got, want)
			}
		}
	})
}

func TestFirstTimesThatNeverAgree(t *testing.T) {
	g := NewGenerator(Rules{Jump: 100}, 1)
	for i := range int64(Confirmations) {
		wantMark(t, g, Min, false)
		feed(g, 0, 0, 1000*(Confirmations-i))
	}
	wantMark(t, g, 1000*Confirmations/2-1, false)
}

func TestFirstTimesCountOnceJumpsMayBeOfAnyLength(t *testing.T) {
	g := NewGenerator(Rules{Jump: 100}, 1)
	feed(g, 0, 0, 1000)
	wantMark(t, g, Min, false)
	g = restarted(g, Rules{})
	wantMark(t, g, 999, false)
}

// Whatever happens, the watermark never moves back, never passes the slowest
// origin that counts, and a generator that was saved and restored goes on as if
// nothing had been.
func TestGeneratorInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := Rules{Bound: rapid.Int64Range(0, 5).Draw(t, "bound"), Drift: rapid.Int64Range(0, 100).Draw(t, "drift"),
			Jump: rapid.Int64Range(0, 10).Draw(t, "jump")}
		n := rapid.IntRange(1, 3).Draw(t, "origins")
		g, low := NewGenerator(rules, n), Min
		seen := make([]int64, n)
		for i := range seen {
			seen[i] = Min
		}
		for range rapid.IntRange(0, 60).Draw(t, "records") {
			o, at := rapid.IntRange(0, n-1).Draw(t, "origin"), rapid.Int64Range(-30, 30).Draw(t, "time")
			feed(g, o, 0, at)
			seen[o] = max(seen[o], at)
			mark, _ := g.Watermark()
			if mark < low {
				t.Fatalf("moved back from %d to %d", low, mark)
			}
			for i, newest := range seen {
				if mark != Min && (newest == Min || mark > newest-rules.Bound-1) {
					t.Fatalf("at %d, though the newest of origin %d is %d", mark, i, newest)
				}
			}
			low = mark
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				g = restarted(g, rules)
				if mark, _ := g.Watermark(); mark != low {
					t.Fatalf("restarted at %d, was at %d", mark, low)
				}
			}
		}
	})
}

func restarted(g *Generator, r Rules) *Generator {
	next := NewGenerator(r, len(g.origins))
	for i := range g.origins {
		if s, ok := g.Save(i); ok {
			next.Restore(i, s)
		}
	}
	return next
}
