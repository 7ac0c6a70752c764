// Command troupe is the command line of Troupe.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit statuses.
const (
	statusOK     = 0
	statusFailed = 1
	statusUsage  = 2
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	os.Exit(troupe().run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// cli is what the command line can do. Tests replace the benchmarks.
type cli struct{ benchmarks []benchmark }

func troupe() *cli { return &cli{benchmarks: benchmarks()} }

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

const usage = `troupe is the command line of Troupe.

  troupe bench pipeline [-json]     a topology in memory, beside plain loops and channels
  troupe bench log [-json]          append and replay, beside raw writes to a file
  troupe bench checkpoint [-json]   checkpoints of a million keys
  troupe bench keys [-json]         a slow handler, serially and with a worker for each key
  troupe help                       this text

Exit status: 0 all is well, 1 it failed, 2 the command line is wrong.
`

// run runs a command line and returns its exit status.
func (c *cli) run(ctx context.Context, args []string, out, errs io.Writer) int {
	err := c.dispatch(ctx, args, out)
	var wrong usageError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &wrong):
		fmt.Fprintf(errs, "troupe: %v\n\n%s", err, usage)
		return statusUsage
	default:
		fmt.Fprintf(errs, "troupe: %v\n", err)
		return statusFailed
	}
}

func (c *cli) dispatch(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return usageError{"which command?"}
	}
	switch args[0] {
	case "bench":
		return c.bench(ctx, args[1:], out)
	case "help", "-h", "-help", "--help":
		return help(out)
	default:
		return usageError{fmt.Sprintf("there is no command %q", args[0])}
	}
}

func help(out io.Writer) error {
	_, err := io.WriteString(out, usage)
	return err
}
