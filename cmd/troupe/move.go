package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"github.com/troupestream/troupe/actor"
)

func moveVerbs() []*verb {
	return []*verb{
		{name: "group reset", args: "GROUP", takes: 1, about: "move the offsets of a group that has no members",
			define: func(f *flag.FlagSet) action { return defineMove(f, (*actor.Group).Reset) }},
		{name: "group rewind", args: "GROUP", takes: 1, about: "move the offsets of a group, whether or not it has members",
			define: func(f *flag.FlagSet) action { return defineMove(f, (*actor.Group).Rewind) }},
	}
}

// planJSON is what a move does, or would do.
type planJSON struct {
	Group   string       `json:"group"`
	DryRun  bool         `json:"dry_run"`
	Again   uint64       `json:"again"`   // records that will be delivered again
	Skipped uint64       `json:"skipped"` // records that will not be delivered
	Changes []changeJSON `json:"changes"`
}

type changeJSON struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Committed bool   `json:"committed"` // something was
	OldOffset uint64 `json:"old_offset"`
	NewOffset uint64 `json:"new_offset"`
	Records   int64  `json:"records"` // negative: to be delivered again
	Owner     string `json:"owner,omitempty"`
}

// targets are topics and partitions, as "orders" or "orders:0,3".
type targets struct{ o actor.MoveOptions }

// String implements flag.Value.
func (t *targets) String() string { return "" }

// Set implements flag.Value.
func (t *targets) Set(text string) error {
	topic, list, some := strings.Cut(text, ":")
	if !some {
		t.o.Topics = append(t.o.Topics, topic)
		return nil
	}
	var n numbers
	if err := n.Set(list); err != nil {
		return err
	}
	for _, i := range n {
		t.o.Partitions = append(t.o.Partitions, actor.TopicPartition{Topic: topic, Partition: i})
	}
	return nil
}

func defineMove(f *flag.FlagSet, move func(*actor.Group, context.Context, actor.Move, actor.MoveOptions) (actor.OffsetPlan, error)) action {
	var to place
	var of targets
	f.Var(&to, "to", "the `place` to move to: "+placeForms+", or a shift (-100, +100)")
	f.Var(&of, "topic", "only this `topic`, or these partitions of it: orders, orders:0,3; may be given again")
	dry := f.Bool("dry-run", false, "change nothing, and say what would change")
	return func(ctx context.Context, s *session) error {
		if to.text == "" {
			return mistakef("where to? Say -to")
		}
		g, err := s.sys.FindGroup(ctx, s.args[0])
		if err != nil {
			return err
		}
		of.o.DryRun = *dry
		plan, err := move(g, ctx, to.move(), of.o)
		if err != nil {
			return err
		}
		return s.showPlan(plan, *dry)
	}
}

func (s *session) showPlan(plan actor.OffsetPlan, dry bool) error {
	v := planJSON{Group: s.args[0], DryRun: dry, Again: plan.Again, Skipped: plan.Skipped, Changes: []changeJSON{}}
	rows := [][]string{row("TOPIC", "PARTITION", "FROM", "TO", "RECORDS")}
	for _, c := range plan.Changes {
		v.Changes = append(v.Changes, changeJSON{c.Topic, c.Partition, c.Committed, c.Old, c.New, c.Records, c.Owner})
		from := "-"
		if c.Committed {
			from = strconv.FormatUint(c.Old, 10)
		}
		rows = append(rows, row(c.Topic, c.Partition, from, c.New, fmt.Sprintf("%+d", c.Records)))
	}
	if s.json {
		return s.printJSON(v)
	}
	if err := table(s.out, rows...); err != nil {
		return err
	}
	what := "to be delivered again: %s; passed over: %s\n"
	if dry {
		what = "nothing was changed; " + what
	}
	_, err := fmt.Fprintf(s.out, what, count(plan.Again), count(plan.Skipped))
	return err
}
