package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/group"
)

func groupVerbs() []*verb {
	return []*verb{
		{name: "group list", about: "list the consumer groups", define: listGroups},
		{name: "group describe", args: "GROUP", takes: 1, about: "show members, offsets and lag of a group", define: describeGroup},
		{name: "group delete", args: "GROUP", takes: 1, about: "delete a group that has no members, with its offsets and parked records", define: deleteGroup},
	}
}

// groupJSON is a group.
type groupJSON struct {
	Name       string   `json:"name"`
	State      string   `json:"state"` // empty, balancing, stable, interrupted
	Generation uint64   `json:"generation"`
	Assignor   string   `json:"assignor"`
	Topics     []string `json:"topics"`
	Members    int      `json:"members"`
	ParkedKeys int      `json:"parked_keys"`
	Lag        uint64   `json:"lag"`         // records
	LagSeconds float64  `json:"lag_seconds"` // age of the oldest of them
}

func (s *session) group(ctx context.Context, name string) (groupJSON, actor.GroupDescription, actor.Lag, error) {
	g, err := s.sys.FindGroup(ctx, name)
	if err != nil {
		return groupJSON{}, actor.GroupDescription{}, actor.Lag{}, err
	}
	d, err := g.Describe(ctx)
	if err != nil {
		return groupJSON{}, d, actor.Lag{}, err
	}
	lag, err := g.Lag(ctx)
	v := groupJSON{Name: name, State: string(d.State), Generation: d.Generation, Assignor: d.Assignor.String(), Topics: []string{},
		Members: len(d.Members), ParkedKeys: d.ParkedKeys, Lag: lag.Records, LagSeconds: seconds(lag.Age)}
	for _, p := range d.Partitions {
		v.Topics = append(v.Topics, p.Topic)
	}
	v.Topics = slices.Compact(v.Topics)
	return v, d, lag, err
}

func listGroups(*flag.FlagSet) action {
	return func(ctx context.Context, s *session) error {
		names, err := s.sys.Groups(ctx)
		if err != nil {
			return err
		}
		list, rows := []groupJSON{}, [][]string{row("GROUP", "STATE", "MEMBERS", "TOPICS", "LAG", "SECONDS", "PARKED")}
		for _, name := range names {
			v, _, _, err := s.group(ctx, name)
			if err != nil {
				return err
			}
			list = append(list, v)
			rows = append(rows, row(v.Name, v.State, v.Members, strings.Join(v.Topics, ","), v.Lag, fmt.Sprintf("%.3f", v.LagSeconds), v.ParkedKeys))
		}
		if s.json {
			return s.printJSON(list)
		}
		return table(s.out, rows...)
	}
}

func deleteGroup(*flag.FlagSet) action { return deletion("group", (*actor.System).DeleteGroup) }

// groupDetailJSON is a group with its members and partitions.
type groupDetailJSON struct {
	groupJSON
	MemberList    []memberJSON         `json:"member_list"`
	PartitionList []groupPartitionJSON `json:"partition_list"`
}

type memberJSON struct {
	ID         string   `json:"id"`
	Instance   string   `json:"instance,omitempty"`
	Client     string   `json:"client,omitempty"`
	Topics     []string `json:"topics"`
	Partitions int      `json:"partitions"` // that it owns
	InFlight   int      `json:"in_flight"`
	Seen       string   `json:"seen"`
	Absent     bool     `json:"absent"`
	Stuck      bool     `json:"stuck"`
}

type groupPartitionJSON struct {
	Topic           string   `json:"topic"`
	Partition       int      `json:"partition"`
	Owner           string   `json:"owner,omitempty"`
	CommittedOffset *uint64  `json:"committed_offset"` // null: nothing is committed
	EndOffset       uint64   `json:"end_offset"`
	Lag             uint64   `json:"lag"`
	LagSeconds      float64  `json:"lag_seconds"`
	CatchUpSeconds  *float64 `json:"catch_up_seconds"` // null: unknown
	ParkedKeys      int      `json:"parked_keys"`
	TopicDeleted    bool     `json:"topic_deleted"`
}

func describeGroup(*flag.FlagSet) action {
	return func(ctx context.Context, s *session) error {
		head, d, lag, err := s.group(ctx, s.args[0])
		if err != nil {
			return err
		}
		v := groupDetailJSON{groupJSON: head, MemberList: []memberJSON{}, PartitionList: []groupPartitionJSON{}}
		for _, m := range d.Members {
			v.MemberList = append(v.MemberList, memberJSON{m.ID, m.Instance, m.Client, m.Topics, m.Owned, m.InFlight, clock(m.Seen), m.Absent, m.Stuck})
		}
		for i, p := range d.Partitions {
			v.PartitionList = append(v.PartitionList, partitionOf(p, lag.Partitions[i]))
		}
		if s.json {
			return s.printJSON(v)
		}
		return s.describeGroup(v)
	}
}

// partitionOf joins what the group and the log say about a partition. Both list them
// in the same order.
func partitionOf(p group.PartitionDescription, lag actor.PartitionLag) groupPartitionJSON {
	v := groupPartitionJSON{Topic: p.Topic, Partition: p.Partition, Owner: p.Owner, EndOffset: lag.End, Lag: lag.Records,
		LagSeconds: seconds(lag.Age), ParkedKeys: p.Parked, TopicDeleted: lag.Deleted}
	if p.Committed {
		v.CommittedOffset = &p.Next
	}
	if lag.CatchUp != actor.Unknown {
		catchUp := seconds(lag.CatchUp)
		v.CatchUpSeconds = &catchUp
	}
	return v
}

func (s *session) describeGroup(v groupDetailJSON) error {
	err := table(s.out, row("group", v.Name), row("state", v.State), row("generation", v.Generation), row("assignor", v.Assignor),
		row("lag", fmt.Sprintf("%s, %.3f seconds", count(v.Lag), v.LagSeconds)), row("parked keys", v.ParkedKeys))
	if err != nil {
		return err
	}
	rows := [][]string{row("TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "SECONDS", "PARKED", "OWNER")}
	for _, p := range v.PartitionList {
		committed, end := "-", fmt.Sprint(p.EndOffset)
		if p.CommittedOffset != nil {
			committed = fmt.Sprint(*p.CommittedOffset)
		}
		if p.TopicDeleted {
			end = "deleted"
		}
		rows = append(rows, row(p.Topic, p.Partition, committed, end, p.Lag, fmt.Sprintf("%.3f", p.LagSeconds), p.ParkedKeys, p.Owner))
	}
	fmt.Fprintln(s.out)
	if err := table(s.out, rows...); err != nil || len(v.MemberList) == 0 {
		return err
	}
	rows = [][]string{row("MEMBER", "INSTANCE", "CLIENT", "PARTITIONS", "IN FLIGHT", "SEEN")}
	for _, m := range v.MemberList {
		rows = append(rows, row(m.ID, m.Instance, m.Client, m.Partitions, m.InFlight, m.Seen))
	}
	fmt.Fprintln(s.out)
	return table(s.out, rows...)
}
