package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"time"
)

// week is the data that is read when no other is named.
//
//go:embed testdata/quakes.ndjson
var week []byte

const usage = `quakes sums earthquakes up by network and window of event time.

It reads a file with one earthquake a line as JSON, in whatever order they were
reported, and writes three files of JSON lines: a row for every network and
window, the lines that came too late for their window, and the bad lines with
what is wrong with them.

With -data, a run that was ended at any moment, by kill -9 too, is continued
by running the same command again, also at another parallelism: the files end
up as if nothing had happened. With another -in, -out, -late, -bad, -window or
-bound the same directory begins anew.

`

// settings are what the flags say. Paths are absolute.
type settings struct {
	in, out, late, bad string
	data               string // "" for a temporary directory
	window, bound      time.Duration
	parallelism        int
	temporary          string // directory that was made for what no flag names; "" if there is none
	turn               int    // see takeTurn
}

func parseFlags(args []string, help io.Writer) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("quakes", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&s.in, "in", "", "`file` to read (default: a week of real earthquakes)")
	f.StringVar(&s.out, "out", "", "`file` for the windows (default: windows.ndjson in the -data directory, or else in a new temporary one, which stays)")
	f.StringVar(&s.late, "late", "", "`file` for late lines (default: late.ndjson, as with -out)")
	f.StringVar(&s.bad, "bad", "", "`file` for bad lines (default: bad.ndjson, as with -out)")
	f.StringVar(&s.data, "data", "", "`directory` of checkpoints, made if need be (default: a temporary one, removed at the end, so that nothing is resumed)")
	f.DurationVar(&s.window, "window", 6*time.Hour, "size of the windows")
	f.DurationVar(&s.bound, "bound", 24*time.Hour, "how far a quake may be behind the newest one and still be in time")
	f.IntVar(&s.parallelism, "parallelism", goruntime.GOMAXPROCS(0), "`tasks` that compute windows, 1 to 128")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(help, usage)
			f.SetOutput(help)
			f.PrintDefaults()
		}
		return nil, err
	}
	return s, s.check(f.Args())
}

func (s *settings) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is not a flag", rest[0])
	case s.window < time.Millisecond || s.window%time.Millisecond != 0:
		return fmt.Errorf("-window is %v: it must be one or more whole milliseconds, as in 6h", s.window)
	case s.bound < 0:
		return fmt.Errorf("-bound is %v: it cannot be negative", s.bound)
	case s.parallelism < 1 || s.parallelism > 128:
		return fmt.Errorf("-parallelism is %d: it must be 1 to 128", s.parallelism)
	}
	return nil
}

// prepare finds a place for what no flag has named, and checks the input.
func (s *settings) prepare() error {
	if err := s.makePaths(); err != nil {
		return err
	}
	input, err := os.Stat(s.in)
	if err != nil {
		return fmt.Errorf("-in %s cannot be read, name a file with a JSON object a line: %w", s.in, errors.Unwrap(err))
	}
	if !input.Mode().IsRegular() {
		return fmt.Errorf("-in %s is not a file, name one with a JSON object a line", s.in)
	}
	if err := s.checkOutputs(input); err != nil {
		return err
	}
	return s.takeTurn()
}

// checkOutputs sees to it that nothing is written over the input, or over
// another output.
func (s *settings) checkOutputs(input os.FileInfo) error {
	flags := map[string]string{}
	for _, o := range []struct{ flag, path string }{{"-out", s.out}, {"-late", s.late}, {"-bad", s.bad}} {
		if output, err := os.Stat(o.path); err == nil && os.SameFile(input, output) {
			return fmt.Errorf("%s is to be read and written, give the output another name", o.path)
		}
		if other := flags[o.path]; other != "" {
			return fmt.Errorf("%s and %s are both %s, give each output a name of its own", other, o.flag, o.path)
		}
		flags[o.path] = o.flag
	}
	return nil
}

func (s *settings) makePaths() error {
	own := s.in == "" || s.out == "" || s.late == "" || s.bad == ""
	dir, err := s.data, error(nil)
	switch {
	case own && s.data == "":
		dir, err = os.MkdirTemp("", "quakes-")
		s.temporary = dir
	case own:
		err = os.MkdirAll(s.data, 0o700)
	}
	if err != nil {
		return fmt.Errorf("there is no directory for the results, name one with -data, or a place where one can be made: %w", err)
	}
	if s.in == "" {
		s.in = filepath.Join(dir, "quakes.ndjson")
		if err := writeWeek(s.in); err != nil {
			return err
		}
	}
	for path, name := range map[*string]string{&s.out: "windows", &s.late: "late", &s.bad: "bad"} {
		if *path == "" {
			*path = filepath.Join(dir, name+".ndjson")
		}
	}
	for _, path := range []*string{&s.in, &s.out, &s.late, &s.bad} {
		if *path, err = filepath.Abs(*path); err != nil {
			return fmt.Errorf("make %s absolute: %w", *path, err)
		}
	}
	return nil
}

// writeWeek puts the built-in data where it can be read like any other, at once
// and whole.
func writeWeek(path string) error {
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, week) {
		return nil
	}
	if err := replace(path, week); err != nil {
		return fmt.Errorf("the built-in data cannot be unpacked, free the place or name a file with -in: %w", err)
	}
	return nil
}

// replace gives a file other contents, at once and whole.
func replace(path string, contents []byte) error {
	if err := os.WriteFile(path+".tmp", contents, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// fingerprint stands for everything that the results depend on.
func (s *settings) fingerprint() string {
	all := strings.Join([]string{s.in, s.out, s.late, s.bad, s.window.String(), s.bound.String()}, "\x00")
	return fmt.Sprintf("%x", sha256.Sum256([]byte(all)))[:12]
}

// job names the job: checkpoints are kept by this name, and a run never
// continues from those of another.
func (s *settings) job() string { return fmt.Sprintf("quakes-%s-%d", s.fingerprint(), s.turn) }

// takeTurn counts how often the -data directory has gone from one set of
// settings to another. Runs with other settings write over the same files, and
// checkpoints from before such a turn know nothing of what the files hold since.
// A directory that is not there yet, or is none, is left to the job to judge.
func (s *settings) takeTurn() error {
	if info, err := os.Stat(s.data); err != nil || !info.IsDir() {
		return nil
	}
	path := filepath.Join(s.data, "turn")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		text, err = fmt.Appendf(nil, "0 %s\n", s.fingerprint()), nil
	}
	var last string
	if err == nil {
		_, err = fmt.Sscanf(string(text), "%d %s\n", &s.turn, &last)
	}
	if err != nil {
		return fmt.Errorf("%s does not tell who used the directory last, choose another with -data: %w", path, err)
	}
	if last != s.fingerprint() {
		s.turn++
	}
	if err := replace(path, fmt.Appendf(nil, "%d %s\n", s.turn, s.fingerprint())); err != nil {
		return fmt.Errorf("the -data directory cannot be written, choose another: %w", err)
	}
	return nil
}
