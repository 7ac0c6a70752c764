// Package topologytest runs topologies in tests: the same ones that run in
// production, on slices instead of topics, on one goroutine, in virtual time.
//
//	words := topologytest.Collect[Count]()
//	topologytest.Run(t, wordcount.Topology(topologytest.Slice("a b", "b"), words))
//	// words.Values() holds the counts
//
// A Driver goes step by step: Input pushes records one at a time, Advance
// moves the clock, Snapshot and Restore stop in the middle and continue, at
// another parallelism if need be. What a topology computes must not depend on
// how its records are batched, divided and interleaved: Parallelism, BatchSize
// and Seed let a test try many ways.
package topologytest
