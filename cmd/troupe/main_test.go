package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/benchmarks/measure"
)

// fake is a command line whose benchmarks take no time.
func fake() *cli {
	return &cli{benchmarks: []benchmark{
		{"pipeline", func(context.Context) ([]measure.Result, error) { return figures(), nil }},
		{"log", func(context.Context) ([]measure.Result, error) { return nil, errors.New("the disk is full") }},
	}}
}

// figures has one result with every field, and one with none that may be missing.
func figures() []measure.Result {
	cpu, allocs, toLoop, toRaw := 61.5, 0.01, 1.31, 0.62
	all := measure.Result{Name: "troupe-p2", RecordBytes: 100, Durability: "fsync", RecordsPerS: 2.5e7,
		CPUNsPerRecord: &cpu, AllocsPerRec: &allocs, RatioToLoop: &toLoop, RatioToRaw: &toRaw}
	all.SetLatencies([]time.Duration{90 * time.Microsecond, 250 * time.Microsecond})
	return []measure.Result{all, {Name: "loop"}}
}

func run(args ...string) (status int, out, errs string) {
	var o, e strings.Builder
	status = fake().run(context.Background(), args, &o, &e)
	return status, o.String(), e.String()
}

func TestMistakesInTheCommandLine(t *testing.T) {
	for line, want := range map[string]string{
		"":                        "which command?",
		"brench":                  `there is no command "brench"`,
		"bench":                   "bench: which one? There are pipeline, log",
		"bench -json":             "bench: which one? There are pipeline, log",
		"bench disk":              `there is no benchmark "disk": there are pipeline, log`,
		"bench pipeline -xml":     "bench: flag provided but not defined: -xml",
		"bench pipeline -json=no": `bench: invalid boolean value "no" for -json`,
		"bench pipeline log":      `bench pipeline takes no argument "log"`,
	} {
		status, out, errs := run(strings.Fields(line)...)
		if status != statusUsage || out != "" || !strings.HasPrefix(errs, "troupe: "+want) || !strings.HasSuffix(errs, usage) {
			t.Errorf("troupe %s: status %d, printed %q and\n%s", line, status, out, errs)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, arg := range []string{"help", "-h", "--help", "bench -h", "bench log --help"} {
		if status, out, errs := run(strings.Fields(arg)...); status != statusOK || out != usage || errs != "" {
			t.Errorf("troupe %s: status %d, printed %q and %q", arg, status, out, errs)
		}
	}
}

func TestUsageNamesEveryBenchmark(t *testing.T) {
	for _, b := range troupe().benchmarks {
		if !strings.Contains(usage, "troupe bench "+b.name+" ") {
			t.Errorf("the usage does not name %s", b.name)
		}
	}
}

func TestFailure(t *testing.T) {
	status, out, errs := run("bench", "log")
	if status != statusFailed || out != "" || errs != "troupe: bench log: the disk is full\n" {
		t.Errorf("status %d, printed %q and %q", status, out, errs)
	}
}

// TestJSON fixes the names of the fields: other programs read them.
func TestJSON(t *testing.T) {
	const want = `{"name":"troupe-p2","record_bytes":100,"durability":"fsync","records_per_s":25000000,` +
		`"cpu_ns_per_record":61.5,"allocs_per_record":0.01,"ratio_to_loop":1.31,"ratio_to_raw":0.62,"p50_us":90,"p99_us":250}` + "\n" +
		`{"name":"loop","records_per_s":0}` + "\n"
	for _, args := range [][]string{{"bench", "pipeline", "-json"}, {"bench", "-json", "pipeline"}} {
		if status, out, errs := run(args...); status != statusOK || out != want || errs != "" {
			t.Errorf("%v: status %d, printed\n%sand %q, want\n%s", args, status, out, errs, want)
		}
	}
}

func TestTable(t *testing.T) {
	status, out, _ := run("bench", "pipeline")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != statusOK || len(lines) != 3 || !strings.HasPrefix(lines[0], "variant") || !strings.HasPrefix(lines[1], "troupe-p2") {
		t.Errorf("status %d, printed\n%s", status, out)
	}
}
