// Command rabbitmq measures Troupe's queues beside RabbitMQ's, in one run and in turns:
// messages end to end, how long one takes, topic bindings, a backlog, and many queues.
// README.md says what is compared, and how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

var errInterrupted = errors.New("interrupted")

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "rabbitmq:", err)
		os.Exit(1)
	}
}

func run() error {
	var (
		root   = flag.String("root", "/", "directory that the Debian packages are installed or unpacked in")
		data   = flag.String("dir", "", "directory for the data of all peers; without it, one for temporary files")
		only   = flag.String("peers", strings.Join(peerNames, ","), "which peers")
		p      = plan{log: os.Stderr}
		asJSON = flag.Bool("json", false, "print JSON")
	)
	flag.Float64Var(&p.scale, "scale", 1, "share of the messages: 1 is a backlog of five million")
	flag.IntVar(&p.rounds, "rounds", 3, "rounds of which the median is reported")
	flag.IntVar(&p.window, "window", 1000, "messages that a publisher may have unconfirmed")
	flag.StringVar(&p.cells, "cells", "", "only cells whose name contains this, for example \"queue 100 B\"")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp(*data, "troupe-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	peers, closeAll, err := openAll(ctx, place{dir: dir, root: *root}, strings.Split(*only, ","))
	defer closeAll()
	if err != nil {
		return err
	}
	p.dir = dir
	p.again = func(ctx context.Context, name string) (peer, func(), error) {
		dir, err := os.MkdirTemp(dir, "again-")
		if err != nil {
			return nil, func() {}, err
		}
		peers, closeAll, err := openAll(ctx, place{dir: dir, root: *root}, []string{name})
		if err != nil {
			return nil, closeAll, err
		}
		return peers[0], closeAll, nil
	}
	results, err := measureAll(ctx, peers, p)
	if ctx.Err() != nil {
		err = errInterrupted
	}
	return errors.Join(err, write(os.Stdout, results, *asJSON)) // what there is, at least
}
