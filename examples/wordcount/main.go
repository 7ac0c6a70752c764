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
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	if len(args) > 0 {
		fmt.Fprintf(stderr, "wordcount: %q is one argument too many: it reads standard input, as in wordcount <README.md\n", args[0])
		return 2
	}
	report, err := runtime.Run(context.Background(), Topology(sources.Reader(stdin), sinks.Writer(stdout)))
	if err != nil {
		fmt.Fprintln(stderr, "wordcount:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	if report.Stopped {
		fmt.Fprintln(stderr, "wordcount: stopped before the end of the input, so there are no totals")
	}
	return 0
}
