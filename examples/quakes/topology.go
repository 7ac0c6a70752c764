package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// maxJump is how far ahead of all quakes before it one may be and still move
// event time by itself: a single wrong date closes no windows.
const maxJump = 7 * 24 * time.Hour

// Outputs are where the results go.
type Outputs struct {
	Windows topology.Sink[Row]
	Late    topology.Sink[LateQuake]
	Bad     topology.Sink[BadLine]
}

// Topology sums earthquakes up by network and window.
//
// The tasks that compute windows work side by side, so their results interleave
// by chance. Both outputs of the window are put in order before they are
// written: that makes the files the same, byte for byte, in every run.
func Topology(name string, in topology.Source[sources.Line], to Outputs, size, bound time.Duration) *topology.Builder {
	b := topology.New(name)
	lines := topology.From(b, "lines", in)
	quakes, failed := topology.Try(lines, "parse", parse)
	timed := topology.EventTime(quakes, "event-time", bound, Quake.time, topology.MaxJump(maxJump))
	byNet := topology.KeyBy(timed, "by-net", func(q Quake) string { return q.Net })
	windows, late := topology.WindowFold(byNet, "sum-up", topology.Tumbling(size), add)

	rows := topology.Map(windows, "row", newRow)
	topology.To(inOrder(rows, "sort-rows", Row.closes, Row.order), "windows", to.Windows)

	lates := topology.Map(late, "late-quake", newLateQuake)
	topology.To(inOrder(lates, "sort-late", LateQuake.passed, LateQuake.order), "late", to.Late)

	topology.To(topology.Map(failed, "bad-line", newBadLine), "bad", to.Bad)
	return b
}

// Summary is what a window knows of its quakes.
type Summary struct {
	Count    int
	MaxMag   float64
	DepthSum float64
}

// add counts a quake. Magnitudes may be negative: the first one is the highest
// so far, whatever it is.
func add(_ string, s Summary, q Quake) Summary {
	highest := q.Mag
	if s.Count > 0 {
		highest = max(s.MaxMag, q.Mag)
	}
	return Summary{Count: s.Count + 1, MaxMag: highest, DepthSum: s.DepthSum + q.Depth}
}

// Row is the result of a window; times are Unix milliseconds.
type Row struct {
	Net         string  `json:"net"`
	WindowStart int64   `json:"window_start"`
	WindowEnd   int64   `json:"window_end"`
	Count       int     `json:"count"`
	MaxMag      float64 `json:"max_mag"`
	MeanDepth   float64 `json:"mean_depth"`
}

func newRow(w topology.Window[string, Summary]) Row {
	s := w.Value
	return Row{Net: w.Key, WindowStart: w.Start.UnixMilli(), WindowEnd: w.End.UnixMilli(),
		Count: s.Count, MaxMag: s.MaxMag, MeanDepth: s.DepthSum / float64(s.Count)}
}

// closes is the moment at which the window's result was due: no other result
// for it comes later.
func (r Row) closes() time.Time { return time.UnixMilli(r.WindowEnd - 1) }
func (r Row) order() string     { return r.Net }

// LateQuake is a line that came when its window had closed.
type LateQuake struct {
	Line      int64           `json:"line"`
	Watermark int64           `json:"watermark"` // Unix milliseconds: how far event time had come
	Record    json.RawMessage `json:"record"`
}

func newLateQuake(l topology.Late[Quake]) LateQuake {
	return LateQuake{Line: l.Value.Line, Watermark: l.Watermark.UnixMilli(), Record: l.Value.Record}
}

// passed is the moment after which no line in front of this one can come any
// more: once event time has moved on from where the line met it.
func (l LateQuake) passed() time.Time { return time.UnixMilli(l.Watermark + 1) }
func (l LateQuake) order() string     { return fmt.Sprintf("%019d", l.Line) }

// BadLine is a line that is no earthquake, and why.
type BadLine struct {
	Line  int64  `json:"line"`
	Error string `json:"error"`
	Text  string `json:"text"` // of a line that is too long, the beginning
}

func newBadLine(f topology.Failed[sources.Line]) BadLine {
	return BadLine{Line: f.Value.Number, Error: f.Err, Text: f.Value.Text}
}

// inOrder sorts records by time, and those of one time by their order. It holds
// each until event time has reached that: then nothing can come in front of it.
// Every record has a key of its own, and event time releases keys of one time
// in the order of their bytes.
func inOrder[T any](s topology.Stream[T], name string, at func(T) time.Time, order func(T) string) topology.Stream[T] {
	key := func(v T) string { return fmt.Sprintf("%d %s", at(v).UnixMilli(), order(v)) }
	byPlace := topology.KeyBy(s, name+"-by-place", key, topology.Parallelism(1))
	return topology.Process(byPlace, name, func(p *topology.Processor[string, T, T]) {
		held := topology.ValueOf[T](p, "held")
		p.OnRecord(func(v T) {
			held.Set(v)
			p.SetEventTimer(at(v))
		})
		p.OnEventTimer(func(time.Time) {
			p.Emit(held.Get())
			held.Clear()
		})
	})
}
