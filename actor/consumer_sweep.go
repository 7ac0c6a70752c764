package actor

import (
	"context"
	"errors"
	"time"

	"github.com/troupestream/troupe/internal/group"
)

// parkSweep is how often a consumer drops bodies from the parking topic that nobody
// needs any more.
const parkSweep = 10 * time.Minute

// sweep trims the parking topic up to the first body that is in the group's journal.
// What is younger than parkFresh is kept whatever the journal says: its place may be
// on the way there. Every member does this; it does no harm.
func (c *Consumer) sweep(ctx context.Context, g *Group) error {
	t, err := c.sys.Topic(ctx, parkedTopic(g.name))
	if errors.Is(err, ErrNoTopic) {
		return nil
	}
	if err != nil {
		return err
	}
	before, err := t.OffsetAt(ctx, 0, time.Now().Add(-parkFresh))
	if err != nil {
		return err
	}
	lowest, err := Ask[parkedFrom](ctx, g.sys, g.pid, askGroup{func(c *group.Group) any {
		at, any := c.Parking()
		return parkedFrom{at, any}
	}})
	if err != nil {
		return err
	}
	if lowest.any {
		before = min(before, lowest.at)
	}
	b, err := t.Bounds(ctx, 0)
	if err == nil && before > b.First {
		_, err = t.Trim(ctx, 0, before)
	}
	return err
}

// parkedFrom is the lowest offset in the parking topic that is of use.
type parkedFrom struct {
	at  uint64
	any bool
}
