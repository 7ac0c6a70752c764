package group

import (
	"fmt"
	"testing"
)

// crowd is a group of 1,000 members that share 10,000 partitions.
func crowd(b *testing.B) *Group {
	g, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 { // while there is little to share
		fill(b, g, Join{Member: fmt.Sprintf("m%04d", i), Topics: []Topic{{"orders", 1, 0}}})
	}
	fill(b, g, Resize{[]Topic{{"orders", 10_000, 0}}})
	return g
}

// fill applies a command, and has everybody release what they are asked for.
func fill(b *testing.B, g *Group, c Command) {
	_, effects, err := g.Apply(0, c)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range effects {
		if r, ok := e.(Revoke); ok {
			fill(b, g, Release{r.Member, r.Partitions})
		}
	}
}

// One member joins the 1,000, gets its ten partitions, and leaves again.
func BenchmarkJoinAndLeave(b *testing.B) {
	g := crowd(b)
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		id := fmt.Sprint("new", i)
		fill(b, g, Join{Member: id, Topics: []Topic{{"orders", 10_000, 0}}})
		fill(b, g, Leave{Member: id, Epoch: g.members[id].epoch})
	}
}

func BenchmarkCommit(b *testing.B) {
	g := crowd(b)
	commits := map[string]*Commit{}
	var order []*Commit
	for _, p := range g.Describe().Partitions {
		c := commits[p.Owner]
		if c == nil {
			c = &Commit{Member: p.Owner}
			commits[p.Owner], order = c, append(order, c)
		}
		c.Offsets = append(c.Offsets, Offset{Claim: p.Claim})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		c := order[i%len(order)]
		for j := range c.Offsets {
			c.Offsets[j].Next = uint64(i)
		}
		if _, _, err := g.Apply(0, *c); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(10, "partitions/op")
}

func BenchmarkSnapshot(b *testing.B) {
	g := crowd(b)
	b.Run("Take", func(b *testing.B) {
		for b.Loop() {
			g.Snapshot()
		}
		b.ReportMetric(float64(len(g.Snapshot())), "bytes")
	})
	snapshot := g.Snapshot()
	b.Run("Restore", func(b *testing.B) {
		for b.Loop() {
			if _, err := Restore(Config{}, snapshot); err != nil {
				b.Fatal(err)
			}
		}
	})
}
