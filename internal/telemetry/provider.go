package telemetry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// DefaultSampleRatio is the share of records that begin a trace at a source.
const DefaultSampleRatio = 0.01

// DefaultTracesPerSecond is how many traces a task of a source begins in a
// second, whatever the ratio. With a few microseconds for each span, it bounds
// what tracing costs to a fraction of a percent of a core for each task.
const DefaultTracesPerSecond = 250

// FlushTimeout is how long Shutdown waits for a collector to take what has not
// been exported yet. One that is up takes milliseconds; one that is down must not
// hold up the end of a program.
const FlushTimeout = time.Second

// Options say where telemetry goes. The zero value leaves it to the
// environment.
type Options struct {
	// TracerProvider and MeterProvider are the caller's own; Shutdown leaves
	// them alone. nil: as the environment says, see Open.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// SampleRatio is the share of records, from 0 to 1, that begin a trace.
	// 0: as OTEL_TRACES_SAMPLER says, or DefaultSampleRatio. Negative: none.
	SampleRatio float64
	// TracesPerSecond limits the traces that each task of a source begins.
	// 0: DefaultTracesPerSecond. Negative: no limit.
	TracesPerSecond float64
	// Service is the service.name of exported telemetry unless
	// OTEL_SERVICE_NAME is set. Default "troupe".
	Service string
}

// Telemetry is what Open has set up. A nil *Telemetry is off.
type Telemetry struct {
	tracer   *Tracer
	meter    metric.Meter
	shutdown []func(context.Context) error
}

// Open sets telemetry up. For each signal without a provider it looks at the
// standard variables of OpenTelemetry, and exports only when one of them asks
// for it: OTEL_TRACES_EXPORTER or OTEL_METRICS_EXPORTER (otlp, console, none;
// prometheus for metrics), OTEL_EXPORTER_OTLP_ENDPOINT, or its forms for one
// signal. OTEL_SDK_DISABLED=true turns all of that off. The exporters read
// their further variables themselves.
func Open(ctx context.Context, o Options) (*Telemetry, error) {
	ratio, err := sampleRatio(o.SampleRatio)
	if err != nil {
		return nil, err
	}
	t := &Telemetry{}
	if err := t.open(ctx, o, ratio); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	return t, nil
}

func (t *Telemetry) open(ctx context.Context, o Options, ratio float64) error {
	tp, mp := o.TracerProvider, o.MeterProvider
	var err error
	if tp == nil && asked("TRACES") {
		if err = checkEndpoint("TRACES"); err == nil {
			tp, err = t.exportSpans(ctx, o)
		}
		if err != nil {
			return fmt.Errorf("traces cannot be exported as the OTEL_ variables say: %w", err)
		}
	}
	if mp == nil && asked("METRICS") {
		if err = checkEndpoint("METRICS"); err == nil {
			mp, err = t.exportMetrics(ctx, o)
		}
		if err != nil {
			return fmt.Errorf("metrics cannot be exported as the OTEL_ variables say: %w", err)
		}
	}
	if tp != nil {
		t.tracer = NewTracer(tp, ratio, tracesPerSecond(o.TracesPerSecond))
	}
	if mp != nil {
		t.meter = mp.Meter(Scope)
	}
	return nil
}

func (t *Telemetry) exportSpans(ctx context.Context, o Options) (trace.TracerProvider, error) {
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return nil, err
	}
	r, err := describe(ctx, o)
	if err != nil {
		return nil, err
	}
	// The ratio was applied when the record was chosen. What comes to the
	// provider is meant to be exported; sampling again would square the ratio.
	tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(r),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	t.shutdown = append(t.shutdown, func(ctx context.Context) error {
		err := tp.Shutdown(ctx)
		if err != nil { // the provider's goroutine may still be at an export: this ends it
			err = errors.Join(err, exporter.Shutdown(ctx))
		}
		return err
	})
	return tp, nil
}

func (t *Telemetry) exportMetrics(ctx context.Context, o Options) (metric.MeterProvider, error) {
	reader, err := autoexport.NewMetricReader(ctx)
	if err != nil {
		return nil, err
	}
	r, err := describe(ctx, o)
	if err != nil {
		return nil, errors.Join(err, reader.Shutdown(ctx))
	}
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(r))
	t.shutdown = append(t.shutdown, mp.Shutdown)
	return mp, nil
}

func describe(ctx context.Context, o Options) (*resource.Resource, error) {
	service := o.Service
	if service == "" {
		service = "troupe"
	}
	// What comes later wins: the environment over the program.
	return resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", service)), resource.WithFromEnv())
}

func tracesPerSecond(option float64) float64 {
	switch {
	case option < 0:
		return math.Inf(1)
	case option == 0:
		return DefaultTracesPerSecond
	default:
		return option
	}
}

// sampleRatio is the ratio that options and environment agree on.
func sampleRatio(option float64) (float64, error) {
	switch {
	case option < 0:
		return 0, nil
	case option > 1 || option != option:
		return 0, fmt.Errorf("the sample ratio must lie between 0 and 1, not be %v", option)
	case option > 0:
		return option, nil
	}
	switch s := os.Getenv("OTEL_TRACES_SAMPLER"); strings.TrimPrefix(s, "parentbased_") {
	case "always_on":
		return 1, nil
	case "always_off":
		return 0, nil
	case "traceidratio":
		return samplerArg()
	default:
		return DefaultSampleRatio, nil
	}
}

func samplerArg() (float64, error) {
	arg := os.Getenv("OTEL_TRACES_SAMPLER_ARG")
	if arg == "" {
		return 1, nil
	}
	r, err := strconv.ParseFloat(arg, 64)
	if err != nil || !(r >= 0 && r <= 1) {
		return 0, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG must be a number between 0 and 1, not %q", arg)
	}
	return r, nil
}

// Tracer returns the maker of spans; nil when traces are off.
func (t *Telemetry) Tracer() *Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// Instruments registers the metrics, with collect to be asked for their values;
// nil when metrics are off. See NewInstruments.
func (t *Telemetry) Instruments(collect func() Snapshot) (*Instruments, error) {
	if t == nil || t.meter == nil {
		return nil, nil
	}
	return NewInstruments(t.meter, collect)
}

// Messaging returns the conventions' metrics; nil when metrics are off.
func (t *Telemetry) Messaging() (*Messaging, error) {
	if t == nil || t.meter == nil {
		return nil, nil
	}
	return NewMessaging(t.meter)
}

// Shutdown exports what is still waiting, within FlushTimeout and until ctx ends,
// and ends what Open has started. What a collector has not taken by then is lost,
// and an error says so. It does nothing the second time.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, FlushTimeout)
	defer cancel()
	// At the same time: one signal's collector must not use up the other's time.
	errs := make([]error, len(t.shutdown))
	var all sync.WaitGroup
	for i, f := range t.shutdown {
		all.Go(func() { errs[i] = f(ctx) })
	}
	all.Wait()
	t.shutdown = nil
	return errors.Join(errs...)
}
