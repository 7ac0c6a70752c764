package actor

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// What comes out of a journal is what went in, however large it was, and wherever the
// journal is cut behind a round.
func TestFramesComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o shardOutbox
		var journal [][]byte
		model := map[uint32]*queueJournal{}
		durable := map[uint32]*queueJournal{} // once whole
		drain := func(all bool) {
			for !o.isEmpty() {
				entry, done := o.next()
				journal = append(journal, bytes.Clone(entry))
				for _, f := range done {
					f()
				}
				if !all {
					return
				}
			}
		}
		pending := map[uint32]bool{} // has a snapshot under way
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			id := uint32(rapid.IntRange(1, 3).Draw(t, "queue"))
			m := model[id]
			if m == nil {
				m = &queueJournal{}
				model[id] = m
			}
			size := rapid.SampledFrom([]int{1, 100, shardPartBytes + 1, 2*shardPartBytes + 5, shardEntryBytes + 7}).Draw(t, "size")
			data := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(t, "byte"))}, size)
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				m.events = append(m.events, data...)
				o.add(shardWrite{queue: id, data: data})
			case 1:
				if pending[id] {
					continue
				}
				pending[id] = true
				m.snapshot, m.events = data, nil
				o.add(shardWrite{queue: id, data: data, snapshot: true, durable: func() { pending[id] = false }})
			case 2:
				drain(false)
			}
		}
		drain(true)
		r := &shardReader{queues: durable}
		for _, entry := range journal {
			if err := r.replay(entry); err != nil {
				t.Fatal(err)
			}
		}
		for id, m := range model {
			got := durable[id]
			if got == nil {
				got = &queueJournal{}
			}
			if !bytes.Equal(got.snapshot, m.snapshot) || !bytes.Equal(got.events, m.events) {
				t.Fatalf("queue %d has %d and %d bytes, want %d and %d", id, len(got.snapshot), len(got.events), len(m.snapshot), len(m.events))
			}
		}
	})
}

func TestDamagedEntriesAreRefused(t *testing.T) {
	entry := endEntry(appendFrame(beginEntry(nil), 7, frameEvents, []byte("abc")))
	for i := range entry {
		bad := bytes.Clone(entry)
		bad[i] ^= 1
		if err := eachFrame(bad, func(frame) error { return nil }); !errors.Is(err, ErrCorrupt) {
			t.Errorf("with byte %d changed: %v", i, err)
		}
	}
	for n := range entry {
		if err := eachFrame(entry[:n], func(frame) error { return nil }); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

func FuzzShardEntry(f *testing.F) {
	f.Add(appendFrame(beginEntry(nil), 7, frameEvents, []byte("abc")))
	f.Add(appendFrame(appendFrame(beginEntry(nil), 7, frameSnapshotBegin, nil), 7, frameSnapshotEnd, []byte("abc")))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &shardReader{queues: map[uint32]*queueJournal{}}
		if err := r.replay(endEntry(b)); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
	})
}
