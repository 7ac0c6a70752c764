package sinks_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sinks/sinktest"
	"github.com/troupestream/troupe/topology"
)

type total struct {
	Word string  `json:"word" csv:"word"`
	N    float64 `json:"n" csv:"n"`
}

// fuse panics when it is written as text, which is what JSON and CSV do, if it is
// a short one.
type fuse float64

func (f fuse) MarshalText() ([]byte, error) {
	if f < 0 {
		panic("a short fuse")
	}
	return strconv.AppendFloat(nil, float64(f), 'g', -1, 64), nil
}

func (f *fuse) UnmarshalText(text []byte) error {
	v, err := strconv.ParseFloat(string(text), 64)
	*f = fuse(v)
	return err
}

// charge is total with a fuse in it.
type charge struct {
	Word string `json:"word" csv:"word"`
	N    fuse   `json:"n" csv:"n"`
}

func nthCharge(i int) charge { return charge{nth(i).Word, fuse(i)} }
func shortFuse() charge      { return charge{"poison", -1} }

func nth(i int) total { return total{fmt.Sprintf("word \"%d\" <&>", i), float64(i)} }

// file is the case of a sink that writes a file, read back by parse.
func file[T any](sink func(path string) topology.Sink[T], parse func(t *testing.T, data []byte) []T) func(*testing.T) sinktest.Case[T] {
	return func(t *testing.T) sinktest.Case[T] {
		path := filepath.Join(t.TempDir(), "out")
		return sinktest.Case[T]{
			Sink: func() topology.Sink[T] { return sink(path) },
			Contents: func(t *testing.T) []T {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if len(data) > 0 && data[len(data)-1] != '\n' {
					t.Fatal("the file ends inside a record")
				}
				return parse(t, data)
			},
		}
	}
}

func parseJSON[T any](t *testing.T, data []byte) (all []T) {
	for line := range bytes.Lines(data) {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func parseLines(_ *testing.T, data []byte) (all []string) {
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		all = append(all, s.Text())
	}
	return all
}

func parseCSV(t *testing.T, data []byte) (all []total) {
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		if i == 0 {
			if row[0] != "word" || row[1] != "n" {
				t.Fatalf("the header is %q", row)
			}
			continue
		}
		n, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, total{row[0], n})
	}
	return all
}

func TestJSONLinesConform(t *testing.T) {
	sinktest.Run(t, sinktest.Harness[total]{
		New: file(sinks.JSONLines[total], parseJSON[total]), Record: nth,
		Poison: func() total { return total{"poison", math.NaN()} },
	})
}

func TestJSONLinesOfFragileTypesConform(t *testing.T) {
	sinktest.Run(t, sinktest.Harness[charge]{
		New: file(sinks.JSONLines[charge], parseJSON[charge]), Record: nthCharge, Panicking: shortFuse,
	})
}

func TestCSVOfFragileTypesConforms(t *testing.T) {
	sinktest.Run(t, sinktest.Harness[charge]{
		New: file(func(path string) topology.Sink[charge] { return sinks.CSV[charge](path) }, func(t *testing.T, data []byte) (all []charge) {
			for _, v := range parseCSV(t, data) {
				all = append(all, charge{v.Word, fuse(v.N)})
			}
			return all
		}),
		Record: nthCharge, Panicking: shortFuse,
	})
}

func TestCSVConforms(t *testing.T) {
	sinktest.Run(t, sinktest.Harness[total]{
		New:    file(func(path string) topology.Sink[total] { return sinks.CSV[total](path) }, parseCSV),
		Record: nth,
	})
}

func TestLinesConform(t *testing.T) {
	sinktest.Run(t, sinktest.Harness[string]{
		New: file(sinks.Lines, parseLines), Record: func(i int) string { return fmt.Sprint("line ", i) },
		Poison: func() string { return "two\nlines" },
	})
}

func TestSliceConforms(t *testing.T) {
	sinktest.Run(t, sinktest.Harness[int]{
		Record: func(i int) int { return i },
		New: func(*testing.T) sinktest.Case[int] {
			s := sinks.Slice[int]()
			return sinktest.Case[int]{
				Sink:     func() topology.Sink[int] { return s },
				Contents: func(*testing.T) []int { return s.Values() },
			}
		},
	})
}

// buffer is a bytes.Buffer for one writer and one reader.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestWritersConform(t *testing.T) {
	t.Run("Lines", func(t *testing.T) {
		sinktest.Run(t, sinktest.Harness[string]{
			Record: func(i int) string { return fmt.Sprint("line ", i) },
			Poison: func() string { return "two\rlines" },
			New: func(*testing.T) sinktest.Case[string] {
				out := new(buffer)
				return sinktest.Case[string]{
					Sink:     func() topology.Sink[string] { return sinks.Writer(out) },
					Contents: func(t *testing.T) []string { return parseLines(t, []byte(out.String())) },
				}
			},
		})
	})
	t.Run("JSON", func(t *testing.T) {
		sinktest.Run(t, sinktest.Harness[total]{
			Record: nth, Poison: func() total { return total{N: math.Inf(1)} },
			New: func(*testing.T) sinktest.Case[total] {
				out := new(buffer)
				return sinktest.Case[total]{
					Sink:     func() topology.Sink[total] { return sinks.JSONWriter[total](out) },
					Contents: func(t *testing.T) []total { return parseJSON[total](t, []byte(out.String())) },
				}
			},
		})
	})
}

func TestAWriterOfFragileTypesConforms(t *testing.T) {
	sinktest.Run(t, sinktest.Harness[charge]{
		Record: nthCharge, Panicking: shortFuse,
		New: func(*testing.T) sinktest.Case[charge] {
			out := new(buffer)
			return sinktest.Case[charge]{
				Sink:     func() topology.Sink[charge] { return sinks.JSONWriter[charge](out) },
				Contents: func(t *testing.T) []charge { return parseJSON[charge](t, []byte(out.String())) },
			}
		},
	})
}

func TestJSONIsWrittenAsItIs(t *testing.T) {
	out := new(strings.Builder)
	w, err := sinks.JSONWriter[total](out).Open(t.Context(), topology.SinkOpen{Tasks: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), &topology.Batch[total]{Values: []total{nth(1)}}); err != nil {
		t.Fatal(err)
	}
	if want := `{"word":"word \"1\" <&>","n":1}` + "\n"; out.String() != want {
		t.Errorf("got %s, want %s", out, want)
	}
}

func TestDiscardCounts(t *testing.T) {
	s := sinks.Discard[int]()
	w, err := s.Open(t.Context(), topology.SinkOpen{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := w.Write(t.Context(), &topology.Batch[int]{Values: []int{1, 2}}); err != nil {
			t.Fatal(err)
		}
	}
	if s.Count() != 6 || !s.Info().Inline {
		t.Errorf("counted %d, want 6", s.Count())
	}
}
