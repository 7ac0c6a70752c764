// Package ledger decides whether a run of a system kept its promises.
//
// A test notes in a Ledger what it sent and with which outcome, what the logs
// hold, and what the sinks received; Check then compares. The ledger belongs to
// the test, never to the system under test: what the system says about itself
// is not evidence.
//
// A verdict is green only when the check was complete. A reader that stopped
// early, or met an error, makes it UNKNOWN, which counts as red: a test that
// did not look must not pass. Classes of violations and their bounds follow the
// practice of Jepsen's Kafka and Redpanda analyses.
//
// All methods may be called from several goroutines.
package ledger
