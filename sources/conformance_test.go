package sources_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/sources/sourcetest"
	"github.com/troupestream/troupe/topology"
)

type quake struct {
	Net string  `json:"net" csv:"net"`
	Mag float64 `json:"mag" csv:"mag"`
}

// fragileQuake is a quake whose network panics on being read, if it is called so.
type fragileQuake struct {
	Net fragile `json:"net" csv:"net"`
	Mag float64 `json:"mag" csv:"mag"`
}

type fragile string

func (f fragile) MarshalText() ([]byte, error) { return []byte(f), nil }

func (f *fragile) UnmarshalText(text []byte) error {
	if string(text) == "fragile" {
		panic("it broke")
	}
	*f = fragile(text)
	return nil
}

// fragileFiles is a case of files with such a network, in front of the record
// that is at that place.
func fragileFiles(t *testing.T, source func(pattern string) topology.Source[fragileQuake], header string, render func(int, quake) string, line, at int) sourcetest.Case[fragileQuake] {
	pattern, all := files(t, header, render)
	path := insert(t, pattern, line, strings.TrimSpace(render(1, quake{Net: "fragile"})))
	want := map[string][]fragileQuake{}
	for split, qs := range all {
		for _, q := range qs {
			want[split] = append(want[split], fragileQuake{fragile(q.Net), q.Mag})
		}
	}
	return sourcetest.Case[fragileQuake]{Source: source(pattern), Want: want, Poison: map[string]int{path: at}}
}

func TestFragileTypesInFilesConform(t *testing.T) {
	inLine := func(_ int, q quake) string { return asJSON(1, q) }
	for name, source := range map[string]func(pattern string) topology.Source[fragileQuake]{
		"NDJSON": func(p string) topology.Source[fragileQuake] { return sources.NDJSON[fragileQuake](p) },
		"Strict": func(p string) topology.Source[fragileQuake] {
			return sources.NDJSON[fragileQuake](p, sources.DisallowUnknown())
		},
	} {
		t.Run(name, func(t *testing.T) {
			harness := func(t *testing.T) sourcetest.Case[fragileQuake] { return fragileFiles(t, source, "", inLine, 7, 7) }
			sourcetest.Run(t, sourcetest.Harness[fragileQuake]{New: fragileless(harness), Panicking: harness})
		})
	}
	t.Run("CSV", func(t *testing.T) {
		source := func(p string) topology.Source[fragileQuake] { return sources.CSV[fragileQuake](p) }
		harness := func(t *testing.T) sourcetest.Case[fragileQuake] {
			return fragileFiles(t, source, "mag,net\r\n", asCSV, 4, 3)
		}
		sourcetest.Run(t, sourcetest.Harness[fragileQuake]{New: fragileless(harness), Panicking: harness})
	})
}

// fragileless is the case without its poison: the files hold nothing else.
func fragileless(make func(t *testing.T) sourcetest.Case[fragileQuake]) func(t *testing.T) sourcetest.Case[fragileQuake] {
	return func(t *testing.T) sourcetest.Case[fragileQuake] {
		c := make(t)
		for path := range c.Poison {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitAfter(string(data), "\n")
			lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, "fragile") })
			if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c.Poison = nil
		return c
	}
}

func quakes(n int) []quake {
	all := make([]quake, n)
	for i := range all {
		all[i] = quake{Net: fmt.Sprintf("net %d", i%3), Mag: float64(i) / 4}
	}
	return all
}

// files writes two files of rendered quakes, and returns their pattern and what
// is in them.
func files(t *testing.T, header string, render func(i int, q quake) string) (pattern string, want map[string][]quake) {
	dir := t.TempDir()
	want = map[string][]quake{}
	for file, n := range []int{31, 8} {
		path := filepath.Join(dir, fmt.Sprintf("part-%d.txt", file))
		text := header
		for i, q := range quakes(n) {
			text += render(i, q)
		}
		// Every other file lacks its last newline.
		if file%2 == 0 {
			text = strings.TrimSuffix(text, "\n")
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		want[path] = quakes(n)
	}
	return filepath.Join(dir, "part-?.txt"), want
}

// insert puts a line into the first of the files.
func insert(t *testing.T, pattern string, at int, line string) (path string) {
	path = strings.ReplaceAll(pattern, "?", "0")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	text := strings.Join(lines[:at], "") + line + "\n" + strings.Join(lines[at:], "")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func asJSON(i int, q quake) string {
	blank := ""
	if i%5 == 0 {
		blank = " \n"
	}
	return fmt.Sprintf("%s{\"net\":%q,\"mag\":%v}\n", blank, q.Net, q.Mag)
}

func TestNDJSONConforms(t *testing.T) {
	sourcetest.Run(t, sourcetest.Harness[quake]{
		New: func(t *testing.T) sourcetest.Case[quake] {
			pattern, want := files(t, "", asJSON)
			return sourcetest.Case[quake]{Source: sources.NDJSON[quake](pattern), Want: want}
		},
		Poisoned: func(t *testing.T) sourcetest.Case[quake] {
			pattern, want := files(t, "", func(_ int, q quake) string { return asJSON(1, q) })
			path := insert(t, pattern, 7, `{"net":`)
			return sourcetest.Case[quake]{Source: sources.NDJSON[quake](pattern), Want: want, Poison: map[string]int{path: 7}}
		},
	})
}

func asCSV(_ int, q quake) string { return fmt.Sprintf("%v,\"%s\"\r\n", q.Mag, q.Net) }

func TestCSVConforms(t *testing.T) {
	sourcetest.Run(t, sourcetest.Harness[quake]{
		New: func(t *testing.T) sourcetest.Case[quake] {
			pattern, want := files(t, "mag,net\r\n", asCSV)
			return sourcetest.Case[quake]{Source: sources.CSV[quake](pattern), Want: want}
		},
		Poisoned: func(t *testing.T) sourcetest.Case[quake] {
			pattern, want := files(t, "mag,net\r\n", asCSV)
			path := insert(t, pattern, 4, "strong,x")
			return sourcetest.Case[quake]{Source: sources.CSV[quake](pattern), Want: want, Poison: map[string]int{path: 3}}
		},
	})
}

func netOf(_ int, q quake) string { return q.Net + "\n" }

func nets(all map[string][]quake) map[string][]string {
	want := map[string][]string{}
	for split, qs := range all {
		for _, q := range qs {
			want[split] = append(want[split], q.Net)
		}
	}
	return want
}

func TestLinesConform(t *testing.T) {
	sourcetest.Run(t, sourcetest.Harness[string]{
		New: func(t *testing.T) sourcetest.Case[string] {
			pattern, want := files(t, "", netOf)
			return sourcetest.Case[string]{Source: sources.Lines(pattern), Want: nets(want)}
		},
		Poisoned: func(t *testing.T) sourcetest.Case[string] {
			pattern, want := files(t, "", netOf)
			path := insert(t, pattern, 30, strings.Repeat("long", 1000))
			return sourcetest.Case[string]{Source: sources.Lines(pattern, sources.MaxLineBytes(100)), Want: nets(want), Poison: map[string]int{path: 30}}
		},
	})
}

func TestRawLinesConform(t *testing.T) {
	sourcetest.Run(t, sourcetest.Harness[[]byte]{
		New: func(t *testing.T) sourcetest.Case[[]byte] {
			pattern, all := files(t, "", netOf)
			want := map[string][][]byte{}
			for split, lines := range nets(all) {
				for _, line := range lines {
					want[split] = append(want[split], []byte(line))
				}
			}
			return sourcetest.Case[[]byte]{Source: sources.RawLines(pattern), Want: want}
		},
	})
}

func TestNumberedLinesConform(t *testing.T) {
	sourcetest.Run(t, sourcetest.Harness[sources.Line]{
		New: func(t *testing.T) sourcetest.Case[sources.Line] {
			pattern, all := files(t, "", netOf)
			want := map[string][]sources.Line{}
			for split, lines := range nets(all) {
				for i, line := range lines {
					want[split] = append(want[split], sources.Line{Number: int64(i + 1), Text: line})
				}
			}
			return sourcetest.Case[sources.Line]{Source: sources.NumberedLines(pattern), Want: want}
		},
	})
}

func TestSlicesConform(t *testing.T) {
	sourcetest.Run(t, sourcetest.Harness[int]{
		New: func(*testing.T) sourcetest.Case[int] {
			return sourcetest.Case[int]{
				Source: sources.Slices([]int{1, 2, 3, 4, 5, 6, 7, 8, 9}, []int{}, []int{10}),
				Want:   map[string][]int{"0": {1, 2, 3, 4, 5, 6, 7, 8, 9}, "1": {}, "2": {10}},
			}
		},
	})
}

func TestGeneratorConforms(t *testing.T) {
	square := func(i int64) int64 { return i * i }
	sourcetest.Run(t, sourcetest.Harness[int64]{
		New: func(*testing.T) sourcetest.Case[int64] {
			return sourcetest.Case[int64]{
				Source: sources.Generator(square, sources.Count(10), sources.Splits(3)),
				Want:   map[string][]int64{"0": {0, 9, 36, 81}, "1": {1, 16, 49}, "2": {4, 25, 64}},
			}
		},
		Waiting: func(t *testing.T) topology.Source[int64] {
			src := sources.Generator(square, sources.Rate(1e-6))
			return afterFirst[int64]{src}
		},
		Panicking: func(*testing.T) sourcetest.Case[int64] {
			breaks := func(i int64) int64 {
				if i == 4 {
					panic("it broke")
				}
				return square(i)
			}
			return sourcetest.Case[int64]{
				Source: sources.Generator(breaks, sources.Count(10), sources.Splits(3)),
				Want:   map[string][]int64{"0": {0, 9, 36, 81}, "1": {1, 49}, "2": {4, 25, 64}},
				Poison: map[string]int{"1": 1},
			}
		},
		Large: func(*testing.T) sourcetest.Case[int64] {
			var taken atomic.Int64
			src := sources.Generator(func(i int64) int64 { taken.Add(1); return i })
			return sourcetest.Case[int64]{Source: src, Taken: taken.Load}
		},
	})
}

// afterFirst opens readers that have read a record already.
type afterFirst[T any] struct{ topology.Source[T] }

func (a afterFirst[T]) Open(ctx context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	reader, err := a.Source.Open(ctx, r)
	if err == nil {
		err = reader.Read(ctx, new(topology.Batch[T]), 1)
	}
	return reader, err
}

func TestReaderConforms(t *testing.T) {
	sourcetest.Run(t, sourcetest.Harness[string]{
		NotReplayable: true,
		New: func(*testing.T) sourcetest.Case[string] {
			return sourcetest.Case[string]{
				Source: sources.Reader(strings.NewReader("a\nb\r\n\nlast")),
				Want:   map[string][]string{"0": {"a", "b", "", "last"}},
			}
		},
		Poisoned: func(*testing.T) sourcetest.Case[string] {
			return sourcetest.Case[string]{
				Source: sources.Reader(strings.NewReader("a\nbbbbbbbb\nc\n"), sources.MaxLineBytes(4)),
				Want:   map[string][]string{"0": {"a", "c"}},
				Poison: map[string]int{"0": 1},
			}
		},
		Waiting: func(t *testing.T) topology.Source[string] {
			r, w := io.Pipe()
			t.Cleanup(func() { w.Close() })
			return sources.Reader(r)
		},
		ReadAhead: 64 << 10, // lines of 4 bytes in a chunk of 256 KiB
		Large: func(*testing.T) sourcetest.Case[string] {
			var taken atomic.Int64
			return sourcetest.Case[string]{Source: sources.Reader(&endless{&taken}), Taken: taken.Load}
		},
	})
}

// endless yields lines of 4 bytes and counts them.
type endless struct{ lines *atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, strings.Repeat("abc\n", len(p)/4))
	e.lines.Add(int64(n / 4))
	return n, nil
}
