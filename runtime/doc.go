// Package runtime runs topologies: it opens the engine in a data directory,
// restores jobs from their checkpoints, keeps them running, and stops them in
// good order.
//
// Run is all that a program needs whose purpose is one topology:
//
//	report, err := runtime.Run(ctx, build(), runtime.DataDir("data"))
//
// Engine is the long-lived form, for programs that run several topologies or
// use topics on their own: package actor/topics publishes, reads and consumes with it.
package runtime
