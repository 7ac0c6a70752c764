// Orders is a company in one process: an event bus with jobs that compute from it, a
// consumer group, an exchange, queues, and workers that compete for tasks, fail, try
// again and give up.
//
//	go run ./examples/orders
//	go run ./examples/orders -n 100000 -data orders.d
//	go run ./examples/orders -graph
//
// Kill it, with -9, and run it again with the same -data: it goes on, and in the end it
// adds up.
package main

import (
	"context"
	"encoding/json"
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

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit status: 0, 1 for a failure, 2 for a mistake in the flags.
func run(args []string, stdout, stderr io.Writer) int {
	s, err := parseFlags(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "orders: %v; orders -help lists the flags\n", err)
		return 2
	case s.graph:
		fmt.Fprint(stdout, graph())
		return 0
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	switch err := s.work(ctx, stdout, stderr); {
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(stdout, "stopped before the end:", s.wayOn())
	case err != nil:
		fmt.Fprintln(stderr, "orders:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

func (s *settings) wayOn() string {
	if s.data == "" {
		return "a run with -data could have been continued"
	}
	return "the same command goes on from here"
}

// work makes the directories, and leaves of a temporary one the results of a run that has
// come to its end.
func (s *settings) work(ctx context.Context, stdout, stderr io.Writer) (err error) {
	if s.data != "" {
		return s.deal(ctx, stdout, stderr)
	}
	in := *s
	if in.data, err = os.MkdirTemp("", "orders-"); err != nil {
		return fmt.Errorf("a temporary directory cannot be made, name one with -data: %w", err)
	}
	if err := in.deal(ctx, stdout, stderr); err != nil {
		return errors.Join(err, os.RemoveAll(in.data))
	}
	return os.RemoveAll(in.store())
}

// deal runs the company to its end.
func (s *settings) deal(ctx context.Context, stdout, stderr io.Writer) (err error) {
	if err := s.prepare(); err != nil {
		return err
	}
	// Mails that fail and orders that cannot be printed are what this company is for: the
	// log, which would warn of them, tells of worse.
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	engine, err := runtime.Open(ctx, runtime.DataDir(s.store()), runtime.Logger(log))
	if err != nil {
		return err
	}
	closing := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, engine.Close(closing)) }()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	c := &company{shop: s.shop, results: s.results(), engine: engine, fail: fail}
	defer func() { err = errors.Join(err, c.close(closing)) }()
	if err := c.open(ctx); err != nil {
		return err
	}
	sold := make(chan struct{})
	go func() {
		defer close(sold)
		if err := s.shop.publish(ctx, engine, s.rate); err != nil {
			fail(err)
		}
	}()
	err = c.await(ctx, stdout)
	fail(nil)
	<-sold
	if err != nil {
		return err
	}
	return s.tell(closing, c, stdout)
}

// tell sums up.
func (s *settings) tell(ctx context.Context, c *company, stdout io.Writer) error {
	summary, err := c.sumUp(ctx)
	if err == nil {
		err = summary.check(s.shop.orders)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout)
	summary.print(stdout)
	fmt.Fprintf(stdout, "\nresults   %s\n", s.results())
	if !s.json {
		return nil
	}
	return json.NewEncoder(stdout).Encode(summary)
}
