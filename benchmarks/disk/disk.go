// Package disk measures the file system alone: writes to the end of a file,
// each made durable before the next. It is what a durable log is compared with.
package disk

import (
	"context"
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
func Append(ctx context.Context, dir string, chunk []byte, times int, sync bool) (t Timing, err error) {
	f, err := os.CreateTemp(dir, "raw-*")
	if err != nil {
		return Timing{}, fmt.Errorf("the disk cannot be measured: %w", err)
	}
	defer func() {
		if e := os.Remove(f.Name()); err == nil {
			err = e
		}
	}()
	defer f.Close()
	t.Writes = make([]time.Duration, 0, times)
	start := time.Now()
	for last := start; len(t.Writes) < times; {
		if err := write(ctx, f, chunk, sync); err != nil {
			return Timing{}, fmt.Errorf("the disk cannot be measured: %w", err)
		}
		now := time.Now()
		t.Writes = append(t.Writes, now.Sub(last))
		t.Bytes += int64(len(chunk))
		last = now
	}
	t.Wall = time.Since(start)
	return t, nil
}

func write(ctx context.Context, f *os.File, chunk []byte, sync bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := f.Write(chunk); err != nil {
		return err
	}
	if sync {
		return datasync(f)
	}
	return nil
}
