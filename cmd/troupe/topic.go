package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/troupestream/troupe/actor"
)

func topicVerbs() []*verb {
	return []*verb{
		{name: "topic create", args: "NAME", takes: 1, creates: true, define: createTopic,
			about: "create a topic; one that is the same already is left as it is"},
		{name: "topic list", about: "list the topics", define: listTopics},
		{name: "topic describe", args: "NAME", takes: 1, about: "show settings and partitions of a topic", define: describeTopic},
		{name: "topic alter", args: "NAME", takes: 1, about: "change settings of a topic; what is not named stays", define: alterTopic},
		{name: "topic delete", args: "NAME", takes: 1, about: "delete a topic and its records", define: deleteTopic},
		{name: "topic purge", args: "NAME", takes: 1, about: "drop records of a topic; offsets go on from where they are", define: purgeTopic},
	}
}

func createTopic(f *flag.FlagSet) action {
	o := newSettings(f)
	return func(ctx context.Context, s *session) error {
		var c actor.TopicConfig
		if err := o.apply(&c); err != nil {
			return err
		}
		if err := actor.CheckName(s.args[0]); err != nil {
			return err
		}
		t, err := s.sys.Declare(ctx, s.args[0], c)
		if err != nil {
			return err
		}
		return s.showSettings(t)
	}
}

func alterTopic(f *flag.FlagSet) action {
	o := newSettings(f)
	return func(ctx context.Context, s *session) error {
		if f.NFlag() == 0 {
			return mistakef("alter what? Name a setting")
		}
		var wrong error
		t, err := s.sys.AlterTopic(ctx, s.args[0], func(c *actor.TopicConfig) {
			was := *c
			if wrong = o.apply(c); wrong != nil {
				*c = was
			}
		})
		if wrong != nil {
			return wrong
		}
		if err != nil {
			return err
		}
		return s.showSettings(t)
	}
}

// showSettings prints what a topic is like now.
func (s *session) showSettings(t *actor.Topic) error {
	v := settingsOf(t.Name(), t.Config())
	if s.json {
		return s.printJSON(v)
	}
	return table(s.out, v.rows()...)
}

func listTopics(f *flag.FlagSet) action {
	all := f.Bool("all", false, "also those that Troupe keeps for itself")
	return func(ctx context.Context, s *session) error {
		topics, err := s.sys.Topics(ctx)
		if err != nil {
			return err
		}
		list, rows := []settingsJSON{}, [][]string{row("NAME", "PARTITIONS", "RETENTION", "COMPACTION", "DURABILITY", "COMPRESSION")}
		for _, t := range topics {
			if actor.Internal(t.Name) && !*all {
				continue
			}
			v := settingsOf(t.Name, t.TopicConfig)
			list = append(list, v)
			rows = append(rows, row(t.Name, t.Partitions, t.Retention, t.Compaction, v.Durability, v.Compression))
		}
		if s.json {
			return s.printJSON(list)
		}
		return table(s.out, rows...)
	}
}

// topicJSON is a topic with its partitions.
type topicJSON struct {
	settingsJSON
	Records       uint64          `json:"records"`
	Bytes         uint64          `json:"bytes"`
	PartitionList []partitionJSON `json:"partition_list"`
}

// partitionJSON is a partition.
type partitionJSON struct {
	Partition   int    `json:"partition"`
	FirstOffset uint64 `json:"first_offset"`
	NextOffset  uint64 `json:"next_offset"`
	Records     uint64 `json:"records"` // offsets; fewer records if it is compacted
	Bytes       uint64 `json:"bytes"`
	Oldest      string `json:"oldest,omitempty"` // arrival of the first record there is
	Newest      string `json:"newest,omitempty"`
	CleanOffset uint64 `json:"clean_offset,omitempty"` // compacted in front of this
	CompactedAt string `json:"compacted_at,omitempty"`
}

func describeTopic(*flag.FlagSet) action {
	return func(ctx context.Context, s *session) error {
		t, err := s.sys.Topic(ctx, s.args[0])
		if err != nil {
			return err
		}
		infos, err := t.Describe(ctx)
		if err != nil {
			return err
		}
		v := topicJSON{settingsJSON: settingsOf(t.Name(), t.Config())}
		for _, i := range infos {
			p := partitionJSON{Partition: i.Partition, FirstOffset: i.First, NextOffset: i.Next, Records: i.Next - i.First, Bytes: i.Bytes, CleanOffset: i.Compaction.Clean}
			if !i.Compaction.LastRun.IsZero() {
				p.CompactedAt = clock(i.Compaction.LastRun.UnixMilli())
			}
			if p.Records > 0 {
				if p.Oldest, err = arrival(ctx, t, i.Partition, i.First); err != nil {
					return err
				}
				if p.Newest, err = arrival(ctx, t, i.Partition, i.Next-1); err != nil {
					return err
				}
			}
			v.Records, v.Bytes, v.PartitionList = v.Records+p.Records, v.Bytes+p.Bytes, append(v.PartitionList, p)
		}
		if s.json {
			return s.printJSON(v)
		}
		return s.describeTopic(v)
	}
}

func (s *session) describeTopic(v topicJSON) error {
	if err := table(s.out, append(v.rows(), row("records", v.Records), row("bytes", v.Bytes))...); err != nil {
		return err
	}
	head := row("PARTITION", "FIRST", "NEXT", "RECORDS", "BYTES", "OLDEST", "NEWEST")
	if v.Compaction.Enabled {
		head = append(head, "CLEAN", "COMPACTED")
	}
	rows := [][]string{head}
	for _, p := range v.PartitionList {
		one := row(p.Partition, p.FirstOffset, p.NextOffset, p.Records, p.Bytes, p.Oldest, p.Newest)
		if v.Compaction.Enabled {
			one = append(one, row(p.CleanOffset, p.CompactedAt)...)
		}
		rows = append(rows, one)
	}
	fmt.Fprintln(s.out)
	return table(s.out, rows...)
}

// arrival says when the record at an offset arrived, or the next there is.
func arrival(ctx context.Context, t *actor.Topic, partition int, offset uint64) (string, error) {
	r, err := t.OpenReader(ctx, partition, actor.FromOffset(offset))
	if errors.Is(err, actor.ErrOffsetOutOfRange) {
		return "", nil // retention was faster
	}
	if err != nil {
		return "", err
	}
	defer r.Close()
	batch, err := r.TryNext(ctx)
	if errors.Is(err, actor.ErrEnd) || errors.Is(err, actor.ErrOffsetOutOfRange) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var record actor.Record
	if !batch.Next(&record) {
		return "", batch.Err()
	}
	return clock(batch.Appended()), nil
}

func deleteTopic(*flag.FlagSet) action { return deletion("topic", (*actor.System).DeleteTopic) }

// deletion deletes what its argument names, of a kind.
func deletion(kind string, remove func(*actor.System, context.Context, string) error) action {
	return func(ctx context.Context, s *session) error {
		if err := remove(s.sys, ctx, s.args[0]); err != nil {
			return err
		}
		if s.json {
			return s.printJSON(struct {
				Deleted string `json:"deleted"`
			}{s.args[0]})
		}
		_, err := fmt.Fprintf(s.out, "%s %s is deleted\n", kind, s.args[0])
		return err
	}
}

// purgedJSON is what became of a partition that was purged.
type purgedJSON struct {
	Partition   int    `json:"partition"`
	FirstOffset uint64 `json:"first_offset"` // now
	NextOffset  uint64 `json:"next_offset"`
	Dropped     uint64 `json:"dropped"` // offsets
}

func purgeTopic(f *flag.FlagSet) action {
	var partitions numbers
	var before place
	f.Var(&partitions, "partition", "only this `partition`; several: 0,3")
	f.Var(&before, "before", "only batches entirely in front of this `place`: "+placeForms+"; default latest")
	return func(ctx context.Context, s *session) error {
		if before.text == "" {
			before.from = actor.FromEnd()
		}
		from, err := before.start(time.Now())
		if err != nil {
			return err
		}
		t, err := s.sys.Topic(ctx, s.args[0])
		if err != nil {
			return err
		}
		if partitions == nil {
			for i := range t.Partitions() {
				partitions = append(partitions, i)
			}
		}
		ends := make([]uint64, len(partitions))
		for n, i := range partitions { // before anything is dropped
			if ends[n], err = offsetOf(ctx, t, i, from); err != nil {
				return err
			}
		}
		all, rows := []purgedJSON{}, [][]string{row("PARTITION", "FIRST", "NEXT", "DROPPED")}
		for n, i := range partitions {
			p, purgeErr := purge(ctx, t, i, ends[n])
			if err = purgeErr; err != nil {
				break // what is gone is told
			}
			all, rows = append(all, p), append(rows, row(p.Partition, p.FirstOffset, p.NextOffset, p.Dropped))
		}
		if s.json {
			return errors.Join(err, s.printJSON(all))
		}
		return errors.Join(err, table(s.out, rows...))
	}
}

func offsetOf(ctx context.Context, t *actor.Topic, partition int, from actor.From) (uint64, error) {
	r, err := t.OpenReader(ctx, partition, from)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return r.Offset(), nil
}

func purge(ctx context.Context, t *actor.Topic, i int, before uint64) (purgedJSON, error) {
	was, err := t.Bounds(ctx, i)
	if err != nil {
		return purgedJSON{}, err
	}
	now, err := t.Trim(ctx, i, before)
	return purgedJSON{i, now.First, now.Next, now.First - was.First}, err
}
