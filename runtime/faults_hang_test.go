package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
	"github.com/troupestream/troupe/topology"
)

// hang is user code that does not return in one place, whatever its context
// says, until it is released.
type hang struct {
	where   string
	reached chan struct{}
	release chan struct{}
	wrote   chan struct{}
}

func newHang(where string) *hang {
	return &hang{where, make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)}
}

func (h *hang) at(where string) {
	if h.where != where {
		return
	}
	select {
	case <-h.reached:
	default:
		close(h.reached)
	}
	<-h.release
}

type hangingSource struct{ *hang }

func (s hangingSource) Splits(context.Context) ([]string, error) {
	s.at("Splits")
	return []string{"only"}, nil
}

func (s hangingSource) Open(context.Context, topology.OpenRequest) (topology.SourceReader[int], error) {
	s.at("source Open")
	return hangingReader(s), nil
}

type hangingReader struct{ *hang }

func (r hangingReader) Read(ctx context.Context, b *topology.Batch[int], _ int) error {
	r.at("Read")
	b.Values = append(b.Values, 1)
	return ctx.Err()
}
func (hangingReader) Position() []byte { return []byte{} }
func (hangingReader) Lag() int64       { return -1 }
func (hangingReader) Close() error     { return nil }

type hangingSink struct{ *hang }

func (hangingSink) Info() topology.SinkInfo { return topology.SinkInfo{} }
func (s hangingSink) Open(context.Context, topology.SinkOpen) (topology.SinkWriter[int], error) {
	s.at("sink Open")
	return hangingWriter(s), nil
}

type hangingWriter struct{ *hang }

func (w hangingWriter) Write(context.Context, *topology.Batch[int]) error {
	w.at("Write")
	select {
	case w.wrote <- struct{}{}:
	default:
	}
	return nil
}
func (w hangingWriter) Close() error                         { w.at("Close"); return nil }
func (w hangingWriter) Commit(context.Context, uint64) error { return nil }
func (w hangingWriter) Prepare(context.Context, uint64) ([]byte, error) {
	w.at("Prepare")
	return nil, nil
}

func hangingTopology(h *hang) *topology.Builder {
	b := topology.New("hanging")
	in := topology.From(b, "in", hangingSource{h})
	out := topology.Map(in, "work", func(v int) int { h.at("Map"); return v })
	topology.To(out, "out", hangingSink{h})
	return b
}

// A job whose user code does not return is given up in bounded time, by name,
// and holds neither its engine nor its process.
func TestUserCodeThatDoesNotReturnIsNamed(t *testing.T) {
	for where, who := range map[string]string{
		"Splits": `source "in"`, "source Open": `source "in"`, "Read": `source "in"`, "Map": "task in-0 (in, work)",
		"sink Open": `sink "out"`, "Write": `sink "out"`, "Prepare": `sink "out"`, "Close": "closing out-0",
	} {
		t.Run(where, func(t *testing.T) {
			h, dir := newHang(where), t.TempDir()
			e := openFaults(t, dir)
			j, err := e.Start(within(t), hangingTopology(h), runtime.StopTimeout(10*time.Millisecond), runtime.KillTimeout(10*time.Millisecond),
				runtime.CheckpointEvery(time.Millisecond), runtime.Parallelism(1))
			if err != nil {
				t.Fatal(err)
			}
			if where == "Close" {
				<-h.wrote
			} else {
				<-h.reached
			}
			_, err = j.Stop(within(t))
			if !errors.Is(err, runtime.ErrHanging) || !strings.Contains(err.Error(), who) || strings.Contains(err.Error(), "\n") {
				t.Errorf("err = %v, want %s in it", err, who)
			}
			if err := j.Kill(within(t)); !errors.Is(err, runtime.ErrHanging) {
				t.Errorf("killed, err = %v", err)
			}
			if err := e.Close(within(t)); err != nil {
				t.Errorf("Close: %v", err)
			}
			again := openFaults(t, dir) // the directory is free
			closeEngine(t, again)
			close(h.release)
			<-j.Done() // what was given up ends all the same, if it can
		})
	}
}

// A process whose sink hangs ends at SIGTERM.
func TestASignalEndsAProcessThatHangs(t *testing.T) {
	t.Parallel()
	dir := runtimetest.Dir(t)
	p := runtimetest.Spawn(t, func(ctx context.Context) error {
		h := newHang("Write")
		go func() { <-h.reached; fmt.Println("the sink hangs") }()
		_, err := runtime.Run(ctx, hangingTopology(h), runtime.DataDir(filepath.Join(dir, "data")), runtime.Logger(quiet),
			runtime.StopTimeout(10*time.Millisecond), runtime.KillTimeout(10*time.Millisecond))
		if !errors.Is(err, runtime.ErrHanging) {
			return fmt.Errorf("Run returned %w", err)
		}
		fmt.Println(err)
		return nil
	})
	p.Await(within(t), "the sink hangs")
	p.Signal(syscall.SIGTERM)
	p.Await(within(t), `sink "out"`)
	if status := p.Wait(); status != 0 {
		t.Errorf("status %d\n%s", status, p.Output())
	}
}
