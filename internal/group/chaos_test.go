package group

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawCommand draws a command, sensible or not.
func drawCommand(t *rapid.T, g *Group) Command {
	n := func(name string, most int) int { return rapid.IntRange(0, most).Draw(t, name) }
	id := []string{"a", "b", "c", "d"}[n("member", 3)]
	at := KeyRef{Topic: []string{"orders", "refunds", "x"}[n("topic", 2)], Partition: n("partition", 3)}
	// A claim that is right, most of the time.
	claim := Claim{at.Topic, at.Partition, uint64(n("epoch", 30))}
	if p, err := g.find(at.Topic, at.Partition); err == nil && p.owner != nil && n("right", 9) > 0 {
		claim.Epoch, id = p.epoch, p.owner.id
	}
	var epoch uint64
	if m := g.members[id]; m != nil {
		epoch = m.epoch
	}
	offset := uint64(n("offset", 5))
	key := at
	switch n("key", 3) {
	case 0:
		key.Keyless, key.Offset = true, offset
	default:
		key.Key = []string{"k", "l"}[n("name", 1)]
	}
	record := ParkedRecord{Offset: offset, Parking: uint64(n("parking", 99)), Bytes: n("bytes", 40)}
	text := []string{"", "text", "a somewhat longer text"}[n("text", 2)]
	switch n("command", 19) {
	case 0, 1, 2:
		j := Join{Member: []string{"a", "b", "c", "d"}[n("joins", 3)], Topics: []Topic{{"orders", n("orders", 4), uint64(n("incarnation", 2))}, {"refunds", n("refunds", 3), 0}}[:n("topics", 2)], Client: text}
		j.Instance = []string{"", "", "i", "j"}[n("instance", 3)]
		j.Assignor = []Assignor{AnyAssignor, AnyAssignor, Range, CooperativeSticky}[n("assignor", 3)]
		return j
	case 3:
		return Leave{id, epoch, n("final", 1) == 0}
	case 4:
		return Heartbeat{id, epoch, uint64(n("progress", 2)), n("inflight", 2)}
	case 5, 6:
		return Release{id, []Claim{claim}}
	case 7:
		return Evict{id, text}
	case 8:
		return Tick{}
	case 9:
		return Resize{[]Topic{{at.Topic, n("size", 5), uint64(n("incarnation", 9))}}}
	case 10:
		return Forget{at.Topic, n("force", 1) == 0}
	case 11:
		return Reset{[]Position{{at.Topic, at.Partition, offset, text}}}
	case 12:
		return Rewind{[]Position{{at.Topic, at.Partition, offset, text}, {at.Topic, n("second", 3), offset, text}}}
	case 13:
		return Hold{id, claim.Epoch, key, record, n("anew", 1) == 0}
	case 14, 15:
		return Park{id, claim.Epoch, key, record, n("attempt", 5), text, text}
	case 16:
		return Resolve{id, claim.Epoch, key, offset}
	case 17:
		return ReleaseKey{key}
	case 18:
		if n("edit", 1) == 0 {
			return Edit{key, offset, record.Parking, record.Bytes, n("release", 1) == 0}
		}
		return Skip{key, offset, n("release", 1) == 0}
	}
	return Commit{id, []Offset{{claim, offset, text}, {Claim{at.Topic, n("other", 3), claim.Epoch}, offset, text}}}
}

// chaos applies any commands in any order, and calls after each.
func chaos(t *rapid.T, after func(g *Group, events []byte)) {
	config := Config{OffsetsRetention: time.Minute, EvictStuck: rapid.Bool().Draw(t, "evict"),
		Limits: Limits{ParkedKeys: 3, ParkedPerKey: 3, ParkedBytes: 150, ErrorBytes: 8, StateBytes: 1200}}
	g, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	now := int64(1_000_000)
	for range rapid.IntRange(1, 80).Draw(t, "commands") {
		if rapid.IntRange(0, 4).Draw(t, "passes") == 0 {
			now += rapid.Int64Range(0, 100_000).Draw(t, "ms")
		}
		before := g.Snapshot()
		c := drawCommand(t, g)
		events, effects, err := g.Apply(now, c)
		if len(events) == 0 && !bytes.Equal(before, g.Snapshot()) {
			t.Fatalf("%+v changed the durable state without an event", c)
		}
		if partly := new(CommitError); err != nil && !errors.As(err, &partly) && (len(events) > 0 || len(effects) > 0) {
			t.Fatalf("%+v failed with %v and did something all the same", c, err)
		}
		after(g, events)
	}
}

// Whatever happens: at every point the state that is restored from a snapshot
// and the events after it is the one that all events lead to; the journal alone
// is enough; and Size bounds the snapshot.
func TestReplayIsSnapshotAndRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var journal, snapshots [][]byte
		var config Config
		var last *Group
		chaos(t, func(g *Group, events []byte) {
			journal, snapshots = append(journal, Seal(events)), append(snapshots, g.Snapshot())
			config, last = g.config, g
			if n := len(snapshots[len(snapshots)-1]); n > g.Size() {
				t.Fatalf("a snapshot of %d bytes, Size says %d", n, g.Size())
			}
			if g.Size() > g.config.Limits.StateBytes {
				t.Fatalf("the state takes %d bytes, the limit is %d", g.Size(), g.config.Limits.StateBytes)
			}
		})
		final := snapshots[len(snapshots)-1]
		for i := -1; i < len(journal); i++ {
			g, err := New(config)
			if i >= 0 {
				g, err = Restore(config, snapshots[i])
			}
			for _, entry := range journal[i+1:] {
				if err == nil {
					err = g.Replay(entry)
				}
			}
			if err != nil {
				t.Fatalf("from entry %d: %v", i+1, err)
			}
			if !bytes.Equal(g.Snapshot(), final) || g.size != last.size || g.parked != last.parked {
				t.Fatalf("from entry %d something else is restored: size %d and %d, parked %v and %v", i+1, g.size, last.size, g.parked, last.parked)
			}
		}
	})
}

// A group that was restored works: Recover succeeds, dynamic members are gone,
// static ones hold what they had, and nothing is given to those that are away.
func TestRecover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var live *Group
		chaos(t, func(g *Group, _ []byte) { live = g })
		had := map[where]string{}
		for _, p := range live.Describe().Partitions {
			had[p.where()] = p.Owner
		}
		g, err := Restore(live.config, live.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if _, effects, err := g.Apply(9_000_000, Recover{}); err != nil || len(effects) > 0 {
			t.Fatalf("effects %v, %v", effects, err)
		}
		for _, m := range g.Describe().Members {
			if m.Instance == "" || !m.Absent {
				t.Fatalf("member %+v is there", m)
			}
		}
		for _, p := range g.Describe().Partitions {
			want := had[p.where()]
			if m := live.members[want]; m != nil && m.instance == "" {
				want = ""
			}
			if p.Owner != want {
				t.Fatalf("%v belongs to %q, want %q", p.where(), p.Owner, want)
			}
		}
	})
}

// inTransit is some bytes of a real group, for fuzzing.
func inTransit() (snapshot, events []byte) {
	g, _ := New(Config{})
	for i, c := range []Command{
		Join{Member: "a", Topics: []Topic{{"orders", 3, 0}, {"refunds", 1, 7}}, Instance: "i", Client: "c"},
		Join{Member: "b", Topics: []Topic{{"orders", 3, 0}}},
		Commit{"a", []Offset{{Claim{"orders", 0, 2}, 7, "m"}, {Claim{"refunds", 0, 2}, 9, ""}}},
		Park{"a", 2, KeyRef{Topic: "orders", Key: "k"}, ParkedRecord{5, 1, 10, false}, 3, "r", "e"},
		Hold{"a", 2, KeyRef{Topic: "orders", Key: "k"}, ParkedRecord{6, 2, 10, false}, false},
		Edit{KeyRef{Topic: "orders", Key: "k"}, 6, 3, 11, false},
		ReleaseKey{KeyRef{Topic: "orders", Key: "k"}},
		Release{"a", []Claim{{"orders", 2, 2}}},
		Rewind{[]Position{{"orders", 0, 1, ""}}},
		Resize{[]Topic{{"orders", 4, 0}}},
		Resize{[]Topic{{"refunds", 2, 8}}},
	} {
		e, _, err := g.Apply(int64(1000+i), c)
		if err != nil {
			panic(fmt.Sprintf("%+v: %v", c, err))
		}
		events = append(events, e...)
	}
	return g.Snapshot(), events
}

// usable applies commands to a group that was restored from anything.
func usable(t *testing.T, g *Group) {
	g.Describe()
	if len(g.Snapshot()) > g.Size() {
		t.Fatalf("a snapshot of %d bytes, Size says %d", len(g.Snapshot()), g.Size())
	}
	again, err := Restore(g.config, g.Snapshot())
	if err != nil || !bytes.Equal(again.Snapshot(), g.Snapshot()) {
		t.Fatalf("its own snapshot does not restore it: %v", err)
	}
	for _, c := range []Command{Recover{}, Join{Member: "z", Topics: []Topic{{"orders", 2, 0}}}, Tick{}, Forget{"orders", true}} {
		g.Apply(1<<40, c)
		g.Deadline()
	}
}

func FuzzRestore(f *testing.F) {
	snapshot, _ := inTransit()
	f.Add(snapshot[:len(snapshot)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := Restore(Config{}, sum(b)) // with the right checksum, or nothing gets past it
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		usable(t, g)
	})
}

func FuzzReplay(f *testing.F) {
	snapshot, events := inTransit()
	f.Add(events, false)
	f.Add(events[len(events)/2:], true)
	f.Fuzz(func(t *testing.T, events []byte, onTop bool) {
		g, err := New(Config{})
		if onTop {
			g, err = Restore(Config{}, snapshot)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Replay(Seal(events)); err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		usable(t, g)
	})
}

func TestDamageIsFound(t *testing.T) {
	snapshot, events := inTransit()
	for name, b := range map[string][]byte{"nothing": nil, "cut": snapshot[:len(snapshot)-1], "flipped": flip(snapshot, 20), "version": sum([]byte{9})} {
		if _, err := Restore(Config{}, b); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Errorf("snapshot, %s: %v", name, err)
		}
	}
	g, _ := New(Config{})
	if err := g.Replay(flip(Seal(events), 9)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("entry, flipped: %v", err)
	}
	if err := g.Replay(Seal([]byte{99})); !errors.Is(err, ErrVersion) {
		t.Errorf("an event of the future: %v", err)
	}
	// The same events twice do not follow the state they led to.
	if err := g.Replay(Seal(append(bytes.Clone(events), events...))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("events twice: %v", err)
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// A snapshot of the release before topics had incarnations.
func TestRestoreAnOlderSnapshot(t *testing.T) {
	old, err := hex.DecodeString("01010201010002066f72646572730207726566756e647301010161000001c8df02010001020200000102020107016d000000002b2659fc")
	if err != nil {
		t.Fatal(err)
	}
	g, err := Restore(Config{}, old)
	if err != nil {
		t.Fatal(err)
	}
	usable(t, g)
	if g, err = Restore(Config{}, old); err != nil {
		t.Fatal(err)
	}
	if next, ok := g.Committed("orders", 1); !ok || next != 7 || g.Describe().Topics[1] != (Topic{"refunds", 1, 0}) {
		t.Errorf("next is %d (%v), topics are %v", next, ok, g.Describe().Topics)
	}
}
