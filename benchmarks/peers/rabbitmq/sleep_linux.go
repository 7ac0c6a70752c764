package main

import (
	"syscall"
	"time"
)

const setTimerSlack = 29 // PR_SET_TIMERSLACK of prctl(2)

// exactSleep has the kernel wake this thread when it is due, and not up to 50 µs later
// to save a wake-up.
func exactSleep() { _, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1, 0) }

func sleep(d time.Duration) {
	t := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&t, nil) // woken early, it is a little early
}
