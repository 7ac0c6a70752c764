package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/troupestream/troupe/actor"
)

// lookEvery is how often the company is looked at, and tellEvery how often that is told.
const (
	lookEvery = 50 * time.Millisecond
	tellEvery = 500 * time.Millisecond
)

// progress is how far the company is.
type progress struct {
	published, charged, mailed, printed, buried int
	read                                        []int64 // by the jobs, as of their newest checkpoints; all, once they have ended
	ended                                       bool    // of the jobs
	queues                                      []actor.QueueStats
}

func (c *company) look(ctx context.Context) (p progress, err error) {
	has, err := published(ctx, c.engine)
	if err != nil {
		return p, err
	}
	for _, n := range has {
		p.published += int(n)
	}
	p.charged, _ = c.charges.Count()
	p.mailed, _ = c.mails.Count()
	p.printed, _ = c.invoices.Count()
	p.buried, _ = c.dead.Count()
	p.ended = true
	for _, j := range c.jobs {
		read := int64(0)
		if s := j.Status(); s.Checkpoint != nil {
			read = s.Checkpoint.Records
		}
		select {
		case <-j.Done(): // of a run before, maybe, and then it has no checkpoint of this one
			read = int64(c.shop.orders)
		default:
			p.ended = false
		}
		p.read = append(p.read, read)
	}
	for _, q := range c.queues {
		s, err := q.Stats(ctx)
		if err == nil {
			err = s.Err
		}
		if err != nil {
			return p, err
		}
		p.queues = append(p.queues, s)
	}
	return p, nil
}

// settled is how many tasks have come to their end, and dead how many of them were given up.
func (p progress) settled() (all, dead int) {
	for _, q := range p.queues {
		all += int(q.Acked + q.Dead)
		dead += int(q.Dead)
	}
	return all, dead
}

// over says whether everything is done that the orders ask for.
func (p progress) over(orders int) bool {
	all, dead := p.settled()
	return p.published == orders && p.ended && all >= len(crews)*orders && p.buried == dead
}

func (p progress) String() string {
	waiting := 0
	for _, q := range p.queues {
		waiting += q.Live
	}
	return fmt.Sprintf("published %6d  revenue %6d  fraud %6d  charged %6d  mailed %6d  printed %6d  dead %4d  waiting %6d",
		p.published, p.read[0], p.read[1], p.charged, p.mailed, p.printed, p.buried, waiting)
}

// await tells how far the company is, until everything is done or ctx ends.
func (c *company) await(ctx context.Context, out io.Writer) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	told := time.Now()
	for {
		p, err := c.look(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		over := p.over(c.shop.orders)
		if over || time.Since(told) >= tellEvery {
			told = time.Now()
			fmt.Fprintln(out, p)
		}
		if over {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}
