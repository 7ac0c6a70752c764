package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what the commands print into testdata")

// TestTranscripts runs the commands of each file in testdata, in a data directory of
// its own, and compares what they print. A command may be followed by lines of input,
// each behind "< ". What differs from run to run is replaced: see steady.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 4 {
		t.Fatalf("the transcripts are %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv(dataVariable, dir)
			if filepath.Base(file) == "park.txt" {
				parkSome(t, dir)
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := transcript(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("%s: this differs from the file (-rewrite writes it):\n%s", file, got)
			}
		})
	}
}

// transcript runs the commands of a transcript and returns it with what they print.
func transcript(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n$ ") {
		head, _, _ := strings.Cut(block, "\n----")
		lines := strings.Split(strings.TrimPrefix(head, "$ "), "\n")
		var in strings.Builder
		for _, l := range lines[1:] {
			in.WriteString(strings.TrimPrefix(l, "< ") + "\n")
		}
		var out, errs strings.Builder
		status := (&cli{in: strings.NewReader(in.String())}).run(context.Background(), fields(lines[0]), &out, &errs)
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "$ %s\n----\n%s%s", strings.Join(lines, "\n"), steady(lines[0], out.String()), errs.String())
		if status != statusOK {
			fmt.Fprintf(&b, "status %d\n", status)
		}
	}
	return b.String()
}

// fields splits a command line; single quotes keep words together.
func fields(text string) (all []string) {
	for i, part := range strings.Split(strings.TrimPrefix(text, "troupe "), "'") {
		if i%2 == 1 {
			all = append(all, part)
		} else {
			all = append(all, strings.Fields(part)...)
		}
	}
	return all
}

var (
	someTime    = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
	someSeconds = regexp.MustCompile(`(_seconds":)[0-9.]+|\b\d+\.\d{3}\b`)
	someAge     = regexp.MustCompile(`("oldest_seconds":)[0-9.]+|\b\d+\.\d{3}\b`)
	someLog     = regexp.MustCompile(`(?m)(^|"position":")\d+:`)
	someBytes   = regexp.MustCompile(`(?m)("bytes":)[1-9]\d*|^(bytes +)\d+|^(\d+  +\d+  +\d+  +\d+  +)[1-9]\d*`)
	someGet     = regexp.MustCompile(`get-[A-Z2-7]{12}`)
	someSpace   = regexp.MustCompile(` {3,}`)
)

// steady replaces times, ages and sizes, and what they do to the width of columns.
func steady(command, out string) string {
	out = someTime.ReplaceAllString(out, "TIME")
	if strings.Contains(command, "group list") || strings.Contains(command, "group describe") {
		out = someSpace.ReplaceAllString(someSeconds.ReplaceAllString(out, "${1}S"), "  ")
	}
	if strings.Contains(command, "queue get") || strings.Contains(command, "queue peek") || strings.Contains(command, "queue replay") || strings.Contains(command, "queue dlq") {
		out = someGet.ReplaceAllString(someLog.ReplaceAllString(out, "${1}LOG:"), "get-ID") // publishers at the same time may pass over a number
	}
	if strings.Contains(command, "queue list") || strings.Contains(command, "queue describe") {
		out = someSpace.ReplaceAllString(someAge.ReplaceAllString(out, "${1}S"), "  ")
	}
	if strings.Contains(command, "topic describe") {
		out = someSpace.ReplaceAllString(someBytes.ReplaceAllString(out, "${1}${2}${3}N"), "  ")
	}
	return out
}
