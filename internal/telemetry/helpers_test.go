package telemetry

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/troupestream/troupe/internal/dataflow"
)

var encoder = attribute.DefaultEncoder()

func series[N int64 | float64](p metricdata.DataPoint[N]) string {
	return "{" + p.Attributes.Encoded(encoder) + "}"
}

// contexts returns n sampled contexts, of the records 0 to n-1.
func contexts(n int) []dataflow.Trace {
	out := make([]dataflow.Trace, n)
	for i := range out {
		out[i] = dataflow.Trace{Index: i, Context: contextOf(byte(i+1), true)}
	}
	return out
}

func contextOf(id byte, sampled bool) dataflow.TraceContext {
	c := dataflow.TraceContext{TraceID: [16]byte{id, 15: 7}, SpanID: [8]byte{id, 7: 9}}
	if sampled {
		c.Flags = byte(trace.FlagsSampled)
	}
	return c
}

// attributeLine renders attributes as "key=value key=value" in their order.
func attributeLine(kv []attribute.KeyValue) string {
	var parts []string
	for _, a := range kv {
		parts = append(parts, string(a.Key)+"="+a.Value.String())
	}
	return strings.Join(parts, " ")
}
