package routing

import (
	"fmt"
	"math"
	"testing"
)

// sharded is a consistent-hash exchange with queues of some weights.
func sharded(t *testing.T, weights ...int) *Table {
	table := table(t, Exchange{Name: "c", Type: ConsistentHash})
	for i, w := range weights {
		bindQueue(t, table, "c", fmt.Sprint("q", i), fmt.Sprint(w))
	}
	return table
}

const hashedKeys = 20_000

// owners are the queues of many keys.
func owners(t *testing.T, table *Table) []string {
	r, out, owners := table.Router(), &Result{}, make([]string, hashedKeys)
	for i := range owners {
		if err := r.Route("c", &Message{Key: fmt.Sprint("customer-", i)}, out); err != nil || len(out.Targets) != 1 {
			t.Fatalf("key %d: %v and %d targets, want one", i, err, len(out.Targets))
		}
		owners[i] = out.Targets[0].Name
	}
	return owners
}

// Shares are those of the weights: within five standard deviations of what a
// throw of dice for each key gives.
func TestSharesFollowWeights(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 2, 3, 4}, {1, 1000}, {7, 7, 7, 1, 1, 1, 20}, {5}} {
		count, sum := map[string]int{}, 0
		for _, w := range weights {
			sum += w
		}
		for _, q := range owners(t, sharded(t, weights...)) {
			count[q]++
		}
		for i, w := range weights {
			p := float64(w) / float64(sum)
			want, sigma := p*hashedKeys, math.Sqrt(hashedKeys*p*(1-p))
			if got := float64(count[fmt.Sprint("q", i)]); math.Abs(got-want) > 5*sigma {
				t.Errorf("weights %v: queue %d has %v keys, want %.0f ± %.0f", weights, i, got, want, 5*sigma)
			}
		}
	}
}

// A queue that comes takes its share from the others, and no key moves between
// those; when it goes, all is as before. So it is with a weight that grows.
func TestOnlyAShareMoves(t *testing.T) {
	table := sharded(t, 3, 1, 2, 1)
	before := owners(t, table)
	for name, c := range map[string]struct {
		queue, weight string
		share         float64 // that moves
	}{
		"a new queue":     {"new", "3", 3. / 10},
		"a larger weight": {"q1", "4", 5./11 - 1./7}, // of 1 in 7, to 5 in 11
	} {
		t.Run(name, func(t *testing.T) {
			bindQueue(t, table, "c", c.queue, c.weight)
			want := c.share * hashedKeys
			moved := 0
			for i, q := range owners(t, table) {
				if q == before[i] {
					continue
				}
				moved++
				if q != c.queue {
					t.Fatalf("key %d moved from %s to %s", i, before[i], q)
				}
			}
			if sigma := math.Sqrt(hashedKeys) / 2; math.Abs(float64(moved)-want) > 5*sigma {
				t.Errorf("%d keys moved, want %.0f ± %.0f", moved, want, 5*sigma)
			}
			apply(t, table, Unbind{Binding{Source: "c", Destination: queue(c.queue), Key: c.weight}})
			for i, q := range owners(t, table) {
				if q != before[i] {
					t.Fatalf("key %d is at %s when all is as before, and was at %s", i, q, before[i])
				}
			}
		})
	}
}

// The order of bindings does not matter, nor the process: these are the owners
// for good. A change here moves the keys of all who upgrade.
func TestOwnersAreForGood(t *testing.T) {
	table := table(t, Exchange{Name: "c", Type: ConsistentHash})
	for _, i := range []int{3, 0, 2, 1} {
		bindQueue(t, table, "c", fmt.Sprint("q", i), fmt.Sprint(i+1))
	}
	got := ""
	for _, q := range owners(t, table)[:24] {
		got += q[1:]
	}
	if want := "331301323023133333121322"; got != want {
		t.Errorf("owners are %s, want %s", got, want)
	}
}

func TestWhatIsHashed(t *testing.T) {
	header := func(v Value) Message { return Message{Headers: []Header{{"tenant", v}}} }
	for name, c := range map[string]struct {
		x       Exchange
		message func(i int) Message
		without Message
	}{
		"key":            {Exchange{}, func(i int) Message { return Message{Key: fmt.Sprint(i), CC: []string{"cc"}} }, Message{MessageID: "1", Timestamp: 3}},
		"header text":    {Exchange{HashHeader: "tenant"}, func(i int) Message { return header(Text(fmt.Sprint(i))) }, Message{Key: "k"}},
		"header int":     {Exchange{HashHeader: "tenant"}, func(i int) Message { return header(Int(int64(i))) }, Message{Key: "k"}},
		"message id":     {Exchange{HashProperty: HashMessageID}, func(i int) Message { return Message{MessageID: fmt.Sprint(i)} }, Message{Key: "k"}},
		"correlation id": {Exchange{HashProperty: HashCorrelationID}, func(i int) Message { return Message{CorrelationID: fmt.Sprint(i)} }, Message{Key: "k"}},
		"timestamp":      {Exchange{HashProperty: HashTimestamp}, func(i int) Message { return Message{Timestamp: int64(i + 1)} }, Message{Key: "k"}},
	} {
		c.x.Name, c.x.Type = "c", ConsistentHash
		table := table(t, c.x)
		for i := range 4 {
			bindQueue(t, table, "c", fmt.Sprint("q", i), "10")
		}
		reached := map[string]int{}
		for i := range 1000 {
			got := route(t, table, "c", c.message(i))
			if len(got) != 1 {
				t.Fatalf("%s: message %d reaches %q, want one queue", name, i, got)
			}
			reached[got[0]]++
		}
		for q, n := range reached {
			if n < 150 || n > 350 {
				t.Errorf("%s: %s has %d of 1000", name, q, n)
			}
		}
		one := route(t, table, "c", c.without)
		other := c.without
		other.Inside = true
		if name != "key" {
			other.Key = "another"
		}
		if two := route(t, table, "c", other); len(one) != 1 || len(two) != 1 || one[0] != two[0] {
			t.Errorf("%s: messages without it reach %q and %q, want one queue", name, one, two)
		}
	}
}
