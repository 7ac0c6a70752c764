package actor

import (
	"context"
	"errors"
	"fmt"
)

// Settled waits until all that the delivery's consumer has settled so far is durable:
// for who has settled messages that were fetched, and is about to end.
func (d *QueueDelivery) Settled(ctx context.Context) error {
	c, run := d.consumer(), d.batch.run
	var over error
	err := c.until(ctx, func() bool {
		over = run.over
		return over != nil || c.settling.count == 0 && c.settling.underWay == 0
	})
	if over != nil && !errors.Is(over, ErrClosed) { // that is how one of Get ends, when all is durable
		err = over
	}
	if err != nil {
		return fmt.Errorf("queue %s: it is not known whether all settlements are durable: %w", c.queue, err)
	}
	return nil
}
