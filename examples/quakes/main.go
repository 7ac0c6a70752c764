// Quakes is a complete job: event time, windows, late and bad records,
// exactly-once state and files that survive kill -9.
//
//	go run ./examples/quakes
//	go run ./examples/quakes -in all.ndjson -out windows.ndjson -data state
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// checkpointEvery bounds what has to be computed again after a crash.
const checkpointEvery = 200 * time.Millisecond

// maxOutputLine is how long a line of an output can be: a line of the input,
// each of its bytes escaped, and what stands around it.
const maxOutputLine = 6*sources.DefaultMaxLineBytes + 1024

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit status: 0, 1 for a failure, 2 for a mistake in the flags.
func run(args []string, stdout, stderr io.Writer) int {
	s, err := parseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "quakes: %v; quakes -help lists the flags\n", err)
		return 2
	}
	if err := s.compute(stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "quakes:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

func (s *settings) compute(stdout, stderr io.Writer) (err error) {
	defer func() {
		if err != nil && s.temporary != "" {
			os.RemoveAll(s.temporary) // nobody was told of it, and what it holds is not complete
		}
	}()
	if err := s.prepare(); err != nil {
		return err
	}
	opts := []runtime.Option{
		runtime.ExactlyOnce(),
		runtime.CheckpointEvery(checkpointEvery),
		runtime.Parallelism(s.parallelism),
		runtime.Logger(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))),
	}
	if s.data != "" {
		opts = append(opts, runtime.DataDir(s.data))
	}
	report, err := runtime.Run(context.Background(), s.topology(), opts...)
	if err != nil {
		return err
	}
	return s.print(stdout, report)
}

func (s *settings) topology() *topology.Builder {
	return Topology(s.job(), sources.NumberedLines(s.in), Outputs{
		Windows: sinks.JSONLines[Row](s.out),
		Late:    sinks.JSONLines[LateQuake](s.late),
		Bad:     sinks.JSONLines[BadLine](s.bad),
	}, s.window, s.bound)
}

func (s *settings) print(w io.Writer, r runtime.Report) error {
	switch {
	case r.AlreadyFinished:
		fmt.Fprintf(w, "an earlier run with this -data had finished: nothing was left to do\n")
	case r.Resumed != nil:
		fmt.Fprintf(w, "resumed from checkpoint %d, %d lines into the input\n", r.Resumed.Number, r.Resumed.Records)
	}
	lines := int64(0)
	if r.Checkpoint != nil {
		lines = r.Checkpoint.Records
	}
	if r.Stopped {
		if _, err := fmt.Fprintf(w, "stopped %d lines into the input, the files are not complete: %s\n", lines, s.wayOn()); err != nil {
			return err
		}
		return s.printKept(w)
	}
	if err := printTable(w, s, lines); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\nwindows  %s\nlate     %s\nbad      %s\n", s.out, s.late, s.bad); err != nil {
		return err
	}
	return s.printKept(w)
}

// printKept tells of what stays behind that no flag has asked for.
func (s *settings) printKept(w io.Writer) error {
	if s.temporary == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n%s is kept: delete it when you have done with it, or say with -data, -out, -late and -bad where files go\n", s.temporary)
	return err
}

func (s *settings) wayOn() string {
	if s.data == "" {
		return "a run with -data could have been continued"
	}
	return "the same command goes on from here"
}
