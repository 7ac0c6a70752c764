// Wordcount counts the words of its standard input.
//
//	go run ./examples/wordcount <README.md
//
// A stream such as standard input cannot be read twice, so nothing here survives
// a crash: the counts are lost with it, and the input has to be given again.
// Read a file with sources.Lines, and name a data directory, where that matters;
// see examples/quakes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
)

const usage = `wordcount counts the words of its standard input, as in wordcount <README.md

`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run returns the exit status: 0, 1 for a failure, 2 for a mistake in the flags.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	longest, err := parseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "wordcount: %v; wordcount -help lists the flags\n", err)
		return 2
	}
	lines := sources.Reader(stdin, sources.MaxLineBytes(longest))
	report, err := runtime.Run(context.Background(), Topology(lines, sinks.Writer(stdout)))
	if err != nil {
		fmt.Fprintln(stderr, "wordcount:", strings.ReplaceAll(err.Error(), "\n", "; "))
		if errors.Is(err, sources.ErrTooLong) {
			fmt.Fprintln(stderr, "wordcount: the flag -max-line raises the limit, as in -max-line 10000000")
		}
		return 1
	}
	if report.Stopped {
		fmt.Fprintln(stderr, "wordcount: stopped before the end of the input, so there are no totals")
	}
	return 0
}

// parseFlags returns how long a line may be, in bytes.
func parseFlags(args []string, help io.Writer) (longest int, err error) {
	f := flag.NewFlagSet("wordcount", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&longest, "max-line", sources.DefaultMaxLineBytes, "how long a line may be, in `bytes`")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(help, usage)
			f.SetOutput(help)
			f.PrintDefaults()
		}
		return 0, err
	}
	switch {
	case f.NArg() > 0:
		return 0, fmt.Errorf("%q is one argument too many: it reads standard input, as in wordcount <README.md", f.Arg(0))
	case longest < 1:
		return 0, fmt.Errorf("-max-line is %d: it must be at least 1", longest)
	}
	return longest, nil
}
