package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/topology/topologytest"
)

var update = flag.Bool("update", false, "write the golden file anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	in, err := os.Open("testdata/tale.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var stdout, stderr bytes.Buffer
	if status := run(nil, in, &stdout, &stderr); status != 0 || stderr.Len() > 0 {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	const path = "testdata/tale.golden"
	if *update {
		if err := os.WriteFile(path, stdout.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if stdout.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", &stdout, want)
	}
}

// The topology is the same one on slices, batched and interleaved in any way.
func TestTopology(t *testing.T) {
	for seed := range uint64(20) {
		totals := topologytest.Collect[string]()
		topologytest.Run(t, Topology(topologytest.Slice("b a", "", "A c-b", "B"), totals),
			topologytest.Seed(seed), topologytest.BatchSize(1+int(seed%3)))
		if got := strings.Join(totals.Values(), ","); got != "      2 a,      3 b,      1 c" {
			t.Errorf("seed %d: %s", seed, got)
		}
	}
}

func TestMistakes(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if status := run([]string{"README.md"}, strings.NewReader("a"), &stdout, &stderr); status != 2 || !strings.Contains(stderr.String(), "wordcount <README.md") {
		t.Errorf("status %d: %s", status, &stderr)
	}
	stderr.Reset()
	long := strings.NewReader("a\n" + strings.Repeat("long", 1<<20))
	if status := run(nil, long, &stdout, &stderr); status != 1 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "input:2: the line is too long") {
		t.Errorf("status %d: %s%s", status, &stdout, &stderr)
	}
}
