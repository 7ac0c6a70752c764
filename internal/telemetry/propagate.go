package telemetry

import (
	"go.opentelemetry.io/otel/trace"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
)

// The record headers of the W3C Trace Context.
const (
	TraceParent = "traceparent"
	TraceState  = "tracestate"
)

// parentLength is the length of a traceparent of version 00:
// 2 hex version, 32 hex trace id, 16 hex span id, 2 hex flags, 3 dashes.
const parentLength = 55

// known are the flags that version 00 defines: sampled and random.
const known = byte(trace.FlagsSampled | trace.FlagsRandom)

const hexDigits = "0123456789abcdef"

// AppendTraceParent appends the traceparent header value of a context.
func AppendTraceParent(dst []byte, c *dataflow.TraceContext) []byte {
	dst = append(dst, "00-"...)
	dst = appendHex(dst, c.TraceID[:])
	dst = append(dst, '-')
	dst = appendHex(dst, c.SpanID[:])
	flags := c.Flags & known
	return append(dst, '-', hexDigits[flags>>4], hexDigits[flags&15])
}

func appendHex(dst, src []byte) []byte {
	for _, b := range src {
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return dst
}

// ParseTraceParent parses a traceparent header value. It does not allocate.
// A version above 00 is read as 00, and may have more behind it, as the
// standard asks; version ff, ids of zeros and capital letters are refused.
func ParseTraceParent(s []byte) (c dataflow.TraceContext, ok bool) {
	if len(s) < parentLength || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return c, false
	}
	var version, flags [1]byte
	if !parseHex(version[:], s[0:2]) || !parseHex(c.TraceID[:], s[3:35]) ||
		!parseHex(c.SpanID[:], s[36:52]) || !parseHex(flags[:], s[53:55]) {
		return dataflow.TraceContext{}, false
	}
	if !acceptable(version[0], flags[0], s[parentLength:]) || c.TraceID == [16]byte{} || c.SpanID == [8]byte{} {
		return dataflow.TraceContext{}, false
	}
	c.Flags = flags[0] & known
	return c, true
}

func acceptable(version, flags byte, rest []byte) bool {
	if version == 0 {
		return len(rest) == 0 && flags <= known
	}
	return version != 0xff && (len(rest) == 0 || rest[0] == '-')
}

func parseHex(dst, src []byte) bool {
	for i := range dst {
		hi, lo := unhex(src[2*i]), unhex(src[2*i+1])
		if hi|lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	default:
		return 0xff
	}
}

// Extract finds the trace context in a record's headers. When a header repeats
// the first one counts. A tracestate that breaks the standard's rules is left
// out and does not harm the traceparent.
func Extract(headers []codec.Header) (c dataflow.TraceContext, ok bool) {
	for i := range headers {
		if headers[i].Key == TraceParent {
			if c, ok = ParseTraceParent(headers[i].Value); ok {
				c.State = extractState(headers)
			}
			return c, ok
		}
	}
	return c, false
}

func extractState(headers []codec.Header) string {
	for i := range headers {
		if headers[i].Key == TraceState {
			state, _ := trace.ParseTraceState(string(headers[i].Value))
			return state.String()
		}
	}
	return ""
}

// Traces are the contexts that records carry in their headers.
func Traces(records []codec.Record) (traces []dataflow.Trace) {
	for i := range records {
		if len(records[i].Headers) == 0 {
			continue
		}
		if c, ok := Extract(records[i].Headers); ok {
			traces = append(traces, dataflow.Trace{Index: i, Context: c})
		}
	}
	return traces
}

// Inject returns headers with the trace context c in place of any that was
// there. The slice that was given is not changed.
func Inject(headers []codec.Header, c *dataflow.TraceContext) []codec.Header {
	out := make([]codec.Header, 0, len(headers)+2)
	for _, h := range headers {
		if h.Key != TraceParent && h.Key != TraceState {
			out = append(out, h)
		}
	}
	out = append(out, codec.Header{Key: TraceParent, Value: AppendTraceParent(make([]byte, 0, parentLength), c)})
	if c.State != "" {
		out = append(out, codec.Header{Key: TraceState, Value: []byte(c.State)})
	}
	return out
}

// Sampled says whether the spans of a context are recorded.
func Sampled(c *dataflow.TraceContext) bool { return c.Flags&byte(trace.FlagsSampled) != 0 }

// SpanContext is a context as OpenTelemetry knows it, from elsewhere.
func SpanContext(c *dataflow.TraceContext) trace.SpanContext {
	config := trace.SpanContextConfig{TraceID: c.TraceID, SpanID: c.SpanID,
		TraceFlags: trace.TraceFlags(c.Flags & known), Remote: true}
	if c.State != "" {
		config.TraceState, _ = trace.ParseTraceState(c.State)
	}
	return trace.NewSpanContext(config)
}

// FromSpanContext is the reverse of SpanContext.
func FromSpanContext(sc trace.SpanContext) dataflow.TraceContext {
	return dataflow.TraceContext{TraceID: sc.TraceID(), SpanID: sc.SpanID(),
		Flags: byte(sc.TraceFlags()) & known, State: sc.TraceState().String()}
}
