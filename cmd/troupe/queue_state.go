package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/troupestream/troupe/actor"
)

func queueStateVerbs() []*verb {
	return []*verb{
		{name: "queue describe", args: "NAME", takes: 1, about: "show settings, messages, forecasts and guarantees of a queue", define: describeQueue},
		{name: "queue purge", args: "NAME", takes: 1, about: "drop all messages of a queue that wait", define: purgeQueue},
		{name: "queue pause", args: "NAME", takes: 1, about: "stop deliveries, publishing to the queue, or both; what is stopped stays so", define: pauseQueue},
		{name: "queue resume", args: "NAME", takes: 1, about: "end a pause", define: func(*flag.FlagSet) action {
			return func(ctx context.Context, s *session) error { return s.pause(ctx, (*actor.Queue).Resume) }
		}},
	}
}

// countsJSON are the messages of a queue by what became of them: taken is the sum of the
// others.
type countsJSON struct {
	Taken      uint64  `json:"taken"`
	Ready      int     `json:"ready"`
	Delayed    int     `json:"delayed"`
	InFlight   int     `json:"in_flight"`
	Dying      int     `json:"dying"` // being dead-lettered
	Acked      uint64  `json:"acked"`
	Dead       uint64  `json:"dead"`
	Expired    uint64  `json:"expired"`
	Dropped    uint64  `json:"dropped"`
	Purged     uint64  `json:"purged"`
	Moved      uint64  `json:"moved"`
	Lost       uint64  `json:"lost"`
	Bytes      int64   `json:"bytes"` // of the bodies that wait
	OldestS    float64 `json:"oldest_seconds"`
	Delivers   bool    `json:"delivers"` // deliveries are not paused
	Publishing bool    `json:"publishing"`
}

func countsOf(q *actor.QueueStats) countsJSON {
	return countsJSON{q.Taken, q.Ready, q.Delayed, q.InFlight, q.Dying, q.Acked, q.Dead, q.Expired, q.Dropped, q.Purged, q.Moved, q.Lost,
		q.Bytes, seconds(q.OldestAge), !q.DeliveryPaused, !q.PublishingPaused}
}

// law is that no message is lost or counted twice.
func (c *countsJSON) law() string {
	return fmt.Sprintf("%d taken = %d ready + %d delayed + %d in flight + %d dying + %d acked + %d dead + %d expired + %d dropped + %d purged + %d moved + %d lost",
		c.Taken, c.Ready, c.Delayed, c.InFlight, c.Dying, c.Acked, c.Dead, c.Expired, c.Dropped, c.Purged, c.Moved, c.Lost)
}

// describedQueueJSON is a queue and how it does.
type describedQueueJSON struct {
	listedQueueJSON
	Consumers     int             `json:"consumers"`
	InRate        float64         `json:"in_rate"` // messages a second
	OutRate       float64         `json:"out_rate"`
	FullSeconds   *float64        `json:"full_seconds"`  // null: never
	DrainSeconds  *float64        `json:"drain_seconds"` // null: never
	BindingList   []bindingJSON   `json:"binding_list"`
	GuaranteeList []guaranteeJSON `json:"guarantee_list"`
}

// guaranteeJSON is what a consumer can rely on, in one respect.
type guaranteeJSON struct {
	Of   string `json:"of"`
	Says string `json:"says"`
}

func describeQueue(f *flag.FlagSet) action {
	var o actor.ConsumeOptions
	f.IntVar(&o.Prefetch, "prefetch", actor.DefaultPrefetch, "what a consumer with this `prefetch` can rely on,")
	f.IntVar(&o.Concurrency, "concurrency", 1, "and so many `handlers`")
	f.BoolVar(&o.Exclusive, "exclusive", false, "that is exclusive,")
	f.BoolVar(&o.AtMostOnce, "at-most-once", false, "or acknowledges before it works")
	return func(ctx context.Context, s *session) error {
		if o.Prefetch < 1 || o.Prefetch > actor.PrefetchMax || o.Concurrency < 1 {
			return mistakef("-prefetch must be 1 to %d, and -concurrency 1 or more", actor.PrefetchMax)
		}
		q, err := s.queue(ctx, s.args[0])
		if err != nil {
			return err
		}
		d, err := q.Describe(ctx, o)
		if err == nil {
			err = d.Stats.Err
		}
		if err != nil {
			return err
		}
		if v := describedOf(&d); s.json {
			return s.printJSON(v)
		} else {
			return s.describeQueue(v)
		}
	}
}

func describedOf(d *actor.QueueDescription) describedQueueJSON {
	q := &d.Stats
	v := describedQueueJSON{listedQueueJSON: listedQueueJSON{queueOf(d.Name, d.Config), countsOf(q)}, Consumers: q.Consumers, InRate: q.InRate, OutRate: q.OutRate,
		BindingList: []bindingJSON{}}
	if q.ToFull > 0 {
		full := seconds(q.ToFull)
		v.FullSeconds = &full
	}
	if q.ToDrain > 0 {
		drain := seconds(q.ToDrain)
		v.DrainSeconds = &drain
	}
	for _, b := range d.Bindings {
		v.BindingList = append(v.BindingList, bindingOf(b))
	}
	for _, g := range d.Guarantees {
		v.GuaranteeList = append(v.GuaranteeList, guaranteeJSON{g.Of, g.Says})
	}
	return v
}

func (s *session) describeQueue(v describedQueueJSON) error {
	m := &v.Messages
	rows := append(v.rows(), row("messages", m.law()), row("bytes", m.Bytes), row("oldest", fmt.Sprintf("%.3f seconds", m.OldestS)),
		row("consumers", v.Consumers), row("paused", pausedText(m)),
		row("growth", fmt.Sprintf("%.1f in, %.1f out a second", v.InRate, v.OutRate)), row("full", forecastText(v.FullSeconds)), row("empty", forecastText(v.DrainSeconds)))
	if err := table(s.out, rows...); err != nil {
		return err
	}
	rows = [][]string{row("A CONSUMER CAN RELY ON", "")}
	for _, g := range v.GuaranteeList {
		rows = append(rows, row(g.Of, g.Says))
	}
	fmt.Fprintln(s.out)
	if err := table(s.out, rows...); err != nil || len(v.BindingList) == 0 {
		return err
	}
	fmt.Fprintln(s.out)
	return s.showBindings(v.BindingList)
}

func pausedText(m *countsJSON) string {
	switch {
	case m.Delivers && m.Publishing:
		return "no"
	case m.Delivers:
		return "publishing"
	case m.Publishing:
		return "deliveries"
	}
	return "deliveries and publishing"
}

func forecastText(seconds *float64) string {
	if seconds == nil {
		return "never, if all goes on as it does"
	}
	return fmt.Sprintf("in %.3f seconds, if all goes on as it does", *seconds)
}

func purgeQueue(*flag.FlagSet) action {
	return func(ctx context.Context, s *session) error {
		q, err := s.queue(ctx, s.args[0])
		if err != nil {
			return err
		}
		n, err := q.Purge(ctx)
		if err != nil {
			return err
		}
		if s.json {
			return s.printJSON(struct {
				Purged int `json:"purged"`
			}{n})
		}
		_, err = fmt.Fprintf(s.out, "%s purged\n", messages(n))
		return err
	}
}

// messages is "1 message", "2 messages".
func messages(n int) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

func pauseQueue(f *flag.FlagSet) action {
	delivery := f.Bool("delivery", false, "stop deliveries,")
	publishing := f.Bool("publishing", false, "or publishing; without either, both")
	return func(ctx context.Context, s *session) error {
		both := *delivery == *publishing
		return s.pause(ctx, func(q *actor.Queue, ctx context.Context) error {
			return q.Pause(ctx, *delivery || both, *publishing || both)
		})
	}
}

// pause pauses or resumes a queue, and says what is paused then.
func (s *session) pause(ctx context.Context, change func(*actor.Queue, context.Context) error) error {
	q, err := s.sys.Queue(ctx, s.args[0])
	if err == nil {
		err = change(q, ctx)
	}
	if err != nil {
		return err
	}
	stats, err := q.Stats(ctx)
	if err != nil {
		return err
	}
	m := countsOf(&stats)
	if s.json {
		return s.printJSON(struct {
			Delivers   bool `json:"delivers"`
			Publishing bool `json:"publishing"`
		}{m.Delivers, m.Publishing})
	}
	_, err = fmt.Fprintf(s.out, "paused: %s\n", pausedText(&m))
	return err
}
