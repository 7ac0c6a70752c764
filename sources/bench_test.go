package sources

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/troupestream/troupe/topology"
)

// benchmark reads a file of lines again and again, and reports per record.
func benchmark[T any](b *testing.B, src topology.Source[T], path string) {
	b.ReportAllocs()
	batch := new(topology.Batch[T])
	for n := 0; n < b.N; {
		r, err := src.Open(b.Context(), topology.OpenRequest{Split: path})
		if err != nil {
			b.Fatal(err)
		}
		for err == nil && n < b.N {
			batch.Reset()
			err = r.Read(b.Context(), batch, 1000)
			r.Position() // as the engine does for every batch
			n += batch.Len()
		}
		if err != nil && err != io.EOF {
			b.Fatal(err)
		}
		r.Close()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
}

const benchLines = 500_000

func benchFile(b *testing.B, format string) string {
	var text strings.Builder
	for i := range benchLines {
		fmt.Fprintf(&text, format, i, float64(i)/8)
	}
	return write(b, "bench", text.String())
}

func BenchmarkLines(b *testing.B) {
	path := benchFile(b, "line %07d %.1f\n")
	b.ResetTimer()
	benchmark(b, Lines(path), path)
}

func BenchmarkRawLines(b *testing.B) {
	path := benchFile(b, "line %07d %.1f\n")
	b.ResetTimer()
	benchmark(b, RawLines(path), path)
}

func BenchmarkNDJSON(b *testing.B) {
	path := benchFile(b, `{"net":"net %d","mag":%.1f}`+"\n")
	b.ResetTimer()
	benchmark(b, NDJSON[quakeRow](path), path)
}

func BenchmarkCSV(b *testing.B) {
	path := write(b, "bench.csv", "net,mag,n\n"+strings.Repeat("ak,4.25,7\n", benchLines))
	b.ResetTimer()
	benchmark(b, CSV[quakeRow](path), path)
}

// BenchmarkPlainLoop is the yardstick: what the standard library takes for the
// same lines, appended to a slice in the same way.
func BenchmarkPlainLoop(b *testing.B) {
	path := benchFile(b, "line %07d %.1f\n")
	var lines []string
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		s := bufio.NewScanner(f)
		s.Buffer(make([]byte, chunkBytes), DefaultMaxLineBytes)
		for ; n < b.N && s.Scan(); n++ {
			if len(lines) == 1000 {
				clear(lines)
				lines = lines[:0]
			}
			lines = append(lines, s.Text())
		}
		f.Close()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
}
