package telemetry

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
	"go.opentelemetry.io/otel/trace"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files under testdata")

// TestGoldenNames pins every name: dashboards and alerts are built on them.
func TestGoldenNames(t *testing.T) {
	var b bytes.Buffer
	fmt.Fprintln(&b, "spans")
	for op := range Operation(len(operations)) {
		fmt.Fprintf(&b, "  %s {destination}  %s\n", op, operations[op].kind)
	}
	fmt.Fprintln(&b, "span attributes")
	for _, a := range spanAttributes {
		fmt.Fprintf(&b, "  %s\n", a)
	}
	fmt.Fprintln(&b, "metrics")
	for _, m := range everyMetric() {
		fmt.Fprintf(&b, "  %s  %s %s %v\n    %s\n", m.name, m.kind, m.unit, m.labels, m.description)
	}
	fmt.Fprintln(&b, "metrics as Prometheus names them")
	for _, name := range prometheusNames(t) {
		fmt.Fprintf(&b, "  %s\n", name)
	}
	golden(t, "testdata/names.txt", b.Bytes())
}

func everyMetric() []*metricName { return slices.Concat(metrics, conventional) }

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -rewrite accepts it):\n%s", file, got)
	}
}

// prometheusNames are the families that a scrape of a busy engine shows.
func prometheusNames(t *testing.T) []string {
	registry := prometheus.NewRegistry()
	exporter, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo(),
		promexporter.WithoutTargetInfo())
	if err != nil {
		t.Fatal(err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	instruments, err := NewInstruments(provider.Meter(Scope), busy)
	if err != nil {
		t.Fatal(err)
	}
	recordAll(instruments)
	messaging, err := NewMessaging(provider.Meter(Scope))
	if err != nil {
		t.Fatal(err)
	}
	recordMessaging(messaging)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	if n := len(everyMetric()); len(names) != n {
		t.Errorf("a scrape shows %d families, there are %d metrics", len(names), n)
	}
	return names
}

// TestConventions compares our spelling with OpenTelemetry's own constants.
func TestConventions(t *testing.T) {
	theirs := map[attribute.Key]attribute.Key{
		attrSystem:        semconv.MessagingSystemKey,
		attrOperationName: semconv.MessagingOperationNameKey,
		attrOperationType: semconv.MessagingOperationTypeKey,
		attrDestination:   semconv.MessagingDestinationNameKey,
		attrPartition:     semconv.MessagingDestinationPartitionIDKey,
		attrMessageCount:  semconv.MessagingBatchMessageCountKey,
		attrErrorType:     semconv.ErrorTypeKey,
		attrGroup:         semconv.MessagingConsumerGroupNameKey,
	}
	for ours, want := range theirs {
		if ours != want {
			t.Errorf("%q should be %q", ours, want)
		}
	}
	for _, a := range spanAttributes {
		if _, known := theirs[a]; !known && !strings.HasPrefix(string(a), "messaging.troupe.") {
			t.Errorf("%q is neither a name of the conventions nor under messaging.troupe", a)
		}
	}
	types := map[Operation]attribute.KeyValue{
		Create: semconv.MessagingOperationTypeCreate, Send: semconv.MessagingOperationTypeSend,
		Receive: semconv.MessagingOperationTypeReceive, Process: semconv.MessagingOperationTypeProcess,
		Settle: semconv.MessagingOperationTypeSettle,
	}
	for op, want := range types {
		if op.String() != want.Value.AsString() {
			t.Errorf("operation %q should be %q", op, want.Value.AsString())
		}
	}
	kinds := []trace.SpanKind{trace.SpanKindProducer, trace.SpanKindClient, trace.SpanKindClient,
		trace.SpanKindConsumer, trace.SpanKindClient}
	for op, want := range kinds {
		if got := operations[op].kind; got != want {
			t.Errorf("%s spans are %s, want %s", Operation(op), got, want)
		}
	}
}

// TestConventionalMetrics compares them with OpenTelemetry's own constructors.
func TestConventionalMetrics(t *testing.T) {
	type described interface {
		Name() string
		Unit() string
		Description() string
	}
	theirs := []described{messagingconv.ClientSentMessages{}, messagingconv.ClientConsumedMessages{},
		messagingconv.ClientOperationDuration{}, messagingconv.ProcessDuration{}}
	for i, m := range conventional {
		if m.name != theirs[i].Name() || m.unit != theirs[i].Unit() || m.description != theirs[i].Description() {
			t.Errorf("%+v should be %s, %s: %s", *m, theirs[i].Name(), theirs[i].Unit(), theirs[i].Description())
		}
	}
}

func TestMetricNamesAreUnique(t *testing.T) {
	var names []string
	for _, m := range everyMetric() {
		if m.description == "" || m.unit == "" {
			t.Errorf("metric %+v lacks its unit or its description", *m)
		}
		names = append(names, m.name)
	}
	for _, m := range metrics {
		if !strings.HasPrefix(m.name, "troupe.") || len(m.labels) > len(labels{}) {
			t.Errorf("metric %+v lacks its prefix, or has more labels than a series can tell apart", *m)
		}
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(everyMetric()) {
		t.Error("a metric is listed twice")
	}
}
