package topology_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/troupestream/troupe/topology"
	"github.com/troupestream/troupe/topology/topologytest"
)

// run runs a topology; a real program hands it to the runtime.
func run(b *topology.Builder) {
	if err := topologytest.Execute(b); err != nil {
		fmt.Println(err)
	}
}

type Count struct {
	Word string
	N    int
}

// A topology is a function from sources to sinks: production passes topics,
// and a test passes slices.
func WordCount(lines topology.Source[string], counts topology.Sink[Count]) *topology.Builder {
	b := topology.New("wordcount")
	text := topology.From(b, "lines", lines)
	words := topology.FlatMap(text, "split", strings.Fields)
	byWord := topology.KeyBy(words, "by-word", strings.ToLower)
	totals := topology.Fold(byWord, "count", func(word string, c Count, _ string) Count {
		return Count{Word: word, N: c.N + 1}
	})
	topology.To(totals, "counts", counts)
	return b
}

func Example() {
	counts := topologytest.Collect[Count]()
	run(WordCount(topologytest.Slice("to be or", "not to be"), counts))
	for _, c := range counts.Values() {
		fmt.Println(c.Word, c.N)
	}
	// Unordered output:
	// to 1
	// be 1
	// or 1
	// not 1
	// to 2
	// be 2
}

func ExampleMap() {
	b := topology.New("lengths")
	words := topology.From(b, "words", topologytest.Slice("a", "bcd", "ef"))
	lengths := topology.Map(words, "length", func(w string) int { return len(w) })
	out := topologytest.Collect[int]()
	topology.To(lengths, "out", out)
	run(b)
	fmt.Println(out.Values())
	// Output: [1 3 2]
}

func ExampleFilter() {
	b := topology.New("evens")
	numbers := topology.From(b, "numbers", topologytest.Slice(1, 2, 3, 4))
	even := topology.Filter(numbers, "even", func(n int) bool { return n%2 == 0 })
	out := topologytest.Collect[int]()
	topology.To(even, "out", out)
	run(b)
	fmt.Println(out.Values())
	// Output: [2 4]
}

func ExampleFlatMap() {
	b := topology.New("words")
	lines := topology.From(b, "lines", topologytest.Slice("a rose", "", "is a rose"))
	words := topology.FlatMap(lines, "split", strings.Fields)
	out := topologytest.Collect[string]()
	topology.To(words, "out", out)
	run(b)
	fmt.Println(out.Values())
	// Output: [a rose is a rose]
}

func ExampleTry() {
	b := topology.New("parse")
	lines := topology.From(b, "lines", topologytest.Slice("1", "two", "3"))
	numbers, failed := topology.Try(lines, "parse", strconv.Atoi)
	good, bad := topologytest.Collect[int](), topologytest.Collect[topology.Failed[string]]()
	topology.To(numbers, "numbers", good)
	topology.To(failed, "bad", bad)
	run(b)
	fmt.Println(good.Values())
	fmt.Println(bad.Values()[0].Value, "→", bad.Values()[0].Err)
	// Output:
	// [1 3]
	// two → strconv.Atoi: parsing "two": invalid syntax
}

func ExampleSplit() {
	b := topology.New("sizes")
	orders := topology.From(b, "orders", topologytest.Slice(5, 500, 50_000))
	s := topology.Split(orders, "by-size",
		func(eur int) bool { return eur >= 10_000 },
		func(eur int) bool { return eur >= 100 })
	large, medium, small := topologytest.Collect[int](), topologytest.Collect[int](), topologytest.Collect[int]()
	topology.To(s[0], "large", large)
	topology.To(s[1], "medium", medium)
	topology.To(s[2], "small", small)
	run(b)
	fmt.Println(large.Values(), medium.Values(), small.Values())
	// Output: [50000] [500] [5]
}

func ExampleMerge() {
	b := topology.New("both")
	web := topology.From(b, "web", topologytest.Slice("web"))
	app := topology.From(b, "app", topologytest.Slice("app"))
	out := topologytest.Collect[string]()
	topology.To(topology.Merge(web, "orders", app), "out", out)
	run(b)
	all := out.Values()
	slices.Sort(all)
	fmt.Println(all)
	// Output: [app web]
}

func ExampleThrough() {
	parsed := topologytest.Topic[int]("parsed")
	b := topology.New("through")
	lines := topology.From(b, "lines", topologytest.Slice("1", "2"))
	numbers := topology.Map(lines, "length", func(s string) int { return len(s) })
	durable := topology.Through(numbers, "parsed", parsed)
	out := topologytest.Collect[int]()
	topology.To(durable, "out", out)
	run(b)
	fmt.Println(parsed.Values(), out.Values())
	// Output: [1 1] [1 1]
}

func ExampleOnError() {
	b := topology.New("inverses")
	numbers := topology.From(b, "numbers", topologytest.Slice(1, 0, 5))
	inverse := topology.Map(numbers, "inverse", func(n int) int { return 10 / n },
		topology.OnError(topology.Retry(1, 0), topology.Skip()))
	out := topologytest.Collect[int]()
	topology.To(inverse, "out", out)
	run(b)
	fmt.Println(out.Values())
	// Output: [10 2]
}

type Reading struct {
	Sensor string
	At     time.Time
	Value  int
}

func ExampleWindowFold() {
	at := func(min int) time.Time { return time.Date(2026, 1, 1, 12, min, 0, 0, time.UTC) }
	b := topology.New("maxima")
	readings := topology.From(b, "readings", topologytest.Slice(
		Reading{"a", at(1), 7}, Reading{"a", at(12), 3}, Reading{"a", at(9), 8}))
	timed := topology.EventTime(readings, "time", 5*time.Minute, func(r Reading) time.Time { return r.At })
	bySensor := topology.KeyBy(timed, "by-sensor", func(r Reading) string { return r.Sensor })
	maxima, late := topology.WindowFold(bySensor, "maximum", topology.Tumbling(10*time.Minute),
		func(_ string, most int, r Reading) int { return max(most, r.Value) })
	out, tooLate := topologytest.Collect[topology.Window[string, int]](), topologytest.Collect[topology.Late[Reading]]()
	topology.To(maxima, "maxima", out)
	topology.To(late, "late", tooLate)
	run(b)
	for _, w := range out.Values() {
		fmt.Println(w.Key, w.Start.Format("15:04"), w.Value)
	}
	fmt.Println(len(tooLate.Values()), "late")
	// Output:
	// a 12:00 8
	// a 12:10 3
	// 0 late
}

func ExampleGraph_Mermaid() {
	g, err := WordCount(topologytest.Slice[string](), topologytest.Collect[Count]()).Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(g.Mermaid())
	// Output:
	// flowchart LR
	//     n0(["lines<br/>source"])
	//     n1["split<br/>flat-map"]
	//     n2{{"by-word<br/>key-by"}}
	//     n3[("count<br/>fold")]
	//     n4[["counts<br/>sink"]]
	//     n0 -->|"string"| n1
	//     n1 -->|"string"| n2
	//     n2 -->|"string → string"| n3
	//     n3 -->|"topology_test.Count"| n4
}

func ExampleBuilder_Build() {
	b := topology.New("careless")
	lines := topology.From(b, "lines", topologytest.Slice("1"))
	topology.Map(lines, "Upper Case", strings.ToUpper)
	_, err := b.Build()
	fmt.Println(err)
	// Output:
	// topology "careless" cannot be built:
	//   map "Upper Case": a name is 1 to 63 lower-case letters, digits and dashes, a letter first: "upper-case" would do
	//   topology "careless" has no sink: end it with To
	//   map "Upper Case" leads nowhere: read it with an operator, or write it to a sink
}
