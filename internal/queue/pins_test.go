package queue

import (
	"slices"
	"testing"
)

// sparse has messages at every third offset of a log, 3 to 21, in chunks of 4.
func sparse(t *testing.T) *rig {
	r := newRig(t, Config{Limits: Limits{ChunkMessages: 4}})
	var entries []Entry
	for offset := uint64(3); offset < 24; offset += 3 {
		entries = append(entries, Entry{Ref: Ref{1, offset}})
	}
	r.must(Take{Log: 1, Entries: entries, Next: 30})
	r.must(Subscribe{Consumer: "a", Prefetch: 100})
	return r
}

func TestPinsAreWhereMessagesAre(t *testing.T) {
	r := sparse(t)
	r.must(Ack{Consumer: "a", Tags: []uint64{1, 3, 5}}) // 3, 9, 15
	check := func(what string, before uint64, want ...Pin) {
		t.Helper()
		if got := r.q.Pins(1, before); !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	check("all", 30, Pin{3, 13, 2}, Pin{15, 22, 2})
	check("some", 14, Pin{3, 13, 2})
	check("part of a range", 5, Pin{3, 5, 2})
	check("none", 3)
	if got := r.q.Pins(2, 30); got != nil {
		t.Errorf("of a log that it knows nothing of: %+v", got)
	}
	if r.q.Needs(Ref{1, 3}) || !r.q.Needs(Ref{1, 6}) || r.q.Needs(Ref{2, 6}) {
		t.Error("it needs other messages than those it has")
	}
	move := Move{Ref{1, 6}, Entry{Ref: Ref{7, 5}, Arrived: 9}}
	r.must(Relocate{[]Move{move}})
	check("one is elsewhere", 14, Pin{3, 13, 1})
	if got := r.q.Relocated(); !slices.Equal(got, []Move{move}) || r.q.Needs(Ref{1, 6}) {
		t.Errorf("it has relocated %+v", got)
	}
}

// Records between its messages are not the queue's: they do not keep its log.
func TestWhatIsRelocatedFreesALogWithOtherRecords(t *testing.T) {
	r := sparse(t)
	r.must(Ack{Consumer: "a", Tags: []uint64{1, 3, 4, 5, 6, 7}})
	r.must(Relocate{[]Move{{Ref{1, 6}, Entry{Ref: Ref{7, 5}}}}})
	if _, releases := r.q.Snapshot(); !slices.Equal(releases, []Release{{1, 30}, {7, 5}}) {
		t.Errorf("it releases %v", releases)
	}
}
