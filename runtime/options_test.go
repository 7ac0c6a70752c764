package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// TestOptionsThatContradict are refused before anything is opened.
func TestOptionsThatContradict(t *testing.T) {
	for name, c := range map[string]struct {
		options []runtime.Option
		says    string
	}{
		"two checkpoints":          {[]runtime.Option{runtime.FromCheckpoint(1), runtime.FromSavepoint("before")}, `FromSavepoint("before")`},
		"a checkpoint, and none":   {[]runtime.Option{runtime.FromCheckpoint(1), runtime.FreshState()}, "FreshState"},
		"a savepoint, and none":    {[]runtime.Option{runtime.FreshState(), runtime.FromSavepoint("before")}, "FreshState"},
		"an end before time began": {[]runtime.Option{runtime.UntilTime(time.UnixMilli(0))}, "UntilTime"},
	} {
		e, err := runtime.Open(within(t), append(c.options, runtime.DataDir(t.TempDir()))...)
		if err == nil {
			closeEngine(t, e)
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want an error that says %s", name, err, c.says)
		}
	}
	var none context.Context
	if _, err := runtime.Open(none); err == nil {
		t.Error("no context, and no error")
	}
}

// TestAnEngineShowsStatusWhenItIsTold: on what it was told.
func TestAnEngineShowsStatusWhenItIsTold(t *testing.T) {
	var shown bytes.Buffer
	b := topology.New("shown")
	topology.To(topology.From(b, "in", sources.Slice(1, 2, 3)), "out", sinks.Discard[int]())
	e := openFaults(t, t.TempDir())
	if _, err := e.Run(within(t), b, runtime.ShowStatus(&shown)); err != nil {
		t.Fatal(err)
	}
	closeEngine(t, e)
	// Its line is cleared at the end, however short the job was.
	if !strings.HasSuffix(shown.String(), "\r\x1b[K") {
		t.Errorf("it showed %q", &shown)
	}
}

// TestAJobDoesNotWriteOverItsInput, by whatever name.
func TestAJobDoesNotWriteOverItsInput(t *testing.T) {
	dir := t.TempDir()
	in, alias := filepath.Join(dir, "in.txt"), filepath.Join(dir, "alias.txt")
	if err := os.WriteFile(in, []byte("a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(in, alias); err != nil {
		t.Fatal(err)
	}
	e := openFaults(t, t.TempDir())
	defer closeEngine(t, e)
	b := topology.New("job")
	topology.To(topology.From(b, "in", sources.Lines(in)), "out", sinks.Lines(alias))
	if _, err := e.Run(within(t), b); err == nil || !strings.Contains(err.Error(), "is being read by a source") {
		t.Errorf("it ran: %v", err)
	}
	if text, err := os.ReadFile(in); err != nil || string(text) != "a\nb\n" {
		t.Errorf("the input is %q now, %v", text, err)
	}
	// It can be written once nobody reads it.
	b = topology.New("other")
	topology.To(topology.From(b, "in", sources.Slice("c")), "out", sinks.Lines(alias))
	if _, err := e.Run(within(t), b); err != nil {
		t.Error(err)
	}
}

// TestTopicsOfItsOwn: a program neither makes nor sees those that Troupe keeps
// for itself.
func TestTopicsOfItsOwn(t *testing.T) {
	ctx := within(t)
	e := openFaults(t, t.TempDir())
	defer closeEngine(t, e)
	if _, err := e.Declare(ctx, "staging-of-mine", actor.TopicConfig{}); !errors.Is(err, actor.ErrReserved) {
		t.Errorf("declared: %v", err)
	}
	b := topology.New("job")
	topology.To(topology.From(b, "in", sources.Slice(1)), "out", topics.Of[int]("staging-of-mine").Sink())
	if _, err := e.Run(ctx, b); !errors.Is(err, actor.ErrReserved) {
		t.Errorf("used in a topology: %v", err)
	}
	if _, err := e.System().Declare(ctx, "staging-of-troupe", actor.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	if all, err := e.Topics(ctx); err != nil || len(all) > 0 {
		t.Errorf("listed: %v, %v", all, err)
	}
	none := topology.New("none")
	topology.To(topology.From(none, "in", sources.Slice(1)), "out", topics.Of[int]("orders").Partitions(0).Sink())
	if _, err := e.Run(ctx, none); err == nil || !strings.Contains(err.Error(), "topic orders: 0 partitions: there must be 1 to 1024") {
		t.Errorf("no partitions: %v", err)
	}
}

// A mistake in the environment's variables for telemetry is told at once, and
// leaves the data directory as free as it was.
func TestABadCollectorIsAnErrorOfOpen(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", ":::nonsense")
	_, err := runtime.Open(within(t), runtime.DataDir(dir))
	if want := `OTEL_EXPORTER_OTLP_ENDPOINT=":::nonsense" is not the address of a collector`; err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error %v, want one with %s", err, want)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	e, err := runtime.Open(within(t), runtime.DataDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(within(t)); err != nil {
		t.Error(err)
	}
}
