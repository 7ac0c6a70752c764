//go:build unix

package sinks

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/troupestream/troupe/topology"
)

func init() {
	children["endless"], children["full"] = endlessChild, fullChild
}

func child(t *testing.T, name, path string, state []byte) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), "TROUPE_SINKS_CHILD="+name, "TROUPE_SINKS_PATH="+path, "TROUPE_SINKS_STATE="+string(state))
	c.Stderr = os.Stderr
	return c
}

func must[V any](v V, err error) V {
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(2)
	}
	return v
}

func openFromEnv() (w topology.SinkWriter[int], next int) {
	o := topology.SinkOpen{Job: "kill", Sink: "out", Tasks: 1, ExactlyOnce: true}
	if state := os.Getenv("TROUPE_SINKS_STATE"); state != "" {
		var c checkpoint
		must(0, json.Unmarshal([]byte(state), &c))
		o.Resumed, o.States, next = true, [][]byte{c.State}, c.Next
	}
	return must(JSONLines[int](os.Getenv("TROUPE_SINKS_PATH")).Open(context.Background(), o)), next
}

// checkpoint is what a child reports on its standard output.
type checkpoint struct {
	Next  int
	State []byte
}

// endlessChild writes numbers and takes checkpoints until it is killed.
func endlessChild() {
	w, next := openFromEnv()
	for {
		for range 7 {
			writeNumbers(w, next, 997)
			next += 997
		}
		state := must(w.Prepare(context.Background(), 1))
		fmt.Printf("%s\n", must(json.Marshal(checkpoint{next, state})))
		writeNumbers(w, next, 50_000) // beyond the buffer: it reaches the file uncommitted
		next += 50_000
	}
}

func writeNumbers(w topology.SinkWriter[int], from, n int) {
	b := new(topology.Batch[int])
	for i := range n {
		b.Values = append(b.Values, from+i)
	}
	must(0, w.Write(context.Background(), b))
}

// A process that writes a file is killed with -9 again and again, and resumes
// from the last checkpoint that it reported.
func TestFileSurvivesKill9(t *testing.T) {
	path := filepath.Join(t.TempDir(), "numbers.ndjson")
	var last []byte
	for round := range 5 {
		last = runAndKill(t, path, last, 1+round%3)
	}
	var c checkpoint
	if err := json.Unmarshal(last, &c); err != nil {
		t.Fatal(err)
	}
	w, err := JSONLines[int](path).Open(t.Context(), topology.SinkOpen{Tasks: 1, Resumed: true, States: [][]byte{c.State}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	requireNumbers(t, path, c.Next)
}

// runAndKill returns the last checkpoint that the child reported.
func runAndKill(t *testing.T, path string, state []byte, checkpoints int) []byte {
	t.Helper()
	c := child(t, "endless", path, state)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		state = bytes.Clone(lines.Bytes())
		if n+1 == checkpoints {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c.Wait(); c.ProcessState.Success() || len(state) == 0 {
		t.Fatalf("the child ended with %v, after %q", c.ProcessState, state)
	}
	return state
}

func requireNumbers(t *testing.T, path string, n int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) != n+1 || lines[n] != "" {
		t.Fatalf("the file has %d lines, want %d", len(lines)-1, n)
	}
	for i, line := range lines[:n] {
		if line != fmt.Sprint(i) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
}

// fullChild writes until its file may not grow any more, as on a full disk: a
// part of the last write goes through. It reports the checkpoint before that.
func fullChild() {
	signal.Ignore(syscall.SIGXFSZ)
	w, next := openFromEnv()
	writeNumbers(w, next, 1000)
	state := must(w.Prepare(context.Background(), 1))
	fmt.Printf("%s\n", must(json.Marshal(checkpoint{next + 1000, state})))

	must(0, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 10_001, Max: 10_001}))
	b := &topology.Batch[int]{Values: make([]int, bufferBytes)}
	err := w.Write(context.Background(), b)
	if err == nil || !strings.Contains(err.Error(), "not committed") {
		must(0, fmt.Errorf("a write beyond the limit returned %v", err))
	}
	if _, again := w.Prepare(context.Background(), 2); again == nil {
		must(0, fmt.Errorf("a checkpoint was taken after a failed write"))
	}
	w.Close()
}

func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "numbers.ndjson")
	out, err := child(t, "full", path, nil).Output()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != 10_001 {
		t.Fatalf("the file has %d bytes (%v), want 10001: the write should have gone through in part", info.Size(), err)
	}
	var c checkpoint
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatal(err)
	}
	w, err := JSONLines[int](path).Open(t.Context(), topology.SinkOpen{Tasks: 1, Resumed: true, States: [][]byte{c.State}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	requireNumbers(t, path, 1000)
}
