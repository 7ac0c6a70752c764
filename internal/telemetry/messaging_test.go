package telemetry

import (
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// recordMessaging makes every metric of the conventions have a value.
func recordMessaging(m *Messaging) {
	orders := m.Topic("orders")
	orders.Sent(3, orders.Now(), nil)
	orders.Sent(2, orders.Now(), brokenDisk{})
	orders.Received(5, orders.Now(), nil)
	orders.Received(0, orders.Now(), brokenDisk{})
	orders.Processed(orders.Now(), nil)
	orders.Processed(orders.Now(), brokenDisk{})
	orders.Settled(now.Add(-3*time.Second), now)
}

func TestMessagingMetrics(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	m, err := NewMessaging(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter(Scope))
	if err != nil {
		t.Fatal(err)
	}
	recordMessaging(m)
	if first, again := m.Topic("orders"), m.Topic("orders"); first != again {
		t.Error("a topic has two meters")
	}
	got := collect(t, reader)
	const orders, broken = "messaging.destination.name=orders", "error.type=telemetry.brokenDisk,"
	for name, want := range map[string]float64{
		"messaging.client.sent.messages{" + orders + ",messaging.operation.name=send,messaging.system=troupe}":                                           3,
		"messaging.client.sent.messages{" + broken + orders + ",messaging.operation.name=send,messaging.system=troupe}":                                  2,
		"messaging.client.consumed.messages{" + orders + ",messaging.operation.name=receive,messaging.system=troupe}":                                    5,
		"messaging.client.operation.duration sum " + orders + ",messaging.operation.name=settle,messaging.operation.type=settle,messaging.system=troupe": 3,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s = %v (present: %v), want %v", name, v, ok, want)
		}
	}
	for _, name := range []string{
		"messaging.client.operation.duration sum " + orders + ",messaging.operation.name=send,messaging.operation.type=send,messaging.system=troupe",
		"messaging.client.operation.duration sum " + broken + orders + ",messaging.operation.name=receive,messaging.operation.type=receive,messaging.system=troupe",
		"messaging.process.duration sum " + orders + ",messaging.operation.name=process,messaging.system=troupe",
		"messaging.process.duration sum " + broken + orders + ",messaging.operation.name=process,messaging.system=troupe",
	} {
		if v, ok := got[name]; !ok || v < 0 {
			t.Errorf("%s is missing", name)
		}
	}
	if len(got) != 10 {
		t.Errorf("%d series: %v", len(got), got)
	}
}

// What goes well is recorded without an allocation: it happens for every batch.
func TestRecordingAllocatesNothing(t *testing.T) {
	m, err := NewMessaging(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())).Meter(Scope))
	if err != nil {
		t.Fatal(err)
	}
	orders := m.Topic("orders")
	if n := testing.AllocsPerRun(100, func() {
		orders.Sent(256, orders.Now(), nil)
		orders.Received(256, orders.Now(), nil)
		orders.Processed(orders.Now(), nil)
	}); n != 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}
