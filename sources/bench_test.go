package sources

import (
	"fmt"
	"io"
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
