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
	for _, bad := range []string{"-max-line=0", "-max-line=x", "-lines"} {
		stderr.Reset()
		if status := run([]string{bad}, strings.NewReader("a"), &stdout, &stderr); status != 2 || !strings.Contains(stderr.String(), "-help lists the flags") {
			t.Errorf("%s: status %d: %s", bad, status, &stderr)
		}
	}
}

// A line that is too long is told with the flag that admits it, and the flag does.
func TestLongLines(t *testing.T) {
	text := "a\n" + strings.Repeat("long ", 1<<19) // 2.5 MiB
	var stdout, stderr bytes.Buffer
	status := run(nil, strings.NewReader(text), &stdout, &stderr)
	if told := stderr.String(); status != 1 || stdout.Len() > 0 || !strings.Contains(told, "input:2: the line is too long") || !strings.Contains(told, "-max-line") {
		t.Errorf("status %d: %s%s", status, &stdout, &stderr)
	}
	stderr.Reset()
	status = run([]string{"-max-line", "5000000"}, strings.NewReader(text), &stdout, &stderr)
	if status != 0 || stderr.Len() > 0 || !strings.HasPrefix(stdout.String(), "      1 a\n 524288 long\n") {
		t.Errorf("status %d: %.100s%s", status, &stdout, &stderr)
	}
}

func TestHelp(t *testing.T) {
	for _, help := range []string{"-h", "-help", "--help"} {
		var stdout, stderr bytes.Buffer
		status := run([]string{help}, strings.NewReader("a"), &stdout, &stderr)
		if told := stdout.String(); status != 0 || stderr.Len() > 0 || !strings.Contains(told, "standard input") || !strings.Contains(told, "-max-line bytes") {
			t.Errorf("%s: status %d: %s%s", help, status, &stdout, &stderr)
		}
	}
}
