package runtime

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestStatusLine(t *testing.T) {
	sources := func(lags ...int64) (all []OperatorStatus) {
		for _, lag := range lags {
			all = append(all, OperatorStatus{Kind: "source", Lag: lag})
		}
		return append(all, OperatorStatus{Kind: "map", Lag: -1, Watermark: time.UnixMilli(0)})
	}
	for _, c := range []struct {
		name       string
		status     Status
		want, lack string
	}{
		{"the lag of all sources", Status{Operators: sources(1000, 234)}, "lag 1,234", ""},
		{"a source that knows no lag", Status{Operators: sources(0, -1)}, "records/s", "lag"},
		{"no source", Status{Operators: sources()}, "1970-01-01T00:00:00Z", "lag"},
		{"a checkpoint", Status{Checkpoint: &Checkpoint{Number: 7, Time: time.Now()}}, "checkpoint 7", "watermark"},
		{"the end", Status{Operators: []OperatorStatus{{Ended: true}}}, "watermark at the end", ""},
	} {
		line := c.status.line(12_345.6)
		if !strings.Contains(line, "12,345 records/s") || !strings.Contains(line, c.want) || (c.lack != "" && strings.Contains(line, c.lack)) {
			t.Errorf("%s: %q", c.name, line)
		}
	}
}

func TestStatusLineDoesNotWrap(t *testing.T) {
	for _, c := range []struct {
		line    string
		columns int
		want    string
	}{
		{"job · running", 0, "job · running"}, {"job · running", 13, "job · running"},
		{"job · running", 12, "job · runni…"}, {"job · running", 1, "…"}, {"", 1, ""},
	} {
		got := cut(c.line, c.columns)
		if got != c.want || (c.columns > 0 && utf8.RuneCountInString(got) > c.columns) {
			t.Errorf("%q in %d columns is %q, not %q", c.line, c.columns, got, c.want)
		}
	}
}
