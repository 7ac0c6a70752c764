package runtime_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
)

// TestKillNine kills a job with signal 9, over and over: while it starts, while
// it writes checkpoints, between a checkpoint and its commit. Nothing may be
// lost, nothing be there twice, and every window must have its batch answer,
// whatever the parallelism was when. TROUPE_KILLS=500 makes it a long one.
func TestKillNine(t *testing.T) {
	t.Parallel()
	dir := runtimetest.Dir(t)
	k := runtimetest.Kills{Count: 16, Within: 250 * time.Millisecond, Moments: 60}
	// So slow that no life but the last comes to the end of the input.
	const rate = 4000
	n := int64(float64(k.KillCount())*rate*k.Within.Seconds()) + rate
	killed := runtimetest.KillLoop(t, k, func(ctx context.Context, l *runtimetest.Life) error {
		pace := float64(rate)
		if l.Last {
			pace = 0
		}
		_, err := runtime.Run(ctx, faultTopology(readings(n, pace), fragileSinks(sinksIn(dir), l)),
			runtime.DataDir(filepath.Join(dir, "data")), runtime.ExactlyOnce(), runtime.Logger(quiet),
			runtime.CheckpointEvery(20*time.Millisecond), runtime.Parallelism(1+l.Number%3))
		return err
	})
	if killed < k.KillCount()*3/4 {
		t.Errorf("only %d of %d lives were ended by a kill", killed, k.KillCount())
	}
	judge(t, dir, n)
}
