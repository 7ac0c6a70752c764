package group

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// entryBytes is the largest entry of a log.
const entryBytes = 8 << 20

// The largest group that the limits allow: its snapshot, and the events of any
// one of its commands, fit into one entry of a log.
func TestTheLargestGroupFitsIntoEntries(t *testing.T) {
	g, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	var topics []Topic
	for i := range 4096 {
		topics = append(topics, Topic{fmt.Sprintf("%04d", i) + strings.Repeat("x", 252), 16, 0})
	}
	apply := func(c Command) error {
		events, effects, err := g.Apply(0, c)
		for _, e := range effects {
			if a, ok := e.(Assigned); ok && len(a.Partitions) != 65_536 {
				t.Fatalf("%d partitions were assigned, want all", len(a.Partitions))
			}
		}
		if n := len(g.Snapshot()); len(Seal(events)) > entryBytes || n > maxStateBytes {
			t.Fatalf("%T: %d bytes of events, %d of snapshot", c, len(events), n)
		}
		return err
	}
	if err := apply(Join{Member: "a", Instance: "i", Topics: topics}); err != nil {
		t.Fatal(err)
	}
	commit := Commit{Member: "a"}
	for _, p := range g.Describe().Partitions {
		commit.Offsets = append(commit.Offsets, Offset{p.Claim, 1 << 60, strings.Repeat("m", 4096)})
	}
	// All of these texts do not fit: the rest is refused, and said to be.
	refused := new(CommitError)
	if err := apply(commit); !errors.As(err, &refused) || !errors.Is(err, ErrLimit) || len(refused.Refusals) < 65_000 {
		t.Fatalf("got %.200v", err)
	}
	for i := range commit.Offsets {
		commit.Offsets[i].Metadata = ""
	}
	for _, c := range []Command{commit, Join{Member: "b", Instance: "i", Topics: topics}} {
		if err := apply(c); err != nil {
			t.Fatalf("%T: %v", c, err)
		}
	}
	if err := apply(Join{Member: "c", Topics: []Topic{{"another", 1, 0}}}); !errors.Is(err, ErrLimit) {
		t.Fatalf("one topic too many: %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{Assignor: 9}, {SessionTimeout: 1}, {SessionTimeout: 1 << 50}} {
		if _, err := New(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
