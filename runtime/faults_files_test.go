package runtime_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
)

// TestDamagedFiles damages the files of a job that was killed, as a bad disk
// would. Whatever the store makes of it, the job must not begin from nothing
// as if nothing had been, and what it says is complete must be right.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	newest := killedOnDisk(t, dir)
	for name, damage := range map[string]func(*testing.T, string, *rand.Rand){
		"one bit":   flipBit,
		"cut":       cutFile,
		"cut to 0":  func(t *testing.T, path string, _ *rand.Rand) { truncate(t, path, 0) },
		"a page of": zeroPage,
	} {
		for _, log := range []string{manifestsLog, chunksLog} {
			t.Run(log+"/"+name, func(t *testing.T) {
				r := runtimetest.Random(t)
				copied := filepath.Join(t.TempDir(), "copy")
				if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				blocks := blocksOf(t, copied, log)
				damage(t, blocks[r.IntN(len(blocks))], r)
				survives(t, copied, newest)
			})
		}
	}
}

// killedOnDisk leaves behind a job that has taken checkpoints and was killed, and
// returns the number of the newest.
func killedOnDisk(t *testing.T, dir string) (newest uint64) {
	t.Helper()
	r := &rig{t: t, dir: dir, log: newJournal()}
	e := openFaults(t, dir, runtime.CheckpointEvery(0), runtime.Logger(slog.New(r.log)))
	j, err := e.Start(within(t), r.topology())
	if err != nil {
		t.Fatal(err)
	}
	c := r.checkpoint(j)
	for range 6 {
		c = r.checkpointBehind(j, c)
	}
	if err := j.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	closeEngine(t, e)
	return c.Number
}

// survives resumes the job: it must either refuse, or come to the right results
// from a checkpoint, and say so if that is not the newest. (That the very last
// manifest is gone nobody can tell, so the one before it is as good.)
func survives(t *testing.T, dir string, newest uint64) {
	t.Helper()
	log := newJournal()
	e, err := runtime.Open(within(t), runtime.DataDir(filepath.Join(dir, "data")), runtime.Logger(slog.New(log)), runtime.ExactlyOnce())
	if err != nil {
		t.Logf("the engine does not open: %v", err)
		return
	}
	report, err := e.Run(within(t), faultTopology(readings(rigRecords, 0), sinksIn(dir)), runtime.Restarts(0, 0))
	closeEngine(t, e)
	switch {
	case err != nil:
		t.Logf("refused: %v", err)
		return
	case report.Resumed == nil:
		t.Fatal("the job has begun from nothing")
	case report.Resumed.Number < newest-1 && log.count(slog.LevelError, "falling back") == 0:
		t.Errorf("the job has resumed from checkpoint %d of %d, and has said nothing", report.Resumed.Number, newest)
	}
	(&rig{t: t, dir: dir}).checkFiles()
}

func blocksOf(t *testing.T, dir, log string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(path, filepath.Join("streams", log)) && strings.HasSuffix(path, ".blk") {
			all = append(all, path)
		}
		return err
	})
	if err == nil && len(all) == 0 {
		err = errors.New("there are no blocks")
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func flipBit(t *testing.T, path string, r *rand.Rand) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func cutFile(t *testing.T, path string, r *rand.Rand) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	truncate(t, path, r.Int64N(info.Size()))
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func zeroPage(t *testing.T, path string, r *rand.Rand) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		at := r.IntN(len(b)) / 4096 * 4096
		clear(b[at:min(at+4096, len(b))])
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
