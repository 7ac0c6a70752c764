package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
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

func TestRun(t *testing.T) { golden(t, "testdata/first.golden", runOK(t)) }

// What a run leaves in a data directory, the next one goes on from: the groups see
// what is new, once.
func TestRunAgain(t *testing.T) {
	data := t.TempDir()
	golden(t, "testdata/first.golden", runOK(t, "-data", data))
	golden(t, "testdata/second.golden", runOK(t, "-data", data))
}

func TestMistakes(t *testing.T) {
	for _, args := range [][]string{{"README.md"}, {"-brokers=localhost:9092"}} {
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

// A topic of that name with other partitions, or other contents, is told of.
func TestATopicOfSomebodyElse(t *testing.T) {
	t.Run("partitions", func(t *testing.T) { refused(t, "it has partitions 3, not 2", 3, "[]") })
	t.Run("contents", func(t *testing.T) { refused(t, "cannot be decoded", 2, "[]") })
}
