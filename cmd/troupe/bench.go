package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/troupestream/troupe/benchmarks/keys"
	"github.com/troupestream/troupe/benchmarks/measure"
	"github.com/troupestream/troupe/benchmarks/pipeline"
	"github.com/troupestream/troupe/benchmarks/state"
	"github.com/troupestream/troupe/benchmarks/wal"
)

// benchmark is what `troupe bench` can run under a name.
type benchmark struct {
	name string
	run  func(context.Context) ([]measure.Result, error)
}

func benchmarks() []benchmark {
	return []benchmark{{"pipeline", pipeline.Bench}, {"log", wal.Bench}, {"checkpoint", state.Bench}, {"keys", keys.Bench}}
}

func (c *cli) bench(ctx context.Context, args []string, out io.Writer) error {
	b, asJSON, err := c.parseBench(args)
	if errors.Is(err, flag.ErrHelp) {
		return help(out)
	}
	if err != nil {
		return err
	}
	// Only what went wrong belongs between the figures.
	slog.SetLogLoggerLevel(slog.LevelWarn)
	results, err := b.run(ctx)
	if err != nil {
		return fmt.Errorf("bench %s: %w", b.name, err)
	}
	if asJSON {
		return measure.WriteJSON(out, results)
	}
	return measure.WriteTable(out, results)
}

// parseBench reads the arguments; flags may stand before the name or behind it.
func (c *cli) parseBench(args []string) (b benchmark, asJSON bool, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&asJSON, "json", false, "")
	var names []string
	for rest := args; len(rest) > 0; {
		if err := f.Parse(rest); errors.Is(err, flag.ErrHelp) {
			return b, false, err
		} else if err != nil {
			return b, false, usageError{"bench: " + err.Error()}
		}
		if rest = f.Args(); len(rest) > 0 {
			names, rest = append(names, rest[0]), rest[1:]
		}
	}
	switch len(names) {
	case 0:
		return b, false, usageError{"bench: which one? There are " + c.names()}
	case 1:
	default:
		return b, false, usageError{fmt.Sprintf("bench %s takes no argument %q", names[0], names[1])}
	}
	for _, b := range c.benchmarks {
		if b.name == names[0] {
			return b, asJSON, nil
		}
	}
	return b, false, usageError{fmt.Sprintf("there is no benchmark %q: there are %s", names[0], c.names())}
}

// names lists the benchmarks.
func (c *cli) names() string {
	all := make([]string, len(c.benchmarks))
	for i, b := range c.benchmarks {
		all[i] = b.name
	}
	return strings.Join(all, ", ")
}
