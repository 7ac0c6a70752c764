package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/troupestream/troupe/topology"
)

// endOfInput is a moment that event time reaches only when the input ends.
var endOfInput = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)

// Topology counts words, without regard to case, and gives the totals out at
// the end of the input, in the order of the words: timers of one time fire in
// the order of their keys, and a single task has all of them.
func Topology(lines topology.Source[string], totals topology.Sink[string]) *topology.Builder {
	b := topology.New("wordcount")
	text := topology.From(b, "lines", lines)
	words := topology.FlatMap(text, "split", split)
	byWord := topology.KeyBy(words, "by-word", strings.ToLower, topology.Parallelism(1))
	counts := topology.Process(byWord, "count", func(p *topology.Processor[string, string, string]) {
		n := topology.ValueOf[int](p, "n")
		p.OnRecord(func(string) {
			n.Set(n.Get() + 1)
			p.SetEventTimer(endOfInput)
		})
		p.OnEventTimer(func(time.Time) { p.Emit(fmt.Sprintf("%7d %s", n.Get(), p.Key())) })
	})
	topology.To(counts, "totals", totals)
	return b
}

func split(line string) []string {
	return strings.FieldsFunc(line, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\'' })
}
