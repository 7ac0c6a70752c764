// Command kafka measures Troupe beside Apache Kafka and bare NATS JetStream, in one
// run and in turns: producing, consuming, both at once, and how long an
// acknowledgement takes. README.md says what is compared, and how.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

func run() error {
	var (
		libs   = flag.String("libs", "libs", "directory with the broker's jars: mvn dependency:copy-dependencies -DoutputDirectory=libs")
		only   = flag.String("peers", "troupe,kafka,jetstream", "which peers")
		scale  = flag.Float64("scale", 1, "share of the records: 1 is two million of 100 bytes")
		rounds = flag.Int("rounds", 3, "rounds of which the median is reported")
		cells  = flag.String("cells", "", "only cells whose name contains this, for example \"fsync 100 B x 1\"")
		asJSON = flag.Bool("json", false, "print JSON")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "troupe-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	peers, closeAll, err := open(ctx, dir, *libs, strings.Split(*only, ","))
	defer closeAll()
	if err != nil {
		return err
	}
	results, err := measureAll(ctx, peers, plan{scale: *scale, rounds: *rounds, cells: *cells, log: os.Stderr})
	if err != nil {
		return err
	}
	return write(os.Stdout, results, *asJSON)
}

func open(ctx context.Context, dir, libs string, names []string) (peers []peer, closeAll func(), err error) {
	closeAll = func() {
		for _, p := range peers {
			p.close()
		}
	}
	for _, name := range names {
		var p peer
		switch name {
		case "troupe":
			p, err = openTroupe(ctx, dir)
		case "kafka":
			p, err = openKafka(ctx, dir, libs)
		case "jetstream":
			p, err = openJetStream(dir)
		default:
			err = fmt.Errorf("there is no peer %q", name)
		}
		if err != nil {
			return peers, closeAll, fmt.Errorf("%s: %w", name, err)
		}
		peers = append(peers, p)
	}
	return peers, closeAll, nil
}
