package measure

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"time"
)

// The gate's bounds, in cores that others keep busy.
const (
	quietCores = 0.20                    // a run waits until others use less
	quietFor   = 300 * time.Millisecond  // for this long
	waitMost   = 1500 * time.Millisecond // and then begins in any case, by default
	// A run during which others used more is disturbed.
	disturbedCores = 0.15
)

// ticksPerSecond is USER_HZ, which Linux fixes at 100 for /proc/stat.
const ticksPerSecond = 100

// load is a reading of what the machine and this process have done so far.
type load struct {
	at   time.Time
	busy time.Duration // of all cores, by all processes
	own  time.Duration // by this process
}

// foreign is how many cores others kept busy between two readings.
func foreign(from, to load) float64 {
	elapsed := to.at.Sub(from.at)
	if elapsed <= 0 {
		return 0
	}
	others := (to.busy - from.busy) - (to.own - from.own)
	return max(0, others.Seconds()/elapsed.Seconds())
}

// machine is where readings come from; tests replace it.
type machine interface {
	// load returns a reading; an error where the system does not tell.
	load() (load, error)
	// sleep waits, or returns the error of ctx.
	sleep(ctx context.Context, d time.Duration) error
}

// waitQuiet waits until others leave the machine alone, or for so long. Where
// the system tells nothing it does not wait.
func waitQuiet(ctx context.Context, m machine, most time.Duration) error {
	for waited := time.Duration(0); waited < most; waited += quietFor {
		before, err := m.load()
		if err != nil {
			return ctx.Err()
		}
		if err := m.sleep(ctx, quietFor); err != nil {
			return err
		}
		after, err := m.load()
		if err != nil || foreign(before, after) < quietCores {
			return ctx.Err()
		}
	}
	return nil
}

type host struct{}

func (host) load() (load, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return load{}, err
	}
	busy, err := parseBusy(stat)
	return load{at: time.Now(), busy: busy, own: ProcessorTime()}, err
}

func (host) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// parseBusy adds up the first line of /proc/stat without idle and iowait:
// "cpu user nice system idle iowait irq softirq steal guest guest_nice". Guest
// time is contained in user time.
func parseBusy(stat []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, errors.New("/proc/stat does not begin with the line of all processors")
	}
	var ticks int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}
