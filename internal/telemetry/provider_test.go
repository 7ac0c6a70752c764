package telemetry

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/troupestream/troupe/internal/dataflow"
)

var variables = []string{"OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT",
	"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_SDK_DISABLED",
	"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_PROTOCOL",
	"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"}

// setenv sets the variables given as pairs and empties all the others.
func setenv(t *testing.T, pairs ...string) {
	t.Helper()
	for _, v := range variables {
		t.Setenv(v, "")
	}
	for i := 0; i < len(pairs); i += 2 {
		t.Setenv(pairs[i], pairs[i+1])
	}
}

func open(t *testing.T, o Options) *Telemetry {
	t.Helper()
	tel, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

func TestEnvironmentDecides(t *testing.T) {
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer collector.Close()
	endpoint := collector.URL
	for _, c := range []struct {
		name             string
		env              []string
		traces, readings bool
	}{
		{"nothing set", nil, false, false},
		{"endpoint", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", endpoint}, true, true},
		{"endpoint for traces", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint}, true, false},
		{"endpoint for metrics", []string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint}, false, true},
		{"exporters", []string{"OTEL_TRACES_EXPORTER", "console", "OTEL_METRICS_EXPORTER", "none"}, true, false},
		{"none beats endpoint", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", endpoint, "OTEL_TRACES_EXPORTER", "none"}, false, true},
		{"host and port over gRPC", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, true, false},
		{"an endpoint that nothing uses", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", ":::", "OTEL_TRACES_EXPORTER", "console", "OTEL_METRICS_EXPORTER", "none"}, true, false},
		{"disabled", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", endpoint, "OTEL_SDK_DISABLED", "TRUE"}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			setenv(t, c.env...)
			tel := open(t, Options{})
			defer shutdown(t, tel)
			instruments, err := tel.Instruments(busy)
			if err != nil {
				t.Fatal(err)
			}
			if on := tel.Tracer() != nil; on != c.traces {
				t.Errorf("traces on: %v, want %v", on, c.traces)
			}
			if on := instruments != nil; on != c.readings {
				t.Errorf("metrics on: %v, want %v", on, c.readings)
			}
		})
	}
}

func shutdown(t *testing.T, tel *Telemetry) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestBadEnvironmentIsRefused(t *testing.T) {
	for want, env := range map[string][]string{
		"traces cannot be exported":               {"OTEL_TRACES_EXPORTER", "pigeon"},
		"metrics cannot be exported":              {"OTEL_METRICS_EXPORTER", "pigeon"},
		"OTEL_TRACES_SAMPLER_ARG must be":         {"OTEL_TRACES_SAMPLER", "traceidratio", "OTEL_TRACES_SAMPLER_ARG", "2"},
		"the OTEL_ variables say: invalid OTLP p": {"OTEL_TRACES_EXPORTER", "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL", "pigeon"},
		`OTEL_EXPORTER_OTLP_ENDPOINT=":::nonsense" is not the address of a collector: missing protocol scheme; set it to`: {
			"OTEL_EXPORTER_OTLP_ENDPOINT", ":::nonsense"},
		`OTEL_EXPORTER_OTLP_ENDPOINT="http://[::1" is not the address of a collector: missing ']' in host; set it to`: {
			"OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1"},
		`OTEL_EXPORTER_OTLP_ENDPOINT="localhost:4318" is not the address of a collector: it must begin with http://`: {
			"OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"},
		`OTEL_EXPORTER_OTLP_ENDPOINT="http://" is not`: {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"},
		`metrics cannot be exported as the OTEL_ variables say: OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="ftp://x" is not`: {
			"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "ftp://x"},
	} {
		setenv(t, env...)
		if _, err := Open(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one with %q", env, err, want)
		}
	}
}

func TestSampleRatio(t *testing.T) {
	for _, c := range []struct {
		option float64
		env    []string
		want   float64
	}{
		{0, nil, DefaultSampleRatio},
		{0.25, []string{"OTEL_TRACES_SAMPLER", "always_off"}, 0.25},
		{-1, []string{"OTEL_TRACES_SAMPLER", "always_on"}, 0},
		{0, []string{"OTEL_TRACES_SAMPLER", "always_on"}, 1},
		{0, []string{"OTEL_TRACES_SAMPLER", "parentbased_always_off"}, 0},
		{0, []string{"OTEL_TRACES_SAMPLER", "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG", "0.5"}, 0.5},
		{0, []string{"OTEL_TRACES_SAMPLER", "traceidratio"}, 1},
	} {
		setenv(t, c.env...)
		if got, err := sampleRatio(c.option); err != nil || got != c.want {
			t.Errorf("option %v, environment %v: %v, %v; want %v", c.option, c.env, got, err, c.want)
		}
	}
	for _, bad := range []float64{1.5, math.NaN(), math.Inf(1)} {
		if _, err := sampleRatio(bad); err == nil {
			t.Errorf("ratio %v was accepted", bad)
		}
	}
}

func TestOwnProvidersAreUsedAndLeftAlone(t *testing.T) {
	setenv(t, "OTEL_SDK_DISABLED", "true") // speaks of our own SDK, not of theirs
	spans, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	tel := open(t, Options{TracerProvider: tp, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), SampleRatio: 1})
	if _, err := tel.Instruments(busy); err != nil {
		t.Fatal(err)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	tel.Tracer().Site(Send, Place{Topic: "x"}).Start(1, contexts(1)).End(nil)
	if len(spans.Ended()) != 1 || len(collect(t, reader)) == 0 {
		t.Error("the caller's providers were shut down")
	}
}

// TestShutdownFlushes exports to a collector of our own over OTLP.
func TestShutdownFlushes(t *testing.T) {
	var mu sync.Mutex
	bodies := map[string]string{}
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies[r.URL.Path] += string(body)
	}))
	defer collector.Close()
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	tel := open(t, Options{SampleRatio: 1, Service: "quakes-app"})
	if _, err := tel.Instruments(busy); err != nil {
		t.Fatal(err)
	}
	m, err := tel.Messaging()
	if err != nil {
		t.Fatal(err)
	}
	m.Topic("orders").Sent(1, now, nil)
	var c dataflow.Columns
	tel.Tracer().Sampler(1).Sample(tel.Tracer().Site(Create, Place{Operator: "lines"}), &c, 1, 0)
	tel.Tracer().Site(Process, Place{Operator: "parse"}).Start(1, c.Traces).End(nil)
	shutdown(t, tel)
	shutdown(t, tel) // the second time has nothing to do
	mu.Lock()
	defer mu.Unlock()
	for path, want := range map[string][]string{
		"/v1/traces":  {"create lines", "process parse", "quakes-app"},
		"/v1/metrics": {"troupe.operator.records.in", "messaging.client.sent.messages", "quakes-app"},
	} {
		for _, w := range want {
			if !strings.Contains(bodies[path], w) {
				t.Errorf("the collector was not told %q at %s", w, path)
			}
		}
	}
}

// TestShutdownGivesUp has a collector that takes the connection and never answers:
// what Open has started is gone all the same, and the error says what was not done.
// Should Shutdown wait for the exporter's own time-outs, this fails by its deadline.
func TestShutdownGivesUp(t *testing.T) {
	silent := make(chan struct{})
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silent }))
	defer collector.Close()
	defer close(silent)
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	tel := open(t, Options{SampleRatio: 1})
	if _, err := tel.Instruments(busy); err != nil {
		t.Fatal(err)
	}
	var c dataflow.Columns
	tel.Tracer().Sampler(1).Sample(tel.Tracer().Site(Create, Place{Operator: "lines"}), &c, 1, 0)
	// The context has no end of its own: the limit is Shutdown's.
	if err := tel.Shutdown(context.Background()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that the time was up", err)
	}
}
