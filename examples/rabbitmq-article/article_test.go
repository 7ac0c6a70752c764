package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func runOK(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(args, &stdout, &stderr); status != 0 || stderr.Len() > 0 {
		t.Fatalf("status %d: %s%s", status, &stdout, &stderr)
	}
	return stdout.String()
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A second run in the same directory finds the exchanges and the queue as they were
// declared, and nothing in them that was not acknowledged.
func TestRun(t *testing.T) {
	data := t.TempDir()
	golden(t, "testdata/printed.golden", runOK(t, "-data", data))
	golden(t, "testdata/printed.golden", runOK(t, "-data", data))
}

// What was published and not acknowledged before is received by the next run.
func TestWhatWaitsIsThereTheNextTime(t *testing.T) {
	data := t.TempDir()
	if err := leave(t.Context(), data, "from before"); err != nil {
		t.Fatal(err)
	}
	printed := runOK(t, "-data", data)
	if !strings.HasPrefix(printed, "Message published to 1 queue\nReceived: from before\nReceived: {") {
		t.Errorf("it prints\n%s", printed)
	}
}

// leave publishes a message that nobody consumes.
func leave(ctx context.Context, data, body string) error {
	engine, err := runtime.Open(ctx, runtime.DataDir(data))
	if err != nil {
		return err
	}
	defer engine.Close(context.WithoutCancel(ctx))
	if _, err := engine.DeclareExchange(ctx, "orders", actor.ExchangeConfig{Type: actor.TopicExchange}); err != nil {
		return err
	}
	if _, err := bound(ctx, engine); err != nil {
		return err
	}
	x, err := engine.Exchange(ctx, "")
	if err != nil {
		return err
	}
	p, err := x.NewPublisher(ctx, actor.ExchangePublisherOptions{})
	if err != nil {
		return err
	}
	defer p.Close(context.WithoutCancel(ctx))
	_, err = p.PublishSync(ctx, &actor.Message{RoutingKey: "order_fulfillment", Body: []byte(body)})
	return err
}

// An exchange of that name and another type is told of.
func TestAnExchangeOfSomebodyElse(t *testing.T) {
	data := t.TempDir()
	engine, err := runtime.Open(t.Context(), runtime.DataDir(data))
	if err == nil {
		_, err = engine.DeclareExchange(t.Context(), "orders", actor.ExchangeConfig{Type: actor.Fanout})
	}
	if err == nil {
		err = engine.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if status := run([]string{"-data", data}, &stdout, &stderr); status != 1 || !strings.Contains(stderr.String(), "fanout") {
		t.Errorf("status %d: %s%s", status, &stdout, &stderr)
	}
}

func TestMistakes(t *testing.T) {
	for _, args := range [][]string{{"README.md"}, {"-host=localhost"}} {
		var stdout, stderr bytes.Buffer
		if status := run(args, &stdout, &stderr); status != 2 || !strings.Contains(stderr.String(), "-help lists the flags") {
			t.Errorf("%q: status %d: %s", args, status, &stderr)
		}
	}
	var stdout, stderr bytes.Buffer
	if status := run([]string{"-help"}, &stdout, &stderr); status != 0 || !strings.Contains(stdout.String(), "-data directory") {
		t.Errorf("-help: status %d: %s%s", status, &stdout, &stderr)
	}
}
