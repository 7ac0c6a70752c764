package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func small(t *testing.T, log *strings.Builder, again peer) plan {
	return plan{dir: t.TempDir(), scale: 0.0001, rounds: 2, window: 100, log: log,
		again: func(context.Context, string) (peer, func(), error) { return again, func() {}, nil }}
}

// TestEveryCell: every cell of every table has figures, from messages that were counted.
func TestEveryCell(t *testing.T) {
	at := newFake()
	var log, table, text strings.Builder
	p := small(t, &log, at)
	results, err := measureAll(t.Context(), []peer{at, at}, p)
	if err != nil {
		t.Fatal(err)
	}
	if cells := len(p.all()); len(results) != 2*cells || strings.Count(log.String(), "\n") != 4*cells {
		t.Fatalf("%d results of %d cells, and said: %s", len(results), cells, &log)
	}
	for _, r := range results {
		for _, column := range r.Columns {
			if f := r.Figures[column]; f.Median < 0 || f.Min > f.Max || f.Max == 0 && column != "woke p99 µs" {
				t.Errorf("%s %s: %s is %+v", r.Table, r.Cell, column, f)
			}
		}
	}
	if err := write(&table, results, false); err != nil || strings.Count(table.String(), "peer") != 7 {
		t.Errorf("%v\n%s", err, &table)
	}
	var again []result
	if err := errors.Join(write(&text, results, true), json.Unmarshal([]byte(text.String()), &again)); err != nil || len(again) != len(results) {
		t.Errorf("%v\n%s", err, &text)
	}
	if len(at.queues) > 0 {
		t.Errorf("queues are left: %v", at.queues)
	}
}

// TestWhatIsWrongIsNoticed: no figure comes from messages that were lost, came twice,
// were refused, or were left in the queue.
func TestWhatIsWrongIsNoticed(t *testing.T) {
	refusal := errors.New("full")
	for name, c := range map[string]struct {
		spoil func(*fake)
		want  error
	}{
		"nothing":   {func(*fake) {}, nil},
		"lost":      {func(f *fake) { f.loses = 70 }, errNotOnce},
		"twice":     {func(f *fake) { f.repeats = 70 }, errNotOnce},
		"refused":   {func(f *fake) { f.refuses = refusal }, refusal},
		"not acked": {func(f *fake) { f.unsaid = 1 }, errNotOnce},
	} {
		t.Run(name, func(t *testing.T) {
			at := newFake()
			c.spoil(at)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // a lost message is waited for
			defer cancel()
			err := onQueue(ctx, at, nil, func(queue string, _ time.Duration) error {
				_, err := flow{queue: queue, n: 1000, size: 100, pairs: 4, window: 10, ackEvery: 1}.run(ctx, at)
				return err
			})
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestArrivals(t *testing.T) {
	a := newArrivals(130)
	made := bodies{size: 8}
	for i := range 130 {
		if n, first := a.arrived(made.body(i)); n != i || !first {
			t.Fatalf("%d arrived as %d, for the first time: %t", i, n, first)
		}
	}
	<-a.all
	if err := a.check(); err != nil {
		t.Error(err)
	}
	if _, first := a.arrived(made.body(64)); first || a.check() == nil {
		t.Error("64 came for the first time twice")
	}
	for _, body := range [][]byte{nil, {1, 2, 3}, made.body(130)} {
		if _, first := newArrivals(130).arrived(body); first {
			t.Errorf("%v was sent", body)
		}
	}
}

// TestPatterns: each key is matched, and a queue is bound by different patterns.
func TestPatterns(t *testing.T) {
	for _, wild := range []bool{false, true} {
		patterns, keys := patternsOf(9, wild)
		different := map[string]bool{}
		for i, p := range patterns {
			different[p] = true
			if stem := strings.TrimRight(p, "*#"); !strings.HasPrefix(keys[i], stem) || wild != (strings.ContainsAny(strings.Join(patterns, ""), "*#")) {
				t.Errorf("%s has the key %s", p, keys[i])
			}
		}
		if len(different) != 9 {
			t.Errorf("%v", patterns)
		}
	}
}

// TestPeers: what is installed goes through a cell of each table at a small scale.
func TestPeers(t *testing.T) {
	root := os.Getenv("RABBITMQ_ROOT")
	if root == "" {
		root = "/"
	}
	for _, name := range peerNames {
		t.Run(name, func(t *testing.T) {
			if _, err := installed(root, serverScript); strings.HasPrefix(name, "rabbitmq") && err != nil {
				t.Skip(err)
			}
			open := func(ctx context.Context, name string) (peer, func(), error) {
				peers, closeAll, err := openAll(ctx, place{dir: t.TempDir(), root: root}, []string{name})
				if err != nil {
					return nil, closeAll, err
				}
				return peers[0], closeAll, nil
			}
			at, done, err := open(t.Context(), name)
			defer done()
			if err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			for _, cell := range []string{"queue 100 B, 1+1, ack each", "queue 1000 B, 4+4, ack 100", "latency 100 B", "confirm 100 B", "bindings 100, wild", "backlog", "idle", "start"} {
				results, err := measureAll(t.Context(), []peer{at}, plan{dir: t.TempDir(), scale: 0.0001, rounds: 1, window: 100, cells: cell, log: &log, again: open})
				if err != nil || len(results) != 1 {
					t.Errorf("%s: %d results, %v", cell, len(results), err)
				}
			}
		})
	}
}

// TestInterrupted: a run that is interrupted says so, and closes what it has opened.
func TestInterrupted(t *testing.T) {
	peers, closeAll, err := openAll(t.Context(), place{dir: t.TempDir()}, []string{"troupe"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var log strings.Builder
	p := small(t, &log, nil)
	p.cells = "latency 100 B"
	p.log = writer(func([]byte) { cancel() })
	if results, err := measureAll(ctx, peers, p); !errors.Is(err, context.Canceled) || len(results) > 0 {
		t.Errorf("%v, %v", results, err)
	}
	closeAll()
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

func TestAPeerThatIsNotThere(t *testing.T) {
	for name, want := range map[string]string{"rabbitmq-classic": "apt-get install rabbitmq-server", "pulsar": "no peer"} {
		_, closeAll, err := openAll(t.Context(), place{dir: t.TempDir(), root: t.TempDir()}, []string{name})
		if closeAll(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
