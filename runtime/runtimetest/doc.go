// Package runtimetest tests topologies against failures, as the engine tests
// itself:
//
//   - KillLoop runs a program in a process of its own, kills it with signal 9
//     at random moments, and starts it again, until it has been through enough;
//   - ThreeWays runs a topology straight, with checkpoints at another
//     parallelism, and killed and resumed at a third, and compares what comes out.
//
// Package ledger, below this one, decides whether anything was lost or doubled.
package runtimetest
