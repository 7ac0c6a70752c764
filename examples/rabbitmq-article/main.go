// Rabbitmq-article is the RabbitMQ half of a much-copied comparison of message queues,
// without RabbitMQ: an exchange, a queue, a publisher and a consumer, what happens when
// the consumer dies, and the four types of exchanges.
//
//	go run ./examples/rabbitmq-article
//	go run ./examples/rabbitmq-article -data orders.d
//
// With -data, exchanges, queues and messages stay: a message that a run has not
// acknowledged is there in the next one.
//
// Such articles like to say a few things that are not so. What holds here, and what this
// program shows:
//
//   - The article publishes before it declares a queue. With RabbitMQ that message is gone
//     and nobody is told, because mandatory is off by default. Here a message that no queue
//     takes is an error.
//   - "Message published" there means that it was written to a socket. Here it is on the
//     disk of every queue that it is for when Publish is confirmed, and the confirmation
//     says how many they are. delivery_mode=2 is the default.
//   - What is acknowledged there is gone. Here it is gone from the queue, and stays in the
//     log of the exchange for as long as that is kept, so that it can be replayed.
//   - Without an acknowledgement another consumer gets the message: at least once. It is
//     flagged. Only handlers that have failed, or died with it, count as attempts.
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

const usage = `rabbitmq-article publishes orders to an exchange, and has the consumers of a queue
work on them; then it shows where each type of exchange routes messages.

`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit status: 0, 1 for a failure, 2 for a mistake in the flags.
func run(args []string, stdout, stderr io.Writer) int {
	data, err := parseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "rabbitmq-article: %v; rabbitmq-article -help lists the flags\n", err)
		return 2
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := tell(ctx, data, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "rabbitmq-article:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// parseFlags returns the data directory; "" for a temporary one.
func parseFlags(args []string, help io.Writer) (data string, err error) {
	f := flag.NewFlagSet("rabbitmq-article", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&data, "data", "", "`directory` of exchanges and queues, made if need be (default: a temporary one, removed at the end)")
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
