// Package topology declares what a job computes: streams of typed records,
// from sources through operators to sinks.
//
// Operators are free functions over small handles, Stream and Keyed. Each
// takes the streams it reads, a name, its parameters, a function, and options:
//
//	b := topology.New("wordcount")
//	lines := topology.From(b, "lines", source)
//	words := topology.FlatMap(lines, "split", strings.Fields)
//	byWord := topology.KeyBy(words, "by-word", strings.ToLower)
//
// Names are required. They key checkpoints and label metrics, spans and
// drawings, so choose a word one would use aloud and keep it.
//
// Nothing here panics or returns an error one call at a time: Build reports
// all mistakes at once, and returns a Graph, which a runtime runs and
// topologytest tests.
package topology
