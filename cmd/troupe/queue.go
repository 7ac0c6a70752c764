package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/troupestream/troupe/actor"
)

func queueVerbs() []*verb {
	return []*verb{
		{name: "queue declare", args: "NAME", takes: 1, creates: true, define: declareQueue,
			about: "declare a queue; one that is the same already is left as it is"},
		{name: "queue list", about: "list the queues", define: listQueues},
		{name: "queue alter", args: "NAME", takes: 1, about: "change settings of a queue; what is not named stays", define: alterQueue},
		{name: "queue delete", args: "NAME", takes: 1, about: "delete a queue, its bindings and its messages", define: deleteQueue},
	}
}

func declareQueue(f *flag.FlagSet) action {
	o := newQueueSettings(f)
	return func(ctx context.Context, s *session) error {
		var c actor.QueueConfig
		o.applyTo(&c)
		if s.args[0] == "" {
			return mistakef("the name is empty")
		}
		q, err := s.sys.DeclareQueue(ctx, s.args[0], c)
		if err != nil {
			return err
		}
		return s.showQueueSettings(q)
	}
}

func alterQueue(f *flag.FlagSet) action {
	o := newQueueSettings(f)
	return func(ctx context.Context, s *session) error {
		if len(o.changes) == 0 {
			return mistakef("alter what? Name a setting")
		}
		q, err := s.sys.Queue(ctx, s.args[0])
		if err == nil {
			err = q.Alter(ctx, func(c *actor.QueueConfig) { o.applyTo(c) })
		}
		if err != nil {
			return err
		}
		return s.showQueueSettings(q)
	}
}

// showQueueSettings prints what a queue is like now.
func (s *session) showQueueSettings(q *actor.Queue) error {
	v := queueOf(q.Name(), q.Config())
	if s.json {
		return s.printJSON(v)
	}
	return table(s.out, v.rows()...)
}

func listQueues(*flag.FlagSet) action {
	return func(ctx context.Context, s *session) error {
		queues, err := s.sys.Queues(ctx)
		if err != nil {
			return err
		}
		list, rows := []listedQueueJSON{}, [][]string{row("NAME", "READY", "DELAYED", "IN FLIGHT", "DYING", "BYTES", "OLDEST SECONDS", "PAUSED", "LIMITS", "DEAD LETTERS")}
		for _, info := range queues {
			v, err := s.listedQueue(ctx, info)
			if err != nil {
				return err
			}
			list = append(list, v)
			m := &v.Messages
			rows = append(rows, row(v.Name, m.Ready, m.Delayed, m.InFlight, m.Dying, m.Bytes, fmt.Sprintf("%.3f", m.OldestS), pausedText(m), v.limitsText(), v.deadLettersText()))
		}
		if s.json {
			return s.printJSON(list)
		}
		return table(s.out, rows...)
	}
}

// listedQueueJSON is a queue as it is listed.
type listedQueueJSON struct {
	queueJSON
	Messages countsJSON `json:"messages"`
}

func (s *session) listedQueue(ctx context.Context, info actor.QueueInfo) (v listedQueueJSON, err error) {
	q, err := s.queue(ctx, info.Name)
	if err != nil {
		return v, err
	}
	stats, err := q.Stats(ctx)
	if err == nil {
		err = stats.Err
	}
	return listedQueueJSON{queueOf(info.Name, info.QueueConfig), countsOf(&stats)}, err
}

func deleteQueue(f *flag.FlagSet) action {
	var o actor.QueueDelete
	f.BoolVar(&o.IfEmpty, "if-empty", false, "only if it has no messages")
	return deletion("queue", func(sys *actor.System, ctx context.Context, name string) error {
		q, err := sys.Queue(ctx, name)
		if err == nil && o.IfEmpty {
			err = q.CatchUp(ctx)
		}
		if err != nil {
			return err
		}
		return q.Delete(ctx, o)
	})
}
