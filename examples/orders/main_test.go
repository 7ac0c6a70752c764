package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

// asProgram makes the test binary behave as the program: see TestStopAndGoOn.
const asProgram = "ORDERS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// golden compares text with a file, which is in testdata unless it is there to be read.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := name
	if filepath.Ext(name) == ".golden" {
		path = filepath.Join("testdata", name)
	}
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
		t.Errorf("%s differs: got\n%s\nwant\n%s", name, got, want)
	}
}

// runOK runs the program in this process and returns what it printed.
func runOK(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(args, &stdout, &stderr); status != 0 || stderr.Len() > 0 {
		t.Fatalf("status %d: %s%s", status, &stdout, &stderr)
	}
	return stdout.String()
}

// summaryIn is the last line of what was printed.
func summaryIn(t *testing.T, printed string) (s Summary) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	d := json.NewDecoder(strings.NewReader(lines[len(lines)-1]))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatalf("the last line is no summary: %v: %s", err, printed)
	}
	return s
}

// results are the files of a run, by name. Those of the world outside are in the order
// in which things were asked for, which is another in every run.
func results(t *testing.T, data string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"revenue", "alerts", "tasks", "bank", "mail"} {
		text, err := os.ReadFile(filepath.Join(data, "results", name+".ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	for _, name := range []string{"bank", "mail"} {
		lines := strings.Split(all[name], "\n")
		slices.Sort(lines)
		all[name] = strings.Join(lines, "\n")
	}
	return all
}

// same compares results without printing them: they are large.
func same(t *testing.T, how string, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %s is %d bytes and not the %d of the unbroken run, or differs", how, name, len(got[name]), len(want[name]))
		}
	}
}

// article is the picture that this is the program of.
const article = `graph LR
API --> Kafka[Kafka - Event Bus]
Kafka --> Analytics
Kafka --> Fraud
Kafka --> Fulfillment
Fulfillment --> RabbitMQ[RabbitMQ - Task Queue]
RabbitMQ --> Worker1[Email Worker]
RabbitMQ --> Worker2[PDF Worker]
`

func TestGraph(t *testing.T) {
	drawn := runOK(t, "-graph")
	golden(t, "graph.md", "# Who gives what to whom\n\n```mermaid\n"+drawn+"```\n")
	names := map[string]string{"API": "shop", "Kafka": "orders", "Analytics": "analytics", "Fraud": "fraud",
		"Fulfillment": "fulfilment", "RabbitMQ": "tasks", "Worker1": "email", "Worker2": "pdf"}
	var want []string
	for _, e := range edges(article) {
		want = append(want, names[e[0]]+" "+names[e[1]])
	}
	var got []string
	for _, e := range edges(drawn) {
		got = append(got, e[0]+" "+e[1])
	}
	if !slices.Equal(got, want) || !strings.HasPrefix(drawn, "graph LR\n") {
		t.Errorf("drawn is %q, and the article has %q", got, want)
	}
}

// edges are those of a drawing, by the names of the nodes.
func edges(drawing string) (all [][2]string) {
	name := func(node string) string {
		node, _, _ = strings.Cut(strings.TrimSpace(node), "[")
		return node
	}
	for line := range strings.Lines(drawing) {
		if from, to, ok := strings.Cut(line, " --> "); ok {
			all = append(all, [2]string{name(from), name(to)})
		}
	}
	return all
}

func TestMistakes(t *testing.T) {
	taken := t.TempDir()
	if err := os.WriteFile(filepath.Join(taken, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	used := filepath.Join(taken, "used")
	if err := (&settings{shop: shop{seed: 1, orders: 3}, data: used}).prepare(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"orders.d"}, 2, `"orders.d" is not a flag; orders -help lists the flags`},
		{[]string{"-brokers", "x"}, 2, "flag provided but not defined: -brokers; orders -help lists the flags"},
		{[]string{"-n", "0"}, 2, "-n is 0: it must be 1 to 999999; orders -help lists the flags"},
		{[]string{"-rate", "-1"}, 2, "-rate is -1: it must be a number of orders a second, or 0 for as many as it can; orders -help lists the flags"},
		{[]string{"-rate", "NaN"}, 2, "-rate is NaN: it must be a number of orders a second, or 0 for as many as it can; orders -help lists the flags"},
		{[]string{"-data", filepath.Join(taken, "file")}, 1, "-data " + taken + "/file cannot be made, name a place where it can: mkdir " + taken + "/file: not a directory"},
		{[]string{"-data", used, "-n", "4"}, 1, "-data " + used + " holds what was begun with -n 3 -seed 1: say the same, or name another directory"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(test.args, &stdout, &stderr); status != test.status || stderr.String() != "orders: "+test.want+"\n" {
			t.Errorf("%q: status %d: %s\nwant %s", test.args, status, &stderr, test.want)
		}
	}
	var stdout, stderr bytes.Buffer
	if status := run([]string{"-help"}, &stdout, &stderr); status != 0 || !strings.Contains(stdout.String(), "-data directory") {
		t.Errorf("-help: status %d: %s%s", status, &stdout, &stderr)
	}
}
