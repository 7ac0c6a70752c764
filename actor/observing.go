package actor

import (
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/telemetry"
)

// WithTelemetry sets where spans and the metrics of topics go. Either may be nil.
func WithTelemetry(t *telemetry.Tracer, m *telemetry.Messaging) Option {
	return func(s *System) { s.tracer, s.messaging = t, m }
}

// Tracer is what makes the spans of the system; nil when there are none.
func (s *System) Tracer() *telemetry.Tracer { return s.tracer }

// meter records what is done with a topic; nil when nothing does. Topics that
// Troupe keeps for itself have none.
func (s *System) meter(topic string) *telemetry.TopicMeter {
	if Internal(topic) {
		return nil
	}
	return s.messaging.Topic(topic)
}

// observed is what telemetry has to do with one split of a source.
type observed struct {
	create, process *telemetry.Site
	receive, settle *telemetry.Site // only of a topic's partition
	meter           *telemetry.TopicMeter

	open receipt // read since the last barrier
}

// settles says whether anybody wants to know.
func (o *observed) settles() bool { return o.settle != nil || o.meter != nil }

// received notes a batch that was read, and makes its span.
func (o *observed) received(f *filled, traces []dataflow.Trace) {
	if !o.settles() {
		return
	}
	o.open.records += f.records
	if o.receive == nil || len(traces) == 0 {
		return
	}
	var l telemetry.Links
	l.Add(traces)
	o.receive.Past(f.records, &l, f.began, f.ended)
	o.open.links.Merge(&l)
}
