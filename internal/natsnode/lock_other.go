//go:build !linux && !darwin

package natsnode

import (
	"errors"
	"fmt"
	goruntime "runtime"
)

type dirLock struct{}

func lockDir(dir string) (*dirLock, error) {
	return nil, fmt.Errorf("lock data directory %s: not supported on %s: %w", dir, goruntime.GOOS, errors.ErrUnsupported)
}

func (*dirLock) release() error { return nil }

func freeBytes(string) (uint64, error) { return 0, errors.ErrUnsupported }
