package topology_test

import (
	"fmt"
	"time"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

// payment is what these examples are about.
type payment struct {
	User  string
	At    time.Time
	Cents int
}

func (p payment) user() string    { return p.User }
func (p payment) time() time.Time { return p.At }

func clock(hhmm string) time.Time {
	t, _ := time.Parse("2006-01-02 15:04", "2026-03-01 "+hhmm)
	return t
}

var payments = []payment{
	{"ada", clock("10:05"), 300},
	{"bob", clock("10:10"), 200},
	{"ada", clock("10:55"), 100},
	{"ada", clock("11:20"), 500},
	{"bob", clock("10:40"), 900}, // 40 minutes behind
	{"bob", clock("12:10"), 250},
}

func ExampleEventTime() {
	b := topology.New("payments")
	in := topology.From(b, "in", topologytest.Slice(payments...))
	timed := topology.EventTime(in, "paid-at", 45*time.Minute, payment.time,
		topology.Idle(time.Minute),     // a split without payments holds nobody back for longer
		topology.MaxJump(24*time.Hour)) // one wrong date does not close every window
	byUser := topology.KeyBy(timed, "by-user", payment.user)
	hourly, _ := topology.WindowFold(byUser, "hourly", topology.Tumbling(time.Hour),
		func(_ string, sum int, p payment) int { return sum + p.Cents })
	out := topologytest.Collect[topology.Window[string, int]]()
	topology.To(hourly, "out", out)
	run(b)
	for _, w := range out.Values() {
		fmt.Println(w.Start.Format("15:04"), w.Key, w.Value)
	}
	// Output:
	// 10:00 ada 400
	// 10:00 bob 1100
	// 11:00 ada 500
	// 12:00 bob 250
}

func ExampleFold() {
	b := topology.New("payments")
	byUser := topology.KeyBy(topology.From(b, "in", topologytest.Slice(payments...)), "by-user", payment.user)
	totals := topology.Fold(byUser, "total", func(_ string, sum int, p payment) int { return sum + p.Cents })
	out := topologytest.Collect[int]()
	topology.To(totals, "out", out)
	run(b)
	fmt.Println(out.Values())
	// Output: [300 200 400 900 1100 1350]
}

func ExampleSliding() {
	b := topology.New("payments")
	timed := topology.EventTime(topology.From(b, "in", topologytest.Slice(payments[:2]...)), "paid-at", 0, payment.time)
	byUser := topology.KeyBy(timed, "by-user", payment.user)
	recent, _ := topology.WindowFold(byUser, "recent", topology.Sliding(30*time.Minute, 10*time.Minute),
		func(_ string, sum int, p payment) int { return sum + p.Cents })
	out := topologytest.Collect[topology.Window[string, int]]()
	topology.To(recent, "out", out)
	run(b)
	for _, w := range out.Values() {
		fmt.Println(w.Start.Format("15:04"), w.End.Format("15:04"), w.Key, w.Value)
	}
	// Output:
	// 09:40 10:10 ada 300
	// 09:50 10:20 ada 300
	// 09:50 10:20 bob 200
	// 10:00 10:30 ada 300
	// 10:00 10:30 bob 200
	// 10:10 10:40 bob 200
}

func ExampleAllowedLateness() {
	b := topology.New("payments")
	timed := topology.EventTime(topology.From(b, "in", topologytest.Slice(payments...)), "paid-at", 0, payment.time)
	byUser := topology.KeyBy(timed, "by-user", payment.user)
	hourly, late := topology.WindowFold(byUser, "hourly", topology.Tumbling(time.Hour),
		func(_ string, sum int, p payment) int { return sum + p.Cents }, topology.AllowedLateness(15*time.Minute))
	out, tooLate := topologytest.Collect[topology.Window[string, int]](), topologytest.Collect[topology.Late[payment]]()
	topology.To(hourly, "out", out)
	topology.To(late, "too-late", tooLate)
	run(b)
	for _, l := range tooLate.Values() {
		fmt.Println(l.Value.User, "paid at", l.Time.Format("15:04"), "and event time is", l.Watermark.Format("15:04:05"))
	}
	// Output: bob paid at 10:40 and event time is 11:19:59
}

// Orders that nobody has paid for within half an hour.
func ExampleProcess() {
	type event struct {
		Order string
		At    time.Time
		Paid  bool // else it was placed
	}
	b := topology.New("unpaid")
	in := topologytest.Slice(
		event{"o-1", clock("10:00"), false}, event{"o-2", clock("10:05"), false}, event{"o-2", clock("10:20"), true},
		event{"o-3", clock("11:00"), false}, event{"o-1", clock("10:40"), true})
	timed := topology.EventTime(topology.From(b, "in", in), "at", time.Hour, func(e event) time.Time { return e.At })
	byOrder := topology.KeyBy(timed, "by-order", func(e event) string { return e.Order })
	unpaid := topology.Process(byOrder, "unpaid", func(p *topology.Processor[string, event, string]) {
		paid := topology.ValueOf[time.Time](p, "paid")
		p.OnRecord(func(e event) {
			if e.Paid {
				paid.Set(e.At)
			} else {
				p.SetEventTimer(e.At.Add(30 * time.Minute))
			}
		})
		p.OnEventTimer(func(at time.Time) {
			if t, ok := paid.Lookup(); !ok || t.After(at) {
				p.Emit(p.Key() + " is unpaid at " + at.Format("15:04"))
			}
			paid.Clear()
		})
	})
	out := topologytest.Collect[string]()
	topology.To(unpaid, "out", out)
	run(b)
	fmt.Println(out.Values())
	// Output: [o-1 is unpaid at 10:30 o-3 is unpaid at 11:30]
}

func ExampleSideOutput() {
	b := topology.New("watch")
	byUser := topology.KeyBy(topology.From(b, "in", topologytest.Slice(payments...)), "by-user", payment.user)
	alerts := topology.SideOutput[string]("alerts")
	checked := topology.Process(byUser, "check", func(p *topology.Processor[string, payment, payment]) {
		p.OnRecord(func(v payment) {
			if v.Cents >= 500 {
				alerts.Emit(p, fmt.Sprint(p.Key(), " pays ", v.Cents))
			}
			p.Emit(v)
		})
	}, alerts)
	rest, rung := topologytest.Collect[payment](), topologytest.Collect[string]()
	topology.To(checked, "rest", rest)
	topology.To(alerts.Stream(), "rung", rung)
	run(b)
	fmt.Println(len(rest.Values()), rung.Values())
	// Output: 6 [ada pays 500 bob pays 900]
}

// A message that comes twice within an hour is passed on once.
func ExampleTTL() {
	b := topology.New("once")
	in := topologytest.Slice("a", "b", "a", "c", "b")
	byID := topology.KeyBy(topology.From(b, "in", in), "by-id", func(id string) string { return id })
	once := topology.Process(byID, "once", func(p *topology.Processor[string, string, string]) {
		seen := topology.ValueOf[bool](p, "seen", topology.TTL(time.Hour))
		p.OnRecord(func(id string) {
			if !seen.Get() {
				p.Emit(id)
			}
			seen.Set(true)
		})
	})
	out := topologytest.Collect[string]()
	topology.To(once, "out", out)
	run(b)
	fmt.Println(out.Values())
	// Output: [a b c]
}

func ExampleMapOf() {
	b := topology.New("basket")
	type item struct {
		User, Name string
		N          int
	}
	in := topologytest.Slice(item{"ada", "pen", 2}, item{"ada", "ink", 1}, item{"ada", "pen", 1})
	byUser := topology.KeyBy(topology.From(b, "in", in), "by-user", func(i item) string { return i.User })
	baskets := topology.Process(byUser, "basket", func(p *topology.Processor[string, item, string]) {
		items := topology.MapOf[string, int](p, "items")
		log := topology.ListOf[string](p, "log")
		p.OnRecord(func(i item) {
			n, _ := items.Get(i.Name)
			items.Set(i.Name, n+i.N)
			log.Add(i.Name)
			for name, n := range items.All() {
				p.Emit(fmt.Sprint(p.Key(), " ", log.Len(), ": ", n, " ", name))
			}
		})
	})
	out := topologytest.Collect[string]()
	topology.To(baskets, "out", out)
	run(b)
	for _, line := range out.Values() {
		fmt.Println(line)
	}
	// Output:
	// ada 1: 2 pen
	// ada 2: 1 ink
	// ada 2: 2 pen
	// ada 3: 1 ink
	// ada 3: 3 pen
}
