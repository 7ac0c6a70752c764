package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/troupestream/troupe/runtime"
)

var timeField = regexp.MustCompile(`"time":(\d+)`)

// manyWeeks writes the data several times, a week later each time, with a bad
// line after each.
func manyWeeks(t *testing.T, weeks int) (path string) {
	t.Helper()
	text := readFile(t, realData)
	var all bytes.Buffer
	for i := range weeks {
		shift := int64(i) * (7 * 24 * time.Hour).Milliseconds()
		all.WriteString(timeField.ReplaceAllStringFunc(text, func(field string) string {
			at, err := strconv.ParseInt(field[len(`"time":`):], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf(`"time":%d`, at+shift)
		}))
		fmt.Fprintf(&all, "week %d\n", i)
	}
	path = filepath.Join(t.TempDir(), "many.ndjson")
	if err := os.WriteFile(path, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// same compares outputs without printing them: they are large.
func same(t *testing.T, how string, got, want files) {
	t.Helper()
	for _, f := range []struct{ name, got, want string }{
		{"windows", got.windows, want.windows}, {"late", got.late, want.late}, {"bad", got.bad, want.bad},
	} {
		if f.got != f.want {
			t.Errorf("%s: the %s are %d bytes and not the %d of the unbroken run, or differ", how, f.name, len(f.got), len(f.want))
		}
	}
}

// engineRun starts the topology on an engine and lets during do with it what it
// wants, then waits for its end.
func engineRun(t *testing.T, s *settings, tasks int, every time.Duration, during func(*runtime.Job) (ended bool)) runtime.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := runtime.Open(ctx, runtime.DataDir(s.data), runtime.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	j, err := e.Start(ctx, s.topology(), runtime.ExactlyOnce(), runtime.Parallelism(tasks), runtime.CheckpointEvery(every))
	if err != nil {
		t.Fatal(err)
	}
	if during(j) {
		return runtime.Report{}
	}
	report, err := j.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func settingsOf(t *testing.T, dir, in string) *settings {
	t.Helper()
	s, err := parseFlags(flags(dir, in), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func untouched(*runtime.Job) bool { return false }

// The files are the same when the job runs straight through, when it runs at
// another parallelism with a checkpoint every few milliseconds, and when it is
// killed again and again and resumed at yet others.
func TestThreeWays(t *testing.T) {
	in := manyWeeks(t, 6)
	straight := t.TempDir()
	engineRun(t, settingsOf(t, straight, in), 1, 0, untouched)
	want := outputs(t, straight)
	if onTime, late, bad := want.lines(); onTime+late+bad != 6*1708 || bad != 6 || late == 0 {
		t.Fatalf("%d on time, %d late, %d bad", onTime, late, bad)
	}

	often := t.TempDir()
	report := engineRun(t, settingsOf(t, often, in), 3, 3*time.Millisecond, untouched)
	same(t, fmt.Sprint("with ", report.Checkpoint.Number, " checkpoints"), outputs(t, often), want)

	killed := t.TempDir()
	s := settingsOf(t, killed, in)
	kills := 0
	for i := range 6 {
		engineRun(t, s, 1+i%4, time.Millisecond, func(j *runtime.Job) bool {
			for range i {
				if _, err := j.Checkpoint(t.Context()); err != nil {
					return false // it has ended
				}
			}
			kills++
			if err := j.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			return true
		})
	}
	engineRun(t, s, 2, time.Millisecond, untouched)
	same(t, fmt.Sprint("killed ", kills, " times"), outputs(t, killed), want)
	if kills < 3 {
		t.Errorf("the job was killed only %d times: it needs a larger input", kills)
	}
}

// program is the program in a process of its own.
type program struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
	ended          chan error
}

func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command(os.Args[0], args...), ended: make(chan error, 1)}
	p.Env = append(os.Environ(), asProgram+"=yes")
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.Wait() }()
	return p
}

// endsWithin waits for the end of the program for so long, and says whether it
// came; it must be a good one.
func (p *program) endsWithin(t *testing.T, d time.Duration) bool {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case err := <-p.ended:
		if err != nil {
			t.Fatalf("%v: %s", err, &p.stderr)
		}
		return true
	case <-timer.C:
		return false
	}
}

// TestProgram ends the program in the middle of its work, which takes an input
// that keeps it busy for longer than a few checkpoints.
func TestProgram(t *testing.T) {
	var in string
	var want files
	for weeks, long := 8, false; !long; weeks *= 2 {
		in = manyWeeks(t, weeks)
		begun := time.Now()
		_, want = quakes(t, t.TempDir(), in)
		long = time.Since(begun) > 4*checkpointEvery
		if onTime, late, bad := want.lines(); onTime+late+bad != weeks*1708 || bad != weeks {
			t.Fatalf("%d on time, %d late, %d bad", onTime, late, bad)
		}
	}
	t.Run("kill -9", func(t *testing.T) { killRandomly(t, in, want) })
	t.Run("SIGTERM", func(t *testing.T) { stopOnce(t, in, want) })
}

// Killed with -9 at random moments, from the start on and behind a checkpoint in
// turn, and started again at any parallelism, the program ends with the files of
// an unbroken run.
func killRandomly(t *testing.T, in string, want files) {
	kills := 12
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	killed, resumed := 0, 0
	// A kill can come between the bytes of a checkpoint and the checkpoint itself,
	// on a slow machine every time: then two more are needed.
	for killed < kills || resumed == 0 {
		if killed >= kills {
			kills += 2
		}
		dir := t.TempDir()
		for finished := false; !finished; {
			p := startProgram(t, flags(dir, in, "-parallelism", strconv.Itoa(1+random.IntN(4)))...)
			wait := time.Duration(random.Int64N(int64(2 * checkpointEvery)))
			if killed >= kills {
				wait = time.Minute
			} else if killed%2 == 1 {
				p.awaitCheckpoint(t, filepath.Join(dir, "b"))
			}
			if finished = p.endsWithin(t, wait); !finished {
				killed++
				_ = p.Process.Kill()
				<-p.ended
			} else if strings.HasPrefix(p.stdout.String(), "resumed from checkpoint ") {
				resumed++
			}
		}
		same(t, fmt.Sprint("after ", killed, " kills"), outputs(t, dir), want)
	}
}

// SIGTERM ends a run in good order, and the next one goes on.
func stopOnce(t *testing.T, in string, want files) {
	dir := t.TempDir()
	p := startProgram(t, flags(dir, in)...)
	p.awaitCheckpoint(t, filepath.Join(dir, "b"))
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !p.endsWithin(t, time.Minute) || p.stderr.Len() > 0 || !strings.HasPrefix(p.stdout.String(), "stopped ") {
		t.Fatalf("a stop is no trouble, yet it prints %s and %s", &p.stdout, &p.stderr)
	}
	printed, got := quakes(t, dir, in, "-parallelism", "3")
	if !strings.HasPrefix(printed, "resumed from checkpoint ") {
		t.Errorf("the run behind the stop prints\n%s", printed)
	}
	same(t, "after SIGTERM", got, want)
}

// awaitCheckpoint waits until a checkpoint has put bad lines on disk: so few of
// them are not written for anything else. It returns as well when the program
// has ended.
func (p *program) awaitCheckpoint(t *testing.T, path string) {
	t.Helper()
	before := sizeOf(path)
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for sizeOf(path) <= before {
		select {
		case <-ticker.C:
		case err := <-p.ended:
			p.ended <- err
			return
		case <-deadline:
			t.Fatal("the program takes no checkpoint")
		}
	}
}

// sizeOf is 0 for a file that is not there.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
