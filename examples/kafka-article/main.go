// Kafka-article is the Kafka half of a much-copied comparison of message queues,
// without Kafka: a producer, two consumer groups, and one topic of two partitions.
//
//	go run ./examples/kafka-article
//	go run ./examples/kafka-article -data orders.d
//
// With -data, what was published and how far the groups have come stays: a second
// run publishes the same again, at the next offsets, and each group sees only what
// is new to it.
//
// Such articles like to say a few things that are not so. What holds here, and what
// this program shows:
//
//   - Where a key goes follows from its hash, murmur2 as in Kafka, and need not look
//     well spread. ord_123 and ord_124 share partition 1 of 2; there is no small
//     number of partitions by which they come to lie in 0 and 1.
//   - Records without a key alternate over the partitions because the producer asks
//     for that (topics.RoundRobin). By default they come in runs, a batch to a
//     partition, as in newer Kafkas, because that makes larger batches.
//   - A commit in an interval is safe only if it stops at the first record that is
//     still in somebody's hands. Here it does; what a client has merely fetched is
//     not committed.
//   - A handler that has done its work, and a process that dies before the commit:
//     the work is done again. Once per record is what its owner sees, not the world.
//   - A publish has succeeded when the record is on disk, and not before: Flush and
//     each record's future say so. A program that ends without them has promised
//     nothing.
//   - "From the beginning" is for a group that has committed nothing. Others go on
//     where they were.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/troupestream/troupe/runtime"
)

const usage = `kafka-article publishes ten orders to a topic of two partitions, and has two
consumer groups read them.

`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit status: 0, 1 for a failure, 2 for a mistake in the flags.
func run(args []string, stdout, stderr io.Writer) int {
	data, err := parseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "kafka-article: %v; kafka-article -help lists the flags\n", err)
		return 2
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := tell(ctx, data, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "kafka-article:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// parseFlags returns the data directory; "" for a temporary one.
func parseFlags(args []string, help io.Writer) (data string, err error) {
	f := flag.NewFlagSet("kafka-article", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&data, "data", "", "`directory` of the topic and the groups, made if need be (default: a temporary one, removed at the end)")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(help, usage)
			f.SetOutput(help)
			f.PrintDefaults()
		}
		return "", err
	}
	if f.NArg() > 0 {
		return "", fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	return data, nil
}

func tell(ctx context.Context, data string, stdout, stderr io.Writer) (err error) {
	opts := []runtime.Option{runtime.Logger(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))}
	if data != "" {
		opts = append(opts, runtime.DataDir(data))
	}
	engine, err := runtime.Open(ctx, opts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close(context.WithoutCancel(ctx))) }()
	return story(ctx, engine, stdout)
}
