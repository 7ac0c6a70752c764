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

// cli is what the command line can do. Tests replace the benchmarks and the input.
type cli struct {
	benchmarks []benchmark
	in         io.Reader
}

func troupe() *cli { return &cli{benchmarks: benchmarks(), in: os.Stdin} }

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// verbError is a mistake in the command line of a verb, with how it is to be used.
type verbError struct{ text, usage string }

func (e verbError) Error() string { return e.text }

const usage = `troupe is the command line of Troupe.

  troupe bench pipeline [-json]     a topology in memory, beside plain loops and channels
  troupe bench log [-json]          append and replay, beside raw writes to a file
  troupe bench checkpoint [-json]   checkpoints of a million keys
  troupe bench keys [-json]         a slow handler, serially and with a worker for each key

  troupe topic create|list|describe|alter|delete|purge|produce|consume
  troupe group list|describe|reset|rewind|delete|park
  troupe exchange declare|list|describe|delete|bind|unbind|bindings|publish
  troupe queue declare|list|describe|alter|delete|publish|get|peek|purge|pause|resume|move|replay
  troupe queue dlq list|redrive
      topics, consumer groups, exchanges and queues of a data directory; add -h for more

  troupe help                       this text

Exit status: 0 all is well, 1 it failed, 2 the command line is wrong.
`

// run runs a command line and returns its exit status.
func (c *cli) run(ctx context.Context, args []string, out, errs io.Writer) int {
	err := c.dispatch(ctx, args, out, errs)
	var wrong usageError
	var verb verbError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &wrong):
		fmt.Fprintf(errs, "troupe: %v\n\n%s", err, usage)
		return statusUsage
	case errors.As(err, &verb):
		fmt.Fprintf(errs, "troupe: %v\n\n%s", err, verb.usage)
		return statusUsage
	default:
		fmt.Fprintf(errs, "troupe: %v\n", err)
		return statusFailed
	}
}

func (c *cli) dispatch(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) == 0 {
		return usageError{"which command?"}
	}
	switch args[0] {
	case "bench":
		return c.bench(ctx, args[1:], out)
	case "help", "-h", "-help", "--help":
		return help(out)
	case "topic", "group", "exchange", "queue":
		return c.family(ctx, args, out, errs)
	default:
		return usageError{fmt.Sprintf("there is no command %q", args[0])}
	}
}

func help(out io.Writer) error {
	_, err := io.WriteString(out, usage)
	return err
}
