package storage_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/storage"
)

func benchLog(b *testing.B, d storage.Durability) storage.Log {
	b.Helper()
	s, err := storage.Open(b.Context(), filepath.Join(b.TempDir(), "data"), storage.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	l, err := s.OpenLog(b.Context(), "bench", storage.LogOptions{Durability: d})
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// reportP50 runs f b.N times and reports the median besides the mean.
func reportP50(b *testing.B, f func(i int)) {
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for i := range b.N {
		start := time.Now()
		f(i)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
}

// BenchmarkAppend, beside BenchmarkRaw: the same bytes to a file, synced.
func BenchmarkAppend(b *testing.B) {
	for _, d := range []storage.Durability{storage.Fsync, storage.Interval, storage.Memory} {
		for _, size := range []int{100, 64 << 10, 256 << 10} {
			b.Run(fmt.Sprintf("%s/%d", d, size), func(b *testing.B) {
				l, data := benchLog(b, d), make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				reportP50(b, func(i int) {
					if _, err := l.Append(b.Context(), storage.Data, data, uint64(i)); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
	}
}

func BenchmarkRaw(b *testing.B) {
	for _, size := range []int{100, 64 << 10, 256 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			data := make([]byte, size)
			b.SetBytes(int64(size))
			reportP50(b, func(int) {
				if _, err := f.Write(data); err != nil {
					b.Fatal(err)
				}
				if err := syscall.Fdatasync(int(f.Fd())); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int{64 << 10, 256 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l, data := benchLog(b, storage.Interval), make([]byte, size)
			const total = 256 << 20
			for i := range total / size {
				if _, err := l.Append(b.Context(), storage.Data, data, uint64(i)); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				for next := uint64(1); next <= uint64(total/size); {
					es, err := l.Read(b.Context(), next, 4<<20)
					if err != nil || len(es) == 0 {
						b.Fatal(len(es), err)
					}
					next = es[len(es)-1].Seq + 1
				}
			}
		})
	}
}
