package window

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// brute finds the windows of a time by trying every start there could be.
func brute(t, size, every int64) (starts []int64) {
	for s := t - size - every; s <= t+every; s++ {
		if mod := ((s % every) + every) % every; mod == 0 && s <= t && t < s+size {
			starts = append(starts, s)
		}
	}
	return starts
}

func TestWindowsOfATimeAreThoseThatHoldIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 60).Draw(t, "size")
		every := rapid.Int64Range(1, size).Draw(t, "every")
		at := rapid.Int64Range(-300, 300).Draw(t, "time")
		w := Sliding(time.Duration(size)*time.Millisecond, time.Duration(every)*time.Millisecond)
		if err := w.Check(); err != nil {
			t.Fatal(err)
		}
		var got []int64
		first, last := w.Of(at)
		for s := first; s <= last; s = w.Next(s) {
			got = append(got, s)
			if w.End(s) != s+size || w.Fires(s) != s+size-1 {
				t.Fatalf("window %d ends at %d and fires at %d", s, w.End(s), w.Fires(s))
			}
		}
		if want := brute(at, size, every); !slices.Equal(got, want) {
			t.Fatalf("time %d of %v: got %v, want %v", at, w, got, want)
		}
		if int64(len(got)) > w.Overlap() || int64(len(got)) < w.Overlap()-1 {
			t.Fatalf("%d windows, overlap %d", len(got), w.Overlap())
		}
	})
}

func TestWindowsAtTheEnds(t *testing.T) {
	w := Sliding(time.Duration(maxSize)*time.Millisecond, time.Duration(maxSize)*time.Millisecond)
	for _, at := range []int64{MinTime, -1, 0, MaxTime} {
		first, last := w.Of(at)
		if first != last || first > at || w.Fires(first) < at || w.Fires(first)+maxSize < at {
			t.Errorf("time %d: windows %d to %d", at, first, last)
		}
	}
}

func TestWindowsThatCannotBe(t *testing.T) {
	for _, w := range []Windows{
		{}, Tumbling(0), Tumbling(-time.Second), Tumbling(time.Nanosecond), Tumbling(time.Millisecond + 1),
		Sliding(time.Second, 0), Sliding(time.Second, -1), Sliding(time.Second, 2*time.Second),
	} {
		if w.Check() == nil {
			t.Errorf("%+v passes", w)
		}
	}
	if got := Sliding(time.Minute, time.Second).String(); got != "sliding 1m0s every 1s" {
		t.Error(got)
	}
	if got := Tumbling(time.Minute).String(); got != "tumbling 1m0s" {
		t.Error(got)
	}
}
