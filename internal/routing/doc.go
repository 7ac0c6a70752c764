// Package routing says where messages go: it is the exchanges of RabbitMQ and
// their bindings, without I/O, clock or goroutine. RabbitMQ's semantics are kept
// to the letter where a live broker could be asked (the tests hold its answers).
//
// # Table and routers
//
// A Table changes by commands, plain values that can be journalled: Apply takes
// one and returns what it changed. One goroutine applies them. Any number of
// goroutines route meanwhile, each with a Router of its own. They take no lock,
// wait for nobody and, once they are warm, allocate nothing: what they read is
// only ever replaced, by one atomic store for each change, never changed under
// them.
//
// # What a message reaches
//
// A message reaches the targets of all bindings that match, each once, however
// many match. An exchange that is reached routes it on, once, so cycles of
// exchanges end. An exchange of which no binding matches sends it to its
// alternate exchange, and so on until one matches, there is no alternate, or the
// message was there before. A binding to an exchange counts as a match even if
// that exchange has none in turn.
//
// # Where it differs from RabbitMQ
//
//   - Redeclaring compares all attributes. RabbitMQ compares only the alternate
//     exchange among the arguments.
//   - A consistent-hash exchange adds up the weights of several bindings to one
//     destination. RabbitMQ takes the first and ignores the others.
//   - Headers compare as RabbitMQ 4 does: 2 and 2.0 differ.
//   - No exchange is there from the start but the default one, and no prefix of
//     names is reserved: both are for the layer that knows who asks.
package routing
