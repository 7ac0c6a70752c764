//go:build linux || darwin

package sinks

import (
	"errors"
	"os"
	"syscall"
)

// lockFile has the kernel keep other processes that ask for it from a file, until that
// is closed. It returns false if one of them was first; a file system that knows no locks
// is no reason not to write.
func lockFile(f *os.File) bool {
	return !errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
