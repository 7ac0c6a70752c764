package queue

import (
	"bytes"
	"errors"
	"testing"

	"github.com/troupestream/troupe/internal/wire"
)

// sample is a queue to which many things have happened, with its journal.
func sample(t testing.TB) (q *Queue, journal []byte) {
	q, err := New(Config{DeadLetter: true, Limits: Limits{ChunkMessages: 4, ReserveMin: 2, ReserveMax: 4}})
	if err != nil {
		t.Fatal(err)
	}
	var entries []Entry
	for i := range uint64(12) {
		entries = append(entries, Entry{Ref: Ref{1, 10 + 2*i}, Bytes: 5, Priority: uint8(i % 2), Group: i % 3})
	}
	for i, c := range []Command{
		Take{Log: 1, Entries: entries, Next: 40}, Subscribe{Consumer: "a", Prefetch: 3}, Ack{Consumer: "a", Tags: []uint64{1}},
		Nack{Consumer: "a", Tags: []uint64{2}, Error: "no address"}, Nack{Consumer: "a", Tags: []uint64{3}, Requeue: true, Delay: 1e9},
		Gone{"a"}, Pause{Publishing: true}, Recover{}, Purge{}, Tick{},
	} {
		events, _, err := q.Apply(int64(1000+i), c)
		if err != nil {
			t.Fatalf("%T: %v", c, err)
		}
		journal = append(journal, events...)
	}
	return q, journal
}

// Whatever the bytes, Replay and Restore return an error or a queue that is sound,
// and what is restored makes the same snapshot again.
func FuzzReplay(f *testing.F) {
	_, journal := sample(f)
	f.Add(journal)
	f.Add([]byte{kindEnded, 1, 0, 0, 1, 255, 255, 3, 0, 0})
	far := writer{wire.Writer{B: []byte{kindReturned}}} // an offset that no message can have
	returned{feed: &feed{log: 1}, offset: maxOffset, cause: CauseFailed}.put(&far)
	f.Add(far.B)
	f.Fuzz(func(t *testing.T, events []byte) {
		q, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Replay(events); err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		if _, _, err := q.Apply(0, Recover{}); err == nil {
			restoreAgain(t, q)
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	q, _ := sample(f)
	state, _ := q.Snapshot()
	f.Add(state[:len(state)-4])
	f.Fuzz(func(t *testing.T, state []byte) {
		q, err := Restore(Config{}, sum(bytes.Clone(state)))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		restoreAgain(t, q)
	})
}

func restoreAgain(t *testing.T, q *Queue) {
	state, _ := q.Snapshot()
	again, err := Restore(Config{}, state)
	if err != nil {
		t.Fatalf("a snapshot cannot be restored: %v", err)
	}
	if second, _ := again.Snapshot(); !bytes.Equal(state, second) {
		t.Fatalf("it restores to another one:\n%x\n%x", state, second)
	}
}

// The events of one command after the other, or all at once, are the same; and a
// cut journal is found out unless the cut is between events.
func TestReplayInPieces(t *testing.T) {
	_, journal := sample(t)
	for cut := range journal {
		q, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Replay(journal[:cut]); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}
