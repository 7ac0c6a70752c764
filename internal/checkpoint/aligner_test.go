package checkpoint

import (
	"testing"

	"pgregory.net/rapid"
)

func TestOneChannelNeverBlocks(t *testing.T) {
	a := NewAligner(1, true)
	for n := uint64(1); n < 5; n++ {
		if !a.Barrier(0, n) || a.Blocked(0) {
			t.Fatal("a single barrier is all there is to wait for")
		}
	}
}

func TestAlignedChannelsWait(t *testing.T) {
	a := NewAligner(3, true)
	if a.Barrier(1, 1) || !a.Blocked(1) || a.Blocked(0) {
		t.Fatal("only the channel whose barrier came is blocked")
	}
	if a.Barrier(0, 1) || !a.Barrier(2, 1) {
		t.Fatal("the last barrier completes")
	}
	if a.Blocked(0) || a.Blocked(1) || a.Blocked(2) || a.Aligning() != 0 {
		t.Fatal("nothing is blocked once complete")
	}
}

func TestUnalignedChannelsGoOn(t *testing.T) {
	a := NewAligner(2, false)
	if a.Barrier(0, 1) || a.Blocked(0) {
		t.Fatal("at-least-once does not block")
	}
	if !a.Barrier(1, 1) {
		t.Fatal("the last barrier completes")
	}
}

func TestANewerCheckpointEndsTheWaitForAnOlder(t *testing.T) {
	a := NewAligner(2, true)
	a.Barrier(0, 1)
	if a.Barrier(0, 2) || !a.Blocked(0) {
		t.Fatal("channel 0 now waits for checkpoint 2")
	}
	if a.Barrier(1, 1) {
		t.Fatal("checkpoint 1 was given up")
	}
	if !a.Barrier(1, 2) {
		t.Fatal("checkpoint 2 completes")
	}
}

func TestAbortUnblocks(t *testing.T) {
	a := NewAligner(2, true)
	a.Barrier(0, 1)
	a.Abort(1)
	if a.Blocked(0) || a.Barrier(1, 1) {
		t.Fatal("an aborted checkpoint blocks nothing and never completes")
	}
}

// Whatever the interleaving, a snapshot is taken exactly when every channel's
// barrier has come, and then no channel has gone past it.
func TestSnapshotsAreConsistentCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "channels")
		a := NewAligner(n, true)
		passed := make([]uint64, n) // barriers consumed by channel
		for snapshots := uint64(0); snapshots < 6; {
			ch := rapid.IntRange(0, n-1).Draw(t, "channel")
			if a.Blocked(ch) {
				continue
			}
			passed[ch]++
			if a.Barrier(ch, passed[ch]) {
				snapshots++
				for c, p := range passed {
					if p != snapshots {
						t.Fatalf("snapshot %d taken with channel %d at barrier %d", snapshots, c, p)
					}
				}
			}
		}
	})
}
