package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/troupestream/troupe/actor"
)

func queueReplayVerb() *verb {
	return &verb{name: "queue replay", args: "NAME", takes: 1, about: "print messages again that a queue does not have any more", define: func(f *flag.FlagSet) action {
		r := new(replaying)
		f.Var(&r.from, "from", "those that arrived at this `time` or later: "+instantForms+"; default: as far back as the logs go")
		f.Var(&r.before, "before", "those that arrived before this `time`")
		f.IntVar(&r.most, "n", 0, "so many `messages` at most; 0: all")
		f.BoolVar(&r.all, "all", false, "also those that were dead-lettered, dropped or moved, or have expired; default: those that were acknowledged, or of which it is not remembered")
		defineFilter(f, &r.like)
		return r.run
	}}
}

// instant is a time, or a time ago.
type instant struct {
	text string
	at   time.Time
}

const instantForms = "2026-11-22T08:00:00Z, or a time ago (90m)"

// String implements flag.Value.
func (i *instant) String() string { return i.text }

// Set implements flag.Value.
func (i *instant) Set(text string) error {
	at, ago, ok := timeOrAgo(text)
	switch {
	case !ok:
		return errors.New("it must be " + instantForms)
	case ago > 0:
		at = time.Now().Add(-ago)
	}
	*i = instant{text, at}
	return nil
}

// replaying is what `queue replay` is told.
type replaying struct {
	from, before instant
	most         int
	all          bool
	like         filters
}

func (r *replaying) run(ctx context.Context, s *session) error {
	if r.most < 0 {
		return mistakef("-n %d: it cannot be negative", r.most)
	}
	q, err := s.queue(ctx, s.args[0])
	if err != nil {
		return err
	}
	o := actor.QueueReplay{From: r.from.at, To: r.before.at, All: r.all, Filter: r.like.match, Limit: r.most}
	for m, err := range q.Past(ctx, o) {
		switch {
		case err != nil:
			return err
		case s.json:
			err = s.printJSON(peekedOf(m))
		default:
			_, err = fmt.Fprintln(s.out, peekedLine(m))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
