// Package disk measures the file system alone: writes to the end of a file,
// each made durable before the next. It is what a durable log is compared with.
package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Timing is what a run of writes took.
type Timing struct {
	Bytes  int64
	Wall   time.Duration
	Writes []time.Duration // of each write, with its fsync
}

// BytesPerS is the bandwidth.
func (t *Timing) BytesPerS() float64 { return float64(t.Bytes) / t.Wall.Seconds() }

// Probe writes 4 KiB 300 times, durably: its median is the unit in which
// durable results are comparable across disks and days.
func Probe(ctx context.Context, dir string) (Timing, error) {
	return Append(ctx, dir, make([]byte, 4096), 300, true)
}

// Append writes chunk to the end of a new file in dir, as often as times says,
// and calls fdatasync after each write if sync is set (fsync where there is no
// fdatasync). The file is removed at the end.
func Append(ctx context.Context, dir string, chunk []byte, times int, sync bool) (Timing, error) {
	f, err := Create(dir)
	if err != nil {
		return Timing{}, err
	}
	t := Timing{Writes: make([]time.Duration, 0, times)}
	start := time.Now()
	for len(t.Writes) < times && err == nil {
		var took time.Duration
		took, err = f.Append(ctx, chunk, sync)
		t.Writes = append(t.Writes, took)
		t.Bytes += int64(len(chunk))
	}
	t.Wall = time.Since(start)
	return t, errors.Join(err, f.Close())
}

// File is a file of its own to be measured.
type File struct{ f *os.File }

// Create makes an empty file in dir. Close removes it.
func Create(dir string) (*File, error) {
	f, err := os.CreateTemp(dir, "raw-*")
	if err != nil {
		return nil, failed(err)
	}
	return &File{f}, nil
}

// Append writes to the end of the file, and calls fdatasync if sync is set. It
// returns how long that took.
func (f *File) Append(ctx context.Context, chunk []byte, sync bool) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, failed(err)
	}
	start := time.Now()
	_, err := f.f.Write(chunk)
	if err == nil && sync {
		err = datasync(f.f)
	}
	if err != nil {
		return 0, failed(err)
	}
	return time.Since(start), nil
}

// Close closes and removes the file.
func (f *File) Close() error { return errors.Join(f.f.Close(), os.Remove(f.f.Name())) }

func failed(err error) error { return fmt.Errorf("the disk cannot be measured: %w", err) }
