package queue

import (
	"slices"
	"testing"
	"time"
)

// expiring has a queue with so many messages that expire at 5,000, and have to be
// dead-lettered then.
func expiring(t *testing.T, n int) *rig {
	r := newRig(t, Config{DeadLetter: true, TTL: time.Second})
	entries := make([]Entry, n)
	for i := range entries {
		entries[i].Expires = 5000
	}
	r.publish(entries...)
	r.now = max(r.now, 5000)
	r.must(Tick{})
	return r
}

// asked returns the letters that were asked for since it was called last.
func (r *rig) asked() (refs []Ref) {
	for _, l := range r.dead {
		refs = append(refs, l.Ref)
	}
	r.dead = nil
	return refs
}

// However many messages are being dead-lettered, no more than some are asked for at once:
// what is written, and what fails, is a command of a bounded size.
func TestLettersAreAskedForByAndBy(t *testing.T) {
	const n = 3*lettersAtOnce + 7
	r := expiring(t, n)
	seen := map[Ref]bool{}
	for len(seen) < n {
		refs := r.asked()
		if len(refs) == 0 || len(refs) > lettersAtOnce {
			t.Fatalf("%d letters are asked for at once, after %d", len(refs), len(seen))
		}
		for _, ref := range refs {
			if seen[ref] {
				t.Fatalf("%v is asked for twice", ref)
			}
			seen[ref] = true
		}
		r.must(DeadLettered{refs})
	}
	if c := r.q.Counts(); c.Dead != n || c.Live != 0 {
		t.Errorf("%+v", c)
	}
}

// Letters that cannot be written wait, all of them for the same time, and do not hold up
// new ones. As soon as one of them was written the others follow.
func TestLettersThatFailWaitTogether(t *testing.T) {
	const n = 2*lettersAtOnce + 5
	r := expiring(t, n)
	for range 3 { // none can be written
		r.must(NotDeadLettered{r.asked(), time.Minute})
	}
	if refs := r.asked(); len(refs) != 0 {
		t.Fatalf("%d letters are asked for before their time", len(refs))
	}
	until := r.now + time.Minute.Milliseconds()
	if w := r.lastWake(); w != until {
		t.Fatalf("it wants to be woken at %d, not at %d", w, until)
	}
	r.publish(Entry{Expires: r.now + 1})
	r.now += 10
	r.must(Tick{})
	if refs := r.asked(); len(refs) != 1 || refs[0].Offset != n {
		t.Fatalf("a new one is held up: %v are asked for", refs)
	}
	r.must(DeadLettered{[]Ref{{1, n}}})
	if refs := r.asked(); len(refs) != 0 {
		t.Fatalf("that a new one was written says nothing of the others: %d are asked for", len(refs))
	}
	r.now = until
	r.must(Tick{})
	again := r.asked()
	if len(again) != lettersAtOnce {
		t.Fatalf("%d are asked for again", len(again))
	}
	for written := 0; written < n; written += len(again) {
		if written > 0 {
			again = r.asked()
		}
		if len(again) == 0 {
			t.Fatalf("after %d the others wait", written)
		}
		slices.Reverse(again)
		r.must(DeadLettered{again})
	}
	if c := r.q.Counts(); c.Dead != n+1 || c.Live != 0 {
		t.Errorf("%+v", c)
	}
}

func (r *rig) lastWake() (at int64) {
	for _, e := range r.all {
		if w, ok := e.(Wake); ok {
			at = w.At
		}
	}
	return at
}
