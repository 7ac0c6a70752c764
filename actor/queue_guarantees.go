package actor

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Guarantee is what a consumer of a queue can rely on, in one respect.
type Guarantee struct {
	Of   string // order, delivery, …
	Says string
}

// QueueDescription is a queue, how it does, and what a consumer of it can rely on.
type QueueDescription struct {
	Name       string
	Config     QueueConfig
	Stats      QueueStats
	Bindings   []Binding // that lead to it; beside that of the default exchange
	Guarantees []Guarantee
}

// Describe describes the queue, and what a consumer with such options can rely on.
func (q *Queue) Describe(ctx context.Context, o ConsumeOptions) (QueueDescription, error) {
	d := QueueDescription{Name: q.info.name, Config: q.Config(), Guarantees: q.Guarantees(o)}
	var err error
	if d.Stats, err = q.Stats(ctx); err != nil {
		return d, err
	}
	all, err := q.sys.Bindings(ctx, "")
	for _, b := range all {
		if b.Queue == q.info.name {
			d.Bindings = append(d.Bindings, b)
		}
	}
	return d, err
}

// Guarantees returns what a consumer with such options can rely on.
func (q *Queue) Guarantees(o ConsumeOptions) []Guarantee {
	return guarantees(q.info.config(), o)
}

// String is for people.
func (d QueueDescription) String() string {
	var b strings.Builder
	s := &d.Stats
	fmt.Fprintf(&b, "queue %s\n", d.Name)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  messages\t%d ready, %d delayed, %d in flight, %d being dead-lettered; %d bytes wait\n", s.Ready, s.Delayed, s.InFlight, s.Dying, s.Bytes)
	fmt.Fprintf(w, "  ever\t%d = %d live + %d acked + %d dead + %d expired + %d dropped + %d purged + %d moved + %d lost\n",
		s.Taken, s.Live, s.Acked, s.Dead, s.Expired, s.Dropped, s.Purged, s.Moved, s.Lost)
	fmt.Fprintf(w, "  consumers\t%d\n", s.Consumers)
	for _, l := range d.Bindings {
		fmt.Fprintf(w, "  bound\t%v\n", l)
	}
	for _, g := range d.Guarantees {
		fmt.Fprintf(w, "  %s\t%s\n", g.Of, g.Says)
	}
	w.Flush()
	return b.String()
}

func guarantees(c *QueueConfig, o ConsumeOptions) []Guarantee {
	o.withDefaults()
	return []Guarantee{
		{"order", orderOf(c, &o)},
		{"priority", priorityOf(c)},
		{"delivery", deliveryOf(&o)},
		{"attempts", attemptsOf(c)},
		{"failures", failuresOf(c)},
		{"in hand", fmt.Sprintf("up to %d messages, %d at work at a time; %s", o.Prefetch, o.Concurrency, settleOf(c))},
		{"limits", limitsOf(c)},
		{"duplicates", "not looked for here: an exchange with Dedup drops those of publishers, Once does work that is repeated only once"},
		{"restart", restartOf(c)},
	}
}

// orderOf is careful: what is prefetched is done before a message that failed comes again.
func orderOf(c *QueueConfig, o *ConsumeOptions) string {
	alone := o.Exclusive || c.SingleActive
	switch {
	case c.GroupBy != "":
		return fmt.Sprintf("messages of one group (%s) are done one at a time and in order, also across retries; between groups there is none", c.GroupBy)
	case o.Concurrency > 1:
		return fmt.Sprintf("none: %d handlers run at the same time; GroupBy would keep it for each key", o.Concurrency)
	case alone && o.Prefetch == 1 && c.Retry.First == RetryAtOnce:
		return "strict: one message at a time, and one that fails comes again before those behind it"
	case alone:
		return "as published within a priority, but for messages that fail, are delayed or come after a crash: those behind them do not wait"
	}
	return "as published within a priority as long as this is the only consumer, but for messages that fail, are delayed or come after a crash; none between consumers"
}

func priorityOf(c *QueueConfig) string {
	levels := fmt.Sprintf("0 to %d, ", c.MaxPriority)
	switch {
	case len(c.Weights) > 0:
		return levels + "shared by weights: none starves"
	case c.StarvationBound > 0:
		return levels + fmt.Sprintf("higher first; one that waits gets a turn after %d deliveries", c.StarvationBound)
	}
	return levels + "higher first: lower ones can starve"
}

func deliveryOf(o *ConsumeOptions) string {
	switch {
	case o.AtMostOnce:
		return "at most once: acknowledged before the handler runs; what fails, or is at work in a crash, is lost"
	case o.ManualAck:
		return "at least once: acknowledged when the handler says so; after a crash what was not comes again, flagged as redelivered"
	}
	return "at least once: acknowledged when the handler returns; after a crash what was not comes again, flagged as redelivered"
}

func attemptsOf(c *QueueConfig) string {
	if c.DeliveryLimit < 0 {
		return "without limit"
	}
	return fmt.Sprintf("%d may fail; those that may have killed the process are counted before the handler runs again, and the others in flight are not charged", c.DeliveryLimit)
}

func failuresOf(c *QueueConfig) string {
	again := "tried again at once, at the old place"
	if r := &c.Retry; r.First > 0 {
		again = fmt.Sprintf("tried again after %v, then %v times as long each, at most %v", r.First, r.Factor, r.Max)
	}
	exchange, key, ok := c.deadLetters()
	switch {
	case !ok:
		return again + "; in the end dropped, and counted"
	case exchange == "":
		return again + fmt.Sprintf("; in the end to queue %s, at least once", key)
	}
	return again + fmt.Sprintf("; in the end to exchange %s, at least once", exchange)
}

func settleOf(c *QueueConfig) string {
	if c.SettleTimeout < 0 {
		return "they are never taken back while the consumer lives"
	}
	return fmt.Sprintf("taken back after %v without a sign of life, which running handlers give by themselves", c.SettleTimeout)
}

func limitsOf(c *QueueConfig) string {
	full := map[Overflow]string{DropHead: "the oldest of the lowest priority is dropped or dead-lettered", RejectPublish: "publishers are refused",
		RejectPublishDLX: "what is published is dead-lettered"}[c.Overflow]
	text := fmt.Sprintf("%s messages, %s bytes; when full, %s", limitText(int64(c.MaxLength)), limitText(c.MaxBytes), full)
	switch {
	case c.TTL == ExpireAtOnce:
		text += "; messages expire unless they can be delivered at once"
	case c.TTL > 0:
		text += fmt.Sprintf("; messages expire after %v, on time wherever they are", c.TTL.Round(time.Millisecond))
	}
	return text
}

func limitText(n int64) string {
	if n < 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

func restartOf(c *QueueConfig) string {
	switch {
	case c.Exclusive:
		return "the queue is only for the handle that declared it, and ends with that"
	case c.Transient:
		return "the queue is forgotten when the process ends"
	}
	return "the queue and its messages are durable; what is published as transient may be lost in a power cut"
}
