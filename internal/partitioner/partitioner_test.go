package partitioner

import (
	"errors"
	"math"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// The vectors are those of Kafka's UtilsTest, and keys of our own.
func TestMurmur2IsKafkas(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"\x0c\x2a\x38\x18\x6d\x6f": 274204207, "abc": 479470107, "ord_123": -519719585, "ord_124": 1678492553,
	} {
		if got := int32(Murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) is %d, want %d", key, got, want)
		}
	}
	if got := Murmur2([]byte("ord_123")) & 0x7fffffff; got != 1627764063 {
		t.Errorf("ord_123 without its sign is %d, want 1627764063", got)
	}
}

// slowMurmur2 is the algorithm in arithmetic modulo 2^32 alone: numbers are put
// together byte by byte, and shifts are divisions.
func slowMurmur2(key []byte) uint32 {
	const mod, m = 1 << 32, 0x5bd1e995
	times := func(a uint64) uint64 { return a * m % mod }
	word := func(b []byte) (v uint64) {
		for i := len(b) - 1; i >= 0; i-- {
			v = v*256 + uint64(b[i])
		}
		return v
	}
	h := 0x9747b28c ^ uint64(len(key))
	whole := len(key) / 4 * 4
	for i := 0; i < whole; i += 4 {
		k := times(word(key[i : i+4]))
		h = times(h) ^ times(k^k/(1<<24))
	}
	if whole < len(key) {
		h = times(h ^ word(key[whole:]))
	}
	h = times(h ^ h/(1<<13))
	return uint32(h ^ h/(1<<15))
}

func TestMurmur2AgreesWithTheSlowOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "key")
		if got, want := Murmur2(key), slowMurmur2(key); got != want {
			t.Fatalf("murmur2(%x) is %x, want %x", key, got, want)
		}
	})
}

func TestKeyedMasksTheSign(t *testing.T) {
	for key, want := range map[string]int{"ord_123": 1627764063 % 7, "21": (-973932308 & math.MaxInt32) % 7, "abc": 479470107 % 7} {
		if got := Keyed([]byte(key), 7); got != want {
			t.Errorf("%q goes to partition %d of 7, want %d", key, got, want)
		}
	}
}

func TestKeyedIsInRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, n := rapid.SliceOf(rapid.Byte()).Draw(t, "key"), rapid.IntRange(1, 1<<20).Draw(t, "partitions")
		if err := Check(Keyed(key, n), n); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		partition, partitions int
		ok                    bool
	}{{0, 1, true}, {6, 7, true}, {-1, 7, false}, {7, 7, false}, {0, 0, false}} {
		if err := Check(c.partition, c.partitions); (err == nil) != c.ok || !c.ok && !errors.Is(err, ErrPartition) {
			t.Errorf("partition %d of %d: %v", c.partition, c.partitions, err)
		}
	}
}

func TestRoundRobinDealsInTurn(t *testing.T) {
	var r RoundRobin
	for i := range 20 {
		if got := r.Next(3, 100); got != i%3 {
			t.Fatalf("record %d went to partition %d, want %d", i, got, i%3)
		}
	}
}

// concurrently calls next 1,000 times on each of 8 goroutines and counts what it returns.
func concurrently(next func() int, partitions int) []int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	total := make([]int, partitions)
	for range 8 {
		wg.Go(func() {
			counts := make([]int, partitions)
			for range 1000 {
				counts[next()]++
			}
			mu.Lock()
			defer mu.Unlock()
			for i, n := range counts {
				total[i] += n
			}
		})
	}
	wg.Wait()
	return total
}

func TestRoundRobinIsEvenUnderConcurrency(t *testing.T) {
	var r RoundRobin
	for p, n := range concurrently(func() int { return r.Next(4, 1) }, 4) {
		if n != 2000 {
			t.Errorf("partition %d got %d of 8000 records, want 2000", p, n)
		}
	}
}

func TestStickyKeepsToOnePartitionForARun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Sticky{Bytes: rapid.IntRange(0, 3000).Draw(t, "run")}
		limit := s.Bytes
		if limit == 0 {
			limit = DefaultStickyBytes
		}
		n := rapid.IntRange(1, 8).Draw(t, "partitions")
		last, used := -1, 0
		for range rapid.IntRange(1, 300).Draw(t, "records") {
			bytes := rapid.IntRange(0, 500).Draw(t, "bytes")
			got := s.Next(n, bytes)
			switch {
			case got < 0 || got >= n:
				t.Fatalf("partition %d of %d", got, n)
			case last >= 0 && used < limit && got != last:
				t.Fatalf("moved from partition %d to %d after %d of %d bytes", last, got, used, limit)
			case last >= 0 && used >= limit && n > 1 && got == last:
				t.Fatalf("stayed in partition %d after %d of %d bytes", got, used, limit)
			}
			if used >= limit {
				used = 0
			}
			last, used = got, used+bytes
		}
	})
}

func TestStickyFollowsTheNumberOfPartitions(t *testing.T) {
	var s Sticky
	seen := map[int]bool{}
	for range 1000 {
		s.Next(64, DefaultStickyBytes)
		if got := s.Next(2, 1); got > 1 {
			t.Fatalf("partition %d of 2", got)
		}
		seen[s.Next(2, DefaultStickyBytes)] = true
	}
	if !seen[0] || !seen[1] {
		t.Fatalf("of 2 partitions, %v were used", seen)
	}
}

func TestStickySpreadsUnderConcurrency(t *testing.T) {
	s := Sticky{Bytes: 10}
	for p, n := range concurrently(func() int { return s.Next(4, 5) }, 4) {
		if n < 1500 || n > 2500 {
			t.Errorf("partition %d got %d of 8000 records", p, n)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	var r RoundRobin
	var s Sticky
	key := []byte("ord_123")
	if n := testing.AllocsPerRun(1000, func() {
		Keyed(key, 12)
		r.Next(12, 100)
		s.Next(12, 100)
	}); n != 0 {
		t.Fatalf("%v allocations for a record", n)
	}
}

func BenchmarkKeyed(b *testing.B) {
	key := []byte("customer-0000001234")
	b.ReportAllocs()
	for b.Loop() {
		Keyed(key, 12)
	}
}

func BenchmarkKeyless(b *testing.B) {
	for name, k := range map[string]Keyless{"RoundRobin": new(RoundRobin), "Sticky": new(Sticky)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.Next(12, 100)
			}
		})
	}
}
