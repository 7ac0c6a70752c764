package actor

import (
	"testing"
	"time"
)

func TestNotes(t *testing.T) {
	for _, n := range []consumerNote{{}, {Crash, 17}, {Rebalance, 1}, {Replay, 1 << 60}} {
		if got := parseNote(n.String()); got != n {
			t.Errorf("%v became %v", n, got)
		}
	}
	for _, text := range []string{"", "crash", "crash x", "crash -1", "first 3", "weather 7", "crash  7", "crash 7 7"} {
		if got := parseNote(text); got != (consumerNote{}) {
			t.Errorf("%q says %v", text, got)
		}
	}
}

func TestMeter(t *testing.T) {
	var m meter
	now := time.Unix(0, 0)
	count := uint64(1000) // what was before does not count
	for range 10 {
		m.look(now, count)
		now = now.Add(3 * time.Second)
		count += 30
	}
	if rate := m.look(now, count); rate < 9.99 || rate > 10.01 {
		t.Errorf("ten a second are measured as %v", rate)
	}
	now = now.Add(rateWindow)
	if rate := m.look(now, count); rate < 3.6 || rate > 3.8 {
		t.Errorf("after a pause it is %v", rate)
	}
	if rate := m.look(now.Add(time.Millisecond), count+1000); rate > 3.8 {
		t.Errorf("a look too soon says %v", rate)
	}
}
