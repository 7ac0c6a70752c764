// Package window says which windows of event time a record belongs to.
//
// All times are Unix milliseconds. A window holds the times from its start up
// to, but without, its end. Windows start at whole multiples of their step,
// counted from the epoch in both directions, so that they do not depend on
// when a job was started.
package window

import (
	"fmt"
	"time"
)

// The event times that windows can be computed for: about 73 million years
// around the epoch. Ends and cleanup times cannot overflow within them.
const (
	MinTime int64 = -1 << 61
	MaxTime int64 = 1 << 61
)

// maxSize is the longest window, and the longest lateness: the longest time.Duration.
const maxSize = int64(1<<63-1) / int64(time.Millisecond)

// Windows are all windows of one size that start a step apart.
type Windows struct{ size, every int64 }

// Tumbling windows follow each other without gap or overlap.
func Tumbling(size time.Duration) Windows { return Sliding(size, size) }

// Sliding windows overlap: each time is in about size/every of them.
func Sliding(size, every time.Duration) Windows {
	return Windows{size: millis(size), every: millis(every)}
}

// millis is -1 for what is no whole number of milliseconds.
func millis(d time.Duration) int64 {
	if d%time.Millisecond != 0 {
		return -1
	}
	return d.Milliseconds()
}

// Check reports what is wrong with the windows.
func (w Windows) Check() error {
	switch {
	case w.size <= 0 || w.every <= 0 || w.size > maxSize:
		return fmt.Errorf("the size and the step of windows must be positive whole milliseconds")
	case w.every > w.size:
		return fmt.Errorf("windows of %v every %v leave gaps, and what falls there would be lost",
			w.Size(), time.Duration(w.every)*time.Millisecond)
	}
	return nil
}

// Size is the length of a window.
func (w Windows) Size() time.Duration { return time.Duration(w.size) * time.Millisecond }

// Overlap is the largest number of windows that a time can be in; 0 for
// windows that Check refuses.
func (w Windows) Overlap() int64 {
	if w.every <= 0 {
		return 0
	}
	return (w.size + w.every - 1) / w.every
}

// String describes the windows.
func (w Windows) String() string {
	if w.size == w.every {
		return fmt.Sprintf("tumbling %v", w.Size())
	}
	return fmt.Sprintf("sliding %v every %v", w.Size(), time.Duration(w.every)*time.Millisecond)
}

// Of returns the starts of the first and the last window that time t is in;
// Next leads from one to the other. t must be within MinTime and MaxTime.
func (w Windows) Of(t int64) (first, last int64) {
	last = floor(t, w.every)
	if w.size == w.every {
		return last, last
	}
	return floor(t-w.size, w.every) + w.every, last
}

// Next is the start of the window after the one that starts at start.
func (w Windows) Next(start int64) int64 { return start + w.every }

// End is the end of the window that starts at start.
func (w Windows) End(start int64) int64 { return start + w.size }

// Fires is the watermark that fires a window: no time in it is expected then.
func (w Windows) Fires(start int64) int64 { return start + w.size - 1 }

// floor is the largest multiple of step that is not above t.
func floor(t, step int64) int64 {
	r := t % step
	if r < 0 {
		r += step
	}
	return t - r
}
