package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
)

// files are the outputs of a run.
type files struct{ windows, late, bad string }

func (f files) lines() (onTime, late, bad int) {
	for _, r := range rows(f.windows) {
		onTime += r.Count
	}
	return onTime, strings.Count(f.late, "\n"), strings.Count(f.bad, "\n")
}

func rows(text string) (all []Row) {
	for line := range strings.Lines(text) {
		var r Row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			panic(err)
		}
		all = append(all, r)
	}
	return all
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func outputs(t *testing.T, dir string) files {
	t.Helper()
	return files{readFile(t, filepath.Join(dir, "w")), readFile(t, filepath.Join(dir, "l")), readFile(t, filepath.Join(dir, "b"))}
}

// flags are those for a run in a directory.
func flags(dir, in string, more ...string) []string {
	return append([]string{"-in", in, "-out", filepath.Join(dir, "w"), "-late", filepath.Join(dir, "l"),
		"-bad", filepath.Join(dir, "b"), "-data", filepath.Join(dir, "data")}, more...)
}

// quakes runs the program in this process and returns what it printed and wrote.
func quakes(t *testing.T, dir, in string, more ...string) (printed string, f files) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(flags(dir, in, more...), &stdout, &stderr); status != 0 || stderr.Len() > 0 {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	return stdout.String(), outputs(t, dir)
}

const realData = "testdata/quakes.ndjson"

func TestRealData(t *testing.T) {
	dir := t.TempDir()
	printed, f := quakes(t, dir, realData)
	golden(t, "windows.golden.ndjson", f.windows)
	golden(t, "printed.golden", strings.ReplaceAll(printed, dir, "DIR"))

	again, same := quakes(t, dir, realData, "-parallelism", "5")
	if same != f {
		t.Error("a run that had nothing to do changed the files")
	}
	if want := "an earlier run with this -data had finished: nothing was left to do\n" + printed; again != want {
		t.Errorf("the second run prints\n%s", again)
	}
}

func TestDrawing(t *testing.T) {
	b := Topology("quakes", sources.NumberedLines("-"), Outputs{
		Windows: sinks.Discard[Row](), Late: sinks.Discard[LateQuake](), Bad: sinks.Discard[BadLine](),
	}, time.Hour, time.Hour)
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "../graph.md", "# The topology of quakes\n\n```mermaid\n"+g.Mermaid()+"```\n")
}

// window is a window of the batch answer.
type window struct {
	net   string
	start int64
}

// batchAnswer computes, with none of the example's code, what the windows are
// and which lines are late. A negative bound means that nothing is.
func batchAnswer(t *testing.T, size, bound time.Duration) (answer map[window]Row, late []int64) {
	t.Helper()
	type record struct {
		Net        string
		Time       int64
		Mag, Depth float64
	}
	answer = map[window]Row{}
	depths := map[window]float64{}
	newest, line := int64(-1), int64(0)
	for text := range strings.Lines(readFile(t, realData)) {
		var r record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		line++
		w := window{r.Net, r.Time - r.Time%size.Milliseconds()}
		end := w.start + size.Milliseconds()
		isLate := bound >= 0 && newest >= 0 && newest-bound.Milliseconds() >= end
		newest = max(newest, r.Time)
		if isLate {
			late = append(late, line)
			continue
		}
		row, seen := answer[w]
		if !seen {
			row = Row{Net: w.net, WindowStart: w.start, WindowEnd: end, MaxMag: r.Mag}
		}
		row.Count++
		row.MaxMag = max(row.MaxMag, r.Mag)
		depths[w] += r.Depth
		row.MeanDepth = depths[w] / float64(row.Count)
		answer[w] = row
	}
	return answer, late
}

// Whatever the bound, the result is the batch answer over the lines that are not
// late, and nothing is missing: each line is in a window, or late, or bad.
func TestEqualsTheBatchAnswer(t *testing.T) {
	for _, test := range []struct {
		size, bound time.Duration
		lates       bool
	}{
		{6 * time.Hour, 0, true}, {6 * time.Hour, time.Hour, true}, {6 * time.Hour, 24 * time.Hour, true},
		{6 * time.Hour, 168 * time.Hour, false}, {45 * time.Minute, 24 * time.Hour, true}, {time.Millisecond, time.Second, true},
	} {
		t.Run(fmt.Sprint(test.size, " ", test.bound), func(t *testing.T) {
			_, f := quakes(t, t.TempDir(), realData, "-window", test.size.String(), "-bound", test.bound.String())
			answer, late := batchAnswer(t, test.size, test.bound)
			if !test.lates {
				if answer, late = batchAnswer(t, test.size, -1); f.late != "" {
					t.Errorf("late: %s", f.late)
				}
			} else if len(late) == 0 {
				t.Error("the test says nothing: no line is late")
			}
			got := map[window]Row{}
			for _, r := range rows(f.windows) {
				got[window{r.Net, r.WindowStart}] = r
			}
			if !maps.Equal(got, answer) || len(rows(f.windows)) != len(answer) {
				t.Errorf("%d windows, want these %d, or they differ", len(got), len(answer))
			}
			if got := lateLines(t, f.late); !slices.Equal(got, late) {
				t.Errorf("%d late lines, want %d, or others", len(got), len(late))
			}
			if onTime, late, bad := f.lines(); onTime+late+bad != 1707 {
				t.Errorf("%d on time + %d late + %d bad of 1707", onTime, late, bad)
			}
		})
	}
}

func lateLines(t *testing.T, text string) (numbers []int64) {
	input := strings.Split(readFile(t, realData), "\n")
	for line := range strings.Lines(text) {
		var l LateQuake
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if string(l.Record) != input[l.Line-1] {
			t.Errorf("late line %d holds %s", l.Line, l.Record)
		}
		numbers = append(numbers, l.Line)
	}
	return numbers
}

// Rows come by time, and those of one window by network.
func TestRowsAreSorted(t *testing.T) {
	_, f := quakes(t, t.TempDir(), realData, "-parallelism", "4")
	sorted := slices.IsSortedFunc(rows(f.windows), func(a, b Row) int {
		if a.WindowStart != b.WindowStart {
			return int(a.WindowStart - b.WindowStart)
		}
		return strings.Compare(a.Net, b.Net)
	})
	if !sorted {
		t.Error("the windows are not in order")
	}
}

// One date in the future closes no windows, near as it may be to the clock.
func TestAFutureDateClosesNoWindows(t *testing.T) {
	lines := strings.SplitAfter(readFile(t, realData), "\n")
	for _, c := range []struct{ year, line int }{{2018, 100}, {2025, 100}, {2999, 100}, {2018, 0}, {2999, 0}} {
		future := time.Date(c.year, 12, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
		wrong := fmt.Sprintf(`{"net":"xx","time":%d,"mag":1,"depth":1}`+"\n", future)
		dir := t.TempDir()
		in := filepath.Join(dir, "in")
		text := strings.Join(slices.Insert(slices.Clone(lines), c.line, wrong), "")
		if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, f := quakes(t, dir, in)
		if onTime, late, bad := f.lines(); onTime != 1410 || late != 298 || bad != 0 {
			t.Errorf("with one quake in %d before line %d: %d on time, %d late, %d bad", c.year, c.line+1, onTime, late, bad)
		}
	}
}
