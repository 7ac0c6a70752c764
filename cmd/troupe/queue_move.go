package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"strconv"

	"github.com/troupestream/troupe/actor"
)

func queueMoveVerbs() []*verb {
	return []*verb{
		{name: "queue move", args: "NAME", takes: 1, about: "move messages that wait to another queue", define: func(f *flag.FlagSet) action {
			m := new(movement)
			f.StringVar(&m.to, "to", "", "to this `queue`")
			m.flags(f)
			return func(ctx context.Context, s *session) error {
				switch m.to {
				case "":
					return mistakef("where to? Say -to")
				case s.args[0]:
					return mistakef("-to %s: there they are", m.to)
				}
				if _, err := s.sys.Queue(ctx, m.to); err != nil {
					return err
				}
				return m.run(ctx, s, func(q *actor.Queue, o actor.QueueMove) (actor.QueueMoved, error) { return q.Move(ctx, m.to, o) })
			}
		}},
		{name: "queue dlq redrive", args: "NAME", takes: 1, about: "move dead letters back to the queues in which they died first", define: func(f *flag.FlagSet) action {
			m := new(movement)
			m.flags(f)
			return func(ctx context.Context, s *session) error {
				return m.run(ctx, s, func(q *actor.Queue, o actor.QueueMove) (actor.QueueMoved, error) { return q.Redrive(ctx, o) })
			}
		}},
	}
}

// movement is what is to be moved, and how.
type movement struct {
	to    string
	like  filters
	edits edits
	most  int
	rate  float64
	dry   bool
}

// movedJSON is what came of it.
type movedJSON struct {
	Queue   string `json:"queue"`
	To      string `json:"to,omitempty"` // where they have come from, without
	DryRun  bool   `json:"dry_run"`
	Matched int    `json:"matched"`
	Moved   int    `json:"moved"`
}

func (m *movement) flags(f *flag.FlagSet) {
	defineFilter(f, &m.like)
	f.Var(&m.edits, "edit", "publish them with `name=text`; the name is "+editForms+". May be given again")
	f.IntVar(&m.most, "n", 0, "so many `messages` at most; 0: all")
	f.Func("rate", "so `many` a second; default: as fast as it goes", func(text string) (err error) {
		if m.rate, err = strconv.ParseFloat(text, 64); err != nil || !(m.rate > 0) || math.IsInf(m.rate, 0) {
			return errors.New("it must be a number above 0")
		}
		return nil
	})
	f.BoolVar(&m.dry, "dry-run", false, "change nothing, and say how many it would be")
}

func (m *movement) run(ctx context.Context, s *session, move func(*actor.Queue, actor.QueueMove) (actor.QueueMoved, error)) error {
	if m.most < 0 {
		return mistakef("-n %d: it cannot be negative", m.most)
	}
	q, err := s.queue(ctx, s.args[0])
	if err != nil {
		return err
	}
	o := actor.QueueMove{Filter: m.like.match, Limit: m.most, Rate: m.rate, DryRun: m.dry}
	if m.edits != nil {
		o.Edit = m.edits.apply
	}
	done, err := move(q, o)
	return errors.Join(m.show(s, done), err)
}

func (m *movement) show(s *session, done actor.QueueMoved) error {
	if s.json {
		return s.printJSON(movedJSON{s.args[0], m.to, m.dry, done.Matched, done.Moved})
	}
	var err error
	if m.dry {
		_, err = fmt.Fprintf(s.out, "nothing was changed; to be moved: %s\n", messages(done.Matched))
	} else {
		_, err = fmt.Fprintf(s.out, "%s moved\n", messages(done.Moved))
	}
	return err
}
