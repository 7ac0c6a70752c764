package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/troupestream/troupe/runtime"
)

// What is printed adds up, and is the same each time: what follows from the seed does not
// depend on who was how quick.
func TestRun(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	printed := runOK(t, "-n", "600", "-data", first, "-json")
	_, told, _ := strings.Cut(printed, "\n\n") // behind the progress
	golden(t, "printed.golden", strings.ReplaceAll(told, first, "DIR"))
	s := summaryIn(t, printed)
	if s.Orders != 600 || s.RevenueOrders != 600 || s.Tasks != 1200 || s.Acked+s.Dead != 1200 || s.Dead == 0 || s.Retries == 0 || s.FraudAlerts == 0 {
		t.Errorf("%+v", s)
	}
	runOK(t, "-n", "600", "-data", second, "-rate", "3000")
	same(t, "a slower shop", results(t, second), results(t, first))

	again := runOK(t, "-n", "600", "-data", first, "-json")
	if progress, _, _ := strings.Cut(again, "\n\n"); !strings.Contains(progress, "revenue    600  fraud    600 ") {
		t.Errorf("its progress is %q", progress)
	}
	if got := summaryIn(t, again); got != s {
		t.Errorf("a run that had nothing to do says %+v, and before it was %+v", got, s)
	}
	same(t, "nothing to do", results(t, first), results(t, second))
	givenUpForAReason(t, first, shop{seed: 1, orders: 600})
	drawnAsItRuns(t, first)
}

// givenUpForAReason compares what became of the tasks with what should: all are done but
// the invoices that cannot be made.
func givenUpForAReason(t *testing.T, data string, s shop) {
	var want, got []Task
	for i := range s.orders {
		o := s.order(i)
		outcome := map[string]string{"pdf": outcomeDone, "panic": "delivery-limit", "font": "rejected"}[rendered(o)]
		want = append(want, Task{Order: o.ID, Crew: "email", Outcome: outcomeDone}, Task{Order: o.ID, Crew: "pdf", Outcome: outcome})
	}
	c := company{results: (&settings{data: data}).results()}
	if err := eachLine(c.path("tasks.ndjson"), func(task Task) { got = append(got, task) }); err != nil {
		t.Fatal(err)
	}
	equal := func(a, b Task) bool { return a.Order == b.Order && a.Crew == b.Crew && a.Outcome == b.Outcome }
	if !slices.EqualFunc(got, want, equal) {
		t.Errorf("tasks %v, want %v", got, want)
	}
}

// drawnAsItRuns compares the drawing with what a run has left: groups that have worked on
// the topic, and bindings.
func drawnAsItRuns(t *testing.T, data string) {
	e, err := runtime.Open(t.Context(), runtime.DataDir((&settings{data: data}).store()))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	ran := []string{"shop " + bus.TopicName(), groupFulfilment + " " + exchangeTasks} // those that publish
	groups, err := e.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range groups {
		g, err := e.Group(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		at, err := g.Committed(t.Context(), bus.TopicName())
		if err != nil || len(at) != partitions {
			t.Errorf("group %s has committed %v, %v", name, at, err)
		}
		ran = append(ran, bus.TopicName()+" "+name)
	}
	bindings, err := e.System().Bindings(t.Context(), exchangeTasks)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bindings {
		ran = append(ran, exchangeTasks+" "+b.Queue)
	}
	var drawn []string
	for _, e := range edges(graph()) {
		drawn = append(drawn, e[0]+" "+e[1])
	}
	slices.Sort(ran)
	slices.Sort(drawn)
	if !slices.Equal(ran, drawn) {
		t.Errorf("drawn is\n%v, and there is\n%v", drawn, ran)
	}
}

// A summary that does not add up is an error that says where.
func TestCheck(t *testing.T) {
	good := Summary{Orders: 10, RevenueOrders: 10, Tasks: 20, Acked: 19, Dead: 1, charged: 10, mailed: 10, sent: 10, printed: 9, buried: 1}
	if err := good.check(10); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*Summary){
		"orders in the topic":            func(s *Summary) { s.Orders-- },
		"orders in the revenue":          func(s *Summary) { s.RevenueOrders++ },
		"orders charged":                 func(s *Summary) { s.charged-- },
		"orders charged twice":           func(s *Summary) { s.chargedTwice++ },
		"orders mailed":                  func(s *Summary) { s.mailed++ },
		"orders mailed twice":            func(s *Summary) { s.mailedTwice++ },
		"tasks":                          func(s *Summary) { s.Tasks++; s.Acked++; s.printed++ },
		"tasks acknowledged or given up": func(s *Summary) { s.Dead++; s.buried++ },
		"e-mails and invoices":           func(s *Summary) { s.printed-- },
		"tasks given up that were noted": func(s *Summary) { s.buried-- },
	} {
		s := good
		spoil(&s)
		if err := s.check(10); err == nil || !strings.Contains(err.Error(), what+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Whether an order is mailed at once, later or not at all is the seed's business, and so
// is which invoices cannot be made.
func TestTrouble(t *testing.T) {
	s := shop{seed: 1, orders: 5000}
	busy, bad := map[int]int{}, map[string]int{}
	for i := range s.orders {
		o := s.order(i)
		busy[s.busy(o.ID)]++
		bad[rendered(o)]++
	}
	if busy[0] < 4000 || busy[1] < 50 || busy[2] < 50 || busy[busyMax] < 50 || len(busy) != busyMax+1 {
		t.Errorf("busy %v", busy)
	}
	if bad["panic"] < 5 || bad["font"] < 5 || bad["pdf"] < 4900 {
		t.Errorf("invoices %v", slices.Sorted(maps.Keys(bad)))
	}
}

func rendered(o Order) (what string) {
	defer func() {
		if recover() != nil {
			what = "panic"
		}
	}()
	text, err := render(o)
	switch {
	case errors.Is(err, errFont):
		return "font"
	case err == nil && strings.HasPrefix(string(text), "%PDF-1.4\n") && strings.HasSuffix(string(text), "%%EOF\n"):
		return "pdf"
	}
	return "neither"
}
