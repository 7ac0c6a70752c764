// Package telemetry is the only place that knows OpenTelemetry's SDK, and the
// only one that names a span, an attribute or a metric.
//
// Off is the normal state, and costs nothing: a nil *Tracer hands out nil
// *Sites and nil *Samplers, whose methods return at once. What is on costs per
// batch and per sampled record, never per record.
//
// A record that is sampled gets a create span when it enters at a source. The
// context of that span travels with the record, in the columns of its batches
// and in its headers on a log, and never changes. Whoever handles a batch with
// sampled records in it makes one span for the batch, with a link to the
// create span of each of them. So one record's way is the set of spans that
// link to its create span.
package telemetry
