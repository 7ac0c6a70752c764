package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"

	"github.com/troupestream/troupe/actor"
)

func parkVerbs() []*verb {
	return []*verb{
		{name: "group park list", args: "GROUP", takes: 1, about: "list the parked keys of a group", define: listParked},
		{name: "group park release", args: "GROUP", takes: 1, about: "have a parked key replayed", define: func(f *flag.FlagSet) action {
			return changeParked(f, "released", (*actor.Group).Release)
		}},
		{name: "group park skip", args: "GROUP", takes: 1, about: "drop the record that failed, and have the others of its key replayed", define: func(f *flag.FlagSet) action {
			return changeParked(f, "skipped", (*actor.Group).Skip)
		}},
		{name: "group park edit", args: "GROUP", takes: 1, about: "give the record that failed another value, and have its key replayed", define: editParked},
	}
}

// parkedJSON is a parked key.
type parkedJSON struct {
	Topic     string             `json:"topic"`
	Partition int                `json:"partition"`
	Key       *string            `json:"key"` // null: the record has none
	KeyBase64 []byte             `json:"key_base64,omitempty"`
	State     string             `json:"state"` // parked, releasing
	Attempts  int                `json:"attempts"`
	Since     string             `json:"since"`
	Reason    string             `json:"reason"`
	Error     string             `json:"error"`
	Records   []parkedRecordJSON `json:"records"` // by offset; the first is the one that failed
	// Value is that of the first record; null if it is no text, or cannot be read.
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

type parkedRecordJSON struct {
	Offset uint64 `json:"offset"`
	Bytes  int    `json:"bytes"`
	Edited bool   `json:"edited"`
}

func listParked(*flag.FlagSet) action {
	return func(ctx context.Context, s *session) error {
		g, err := s.sys.FindGroup(ctx, s.args[0])
		if err != nil {
			return err
		}
		keys, err := g.Parked(ctx)
		if err != nil {
			return err
		}
		list, rows := []parkedJSON{}, [][]string{row("TOPIC", "PARTITION", "KEY", "OFFSET", "RECORDS", "STATE", "ATTEMPTS", "SINCE", "REASON", "ERROR")}
		for _, k := range keys {
			v := parkedOf(k)
			first := actor.Record{}
			if s.json {
				first, err = g.ParkedRecord(ctx, k, 0)
			}
			if err != nil {
				fmt.Fprintf(s.errs, "troupe: %v\n", err)
			}
			v.Value, v.ValueBase64 = stringOf(first.Value)
			list = append(list, v)
			rows = append(rows, row(v.Topic, v.Partition, keyOf(k), v.Records[0].Offset, len(v.Records), v.State, v.Attempts, v.Since, v.Reason, text([]byte(v.Error))))
		}
		if s.json {
			return s.printJSON(list)
		}
		return table(s.out, rows...)
	}
}

func parkedOf(k actor.ParkedKey) parkedJSON {
	v := parkedJSON{Topic: k.Topic, Partition: k.Partition, State: "parked", Attempts: k.Attempts, Since: clock(k.Since), Reason: k.Reason, Error: k.Error}
	if k.Releasing {
		v.State = "releasing"
	}
	if !k.Keyless {
		v.Key, v.KeyBase64 = stringOf([]byte(k.Key))
	}
	for _, r := range k.Records {
		v.Records = append(v.Records, parkedRecordJSON{r.Offset, r.Bytes, r.Edited})
	}
	return v
}

func keyOf(k actor.ParkedKey) string {
	if k.Keyless {
		return "-"
	}
	return text([]byte(k.Key))
}

// choice says which parked keys are meant.
type choice struct {
	topic     string
	partition numbers
	key       *string
	offset    *uint64
	all       bool
}

func newChoice(f *flag.FlagSet) *choice {
	c := new(choice)
	f.StringVar(&c.topic, "topic", "", "of this `topic`")
	f.Var(&c.partition, "partition", "of this `partition`")
	f.Func("key", "the `key`", func(text string) error {
		c.key = &text
		return nil
	})
	f.Func("offset", "the key whose first record has this `offset`: for records without a key", func(text string) error {
		n, err := strconv.ParseUint(text, 10, 64)
		c.offset = &n
		return err
	})
	f.BoolVar(&c.all, "all", false, "all of them")
	return c
}

// find returns the keys that are meant: one, unless all are.
func (c *choice) find(ctx context.Context, g *actor.Group) (found []actor.ParkedKey, err error) {
	if named := c.key != nil || c.offset != nil; named == c.all {
		return nil, mistakef("which? Say -key, -offset or -all")
	}
	keys, err := g.Parked(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if c.means(k) {
			found = append(found, k)
		}
	}
	switch {
	case len(found) == 0 && !c.all:
		return nil, fmt.Errorf("group %s: %w", g.Name(), actor.ErrNotParked)
	case len(found) > 1 && !c.all:
		return nil, mistakef("there are %d of these: say -topic and -partition, or -all", len(found))
	}
	return found, nil
}

func (c *choice) means(k actor.ParkedKey) bool {
	switch {
	case len(k.Records) == 0 || c.topic != "" && c.topic != k.Topic:
		return false
	case c.key != nil && (k.Keyless || *c.key != k.Key):
		return false
	case c.offset != nil && *c.offset != k.Records[0].Offset:
		return false
	}
	return c.partition == nil || slices.Contains(c.partition, k.Partition)
}

func changeParked(f *flag.FlagSet, done string, change func(*actor.Group, context.Context, actor.ParkedKey) error) action {
	c := newChoice(f)
	return func(ctx context.Context, s *session) error {
		g, err := s.sys.FindGroup(ctx, s.args[0])
		if err != nil {
			return err
		}
		keys, err := c.find(ctx, g)
		if err != nil {
			return err
		}
		list := []parkedJSON{}
		for _, k := range keys {
			if err := change(g, ctx, k); err != nil {
				return err
			}
			list = append(list, parkedOf(k))
		}
		if s.json {
			return s.printJSON(list)
		}
		for _, k := range keys {
			fmt.Fprintf(s.out, "%s: topic %s, partition %d, key %s, offset %d\n", done, k.Topic, k.Partition, keyOf(k), k.Records[0].Offset)
		}
		return nil
	}
}

func editParked(f *flag.FlagSet) action {
	var value []byte
	given := false
	f.Func("value", "the new `value`", func(text string) error {
		value, given = []byte(text), true
		return nil
	})
	tombstone := f.Bool("tombstone", false, "no value")
	change := changeParked(f, "edited", func(g *actor.Group, ctx context.Context, k actor.ParkedKey) error {
		return g.Edit(ctx, k, value)
	})
	return func(ctx context.Context, s *session) error {
		if given == *tombstone {
			return mistakef("what is it to be? Say -value or -tombstone")
		}
		return change(ctx, s)
	}
}
