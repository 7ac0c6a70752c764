package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/troupestream/troupe/runtime"
)

// Every mistake is told in one line that names what is wrong and the way out.
func TestMistakes(t *testing.T) {
	for _, test := range []struct {
		name   string
		args   []string // DIR stands for the directory of the test
		before func(t *testing.T, dir string)
		status int
		want   string
	}{
		{"unknown flag", []string{"-wndow", "1h"}, nil, 2, "flag provided but not defined: -wndow; quakes -help lists the flags"},
		{"no duration", []string{"-window", "6"}, nil, 2,
			`invalid value "6" for flag -window: parse error; quakes -help lists the flags`},
		{"no window", []string{"-window", "0s"}, nil, 2,
			"-window is 0s: it must be one or more whole milliseconds, as in 6h; quakes -help lists the flags"},
		{"negative bound", []string{"-bound", "-1h"}, nil, 2, "-bound is -1h0m0s: it cannot be negative; quakes -help lists the flags"},
		{"no tasks", []string{"-parallelism", "0"}, nil, 2, "-parallelism is 0: it must be 1 to 128; quakes -help lists the flags"},
		{"no flag", []string{"in.ndjson"}, nil, 2, `"in.ndjson" is not a flag; quakes -help lists the flags`},
		{"missing input", []string{"-in", "DIR/none"}, nil, 1,
			"-in DIR/none cannot be read, name a file with a JSON object a line: no such file or directory"},
		{"input is a directory", []string{"-in", "DIR"}, nil, 1, "-in DIR is not a file, name one with a JSON object a line"},
		{"output is the input", []string{"-in", "DIR/in", "-out", "DIR/in"}, writes("in", "{}\n"), 1,
			"DIR/in is to be read and written, give the output another name"},
		{"outputs are one", []string{"-out", "DIR/x", "-late", "DIR/x"}, nil, 1,
			`-out and -late are both DIR/x, give each output a name of its own`},
		{"no directory for an output", []string{"-out", "DIR/none/w"}, nil, 1,
			`sink "windows": DIR/none/w cannot be created because its directory does not exist; create DIR/none first: file does not exist`},
		{"parent of data is a file", []string{"-data", "DIR/file/data"}, writes("file", ""), 1,
			"create data directory DIR/file/data: mkdir DIR/file: not a directory; name a place where one can be made"},
		{"data is a file", []string{"-data", "DIR/file"}, writes("file", ""), 1,
			"open data directory DIR/file: it is not a directory: name one, or a place where one can be made"},
		{"data is a device", []string{"-data", os.DevNull}, nil, 1,
			"open data directory " + os.DevNull + ": it is not a directory: name one, or a place where one can be made"},
		{"data is a device, and there is no other place", []string{"-data", os.DevNull, "-out", ""}, nil, 1,
			"there is no directory for the results, name one with -data, or a place where one can be made: mkdir " + os.DevNull + ": not a directory"},
		{"data of a newer version", nil, writes("data/troupe.json", `{"format":99}`), 1,
			"the data directory has a newer format: DIR/data has format 99, this release knows up to 1; use a newer release"},
		{"data in use", nil, uses, 1,
			"the data directory is in use: DIR/data is held by process PID; stop that process or choose another directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if test.before != nil {
				test.before(t, dir)
			}
			args := flags(dir, realData)
			for _, a := range test.args {
				args = append(args, strings.ReplaceAll(a, "DIR", dir))
			}
			var stdout, stderr bytes.Buffer
			status := run(args, &stdout, &stderr)
			got := strings.ReplaceAll(stderr.String(), dir, "DIR")
			want := strings.ReplaceAll("quakes: "+test.want+"\n", "PID", pid)
			if status != test.status || got != want || stdout.Len() > 0 {
				t.Errorf("status %d, want %d\n got %s\nwant %s", status, test.status, got, want)
			}
		})
	}
}

// A run that fails leaves nothing behind in the directory for temporary files.
func TestAMistakeLeavesNothingBehind(t *testing.T) {
	for name, args := range map[string][]string{
		"missing input":              {"-in", "DIR/none"},
		"no directory for an output": {"-out", "DIR/none/w"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "DIR", dir)
			}
			if status := run(args, io.Discard, io.Discard); status != 1 {
				t.Errorf("status %d", status)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
		})
	}
}

func writes(name, content string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

var pid = strconv.Itoa(os.Getpid())

func uses(t *testing.T, dir string) {
	e, err := runtime.Open(t.Context(), runtime.DataDir(filepath.Join(dir, "data")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// An unwritable directory, which the superuser does not know, is told apart
// from a missing one.
func TestUnwritable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("the superuser may write everywhere")
	}
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	status := run(flags(dir, realData, "-out", filepath.Join(locked, "w")), &stdout, &stderr)
	if status != 1 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), "permission denied") {
		t.Errorf("status %d: %s", status, &stderr)
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if status := run([]string{"-help"}, &stdout, &stderr); status != 0 || stderr.Len() > 0 {
		t.Errorf("status %d: %s", status, &stderr)
	}
	for _, flag := range []string{"in", "out", "late", "bad", "window", "bound", "data", "parallelism"} {
		if !strings.Contains(stdout.String(), "\n  -"+flag+" ") {
			t.Errorf("-%s is not explained", flag)
		}
	}
}

// Without a flag the data is the built-in week, and results go to a directory
// that is nobody else's; with -data they go there.
func TestDefaults(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var stdout, stderr bytes.Buffer
	if status := run(nil, &stdout, &stderr); status != 0 || stderr.Len() > 0 {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	left, err := filepath.Glob(filepath.Join(temp, "quakes-*", "*.ndjson"))
	if err != nil || len(left) != 4 || !strings.Contains(stdout.String(), filepath.Dir(left[0])) {
		t.Errorf("%v %v\n%s", left, err, &stdout)
	}
	golden(t, "windows.golden.ndjson", readFile(t, filepath.Join(filepath.Dir(left[0]), "windows.ndjson")))
	if told := filepath.Dir(left[0]) + " is kept: delete it"; !strings.Contains(stdout.String(), told) {
		t.Errorf("nobody is told that a directory stays:\n%s", &stdout)
	}

	data := filepath.Join(temp, "new", "data")
	for _, want := range []string{"1707 lines: ", "an earlier run with this -data had finished"} {
		stdout.Reset()
		if status := run([]string{"-data", data}, &stdout, &stderr); status != 0 || !strings.HasPrefix(stdout.String(), want) {
			t.Errorf("status %d: %s%s", status, &stdout, &stderr)
		}
	}
	// Other flags are another job, and not the continuation of this one; nor is
	// there anything to continue once they have written over its files.
	for _, window := range []string{"24h", "6h", "24h"} {
		stdout.Reset()
		status := run([]string{"-data", data, "-window", window}, &stdout, &stderr)
		if status != 0 || !strings.HasPrefix(stdout.String(), "1707 lines: ") {
			t.Errorf("status %d: %s%s", status, &stdout, &stderr)
		}
		if window == "6h" {
			golden(t, "windows.golden.ndjson", readFile(t, filepath.Join(data, "windows.ndjson")))
		}
	}
}
