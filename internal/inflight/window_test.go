package inflight

import (
	"fmt"
	"testing"
)

// taken hands out all it can, and returns the tickets by offset.
func taken(w *Window[uint64]) map[uint64]Ticket {
	all := map[uint64]Ticket{}
	for {
		t, offset, ok := w.Take()
		if !ok {
			return all
		}
		all[offset] = t
	}
}

func add(w *Window[uint64], keys string) {
	for _, k := range keys {
		var key []byte
		if k != '-' {
			key = []byte(string(k))
		}
		w.Add(w.Next(), key, 1, w.Next())
	}
}

func position(t *testing.T, w *Window[uint64], want uint64) {
	t.Helper()
	if got := w.Position(); got != want {
		t.Errorf("the position is %d, want %d", got, want)
	}
}

func offsets(all map[uint64]Ticket) string {
	text := ""
	for o := range uint64(100) {
		if _, ok := all[o]; ok {
			text += fmt.Sprint(o, " ")
		}
	}
	return text
}

func TestOrderIsKeptPerKey(t *testing.T) {
	w := New[uint64](Limits{}, 10, 0)
	add(w, "aab-b-a")
	first := taken(w)
	if got := offsets(first); got != "0 2 3 5 " {
		t.Fatalf("handed out: %s", got)
	}
	w.Done(first[2])
	if got := offsets(taken(w)); got != "4 " {
		t.Errorf("after the first b: %s", got)
	}
	position(t, w, 0)
	w.Done(first[0])
	position(t, w, 1)
	second := taken(w)
	if got := offsets(second); got != "1 " {
		t.Errorf("after the first a: %s", got)
	}
	w.Done(second[1])
	position(t, w, 3)
	w.Done(first[3])
	position(t, w, 4)
}

func TestOneWorkerIsStrict(t *testing.T) {
	w := New[uint64](Limits{}, 1, 5)
	add(w, "a-b")
	for want := uint64(5); want < 8; want++ {
		all := taken(w)
		if got := offsets(all); got != fmt.Sprint(want, " ") {
			t.Fatalf("handed out: %s", got)
		}
		w.Done(all[want])
		position(t, w, want+1)
	}
}

func TestGapsInOffsets(t *testing.T) {
	w := New[uint64](Limits{}, 4, 0)
	for _, offset := range []uint64{3, 4, 9} {
		w.Add(offset, nil, 1, offset)
	}
	position(t, w, 3)
	all := taken(w)
	w.Done(all[3])
	w.Done(all[4])
	position(t, w, 9)
	w.Done(all[9])
	position(t, w, 10)
	w.Pass(20)
	position(t, w, 20)
}

func TestLimits(t *testing.T) {
	w := New[uint64](Limits{Span: 4, InFlight: 2, Bytes: 100}, 10, 0)
	add(w, "----")
	if w.Room() != 0 {
		t.Errorf("there is room for %d", w.Room())
	}
	all := taken(w)
	if got := offsets(all); got != "0 1 " {
		t.Errorf("handed out: %s", got)
	}
	w.Done(all[1])
	if w.Room() != 0 {
		t.Error("a record that is done frees room before the one in front of it is")
	}
	w.Done(all[0])
	if w.Room() != 2 {
		t.Errorf("there is room for %d", w.Room())
	}
	w.Add(4, nil, 1000, 4)
	if w.Room() != 0 || w.RoomBytes() != 0 {
		t.Errorf("there is room for %d, %d bytes", w.Room(), w.RoomBytes())
	}
}

func TestWorkersChangeWhileRunning(t *testing.T) {
	w := New[uint64](Limits{}, 1, 0)
	add(w, "abcdefgh")
	all := taken(w)
	w.SetWorkers(4)
	if w.Wanted() != 4 {
		t.Errorf("%d workers are wanted", w.Wanted())
	}
	for offset, ticket := range taken(w) {
		all[offset] = ticket
	}
	if got := offsets(all); got != "0 1 2 3 " {
		t.Errorf("handed out: %s", got)
	}
	w.SetWorkers(2)
	w.Done(all[0])
	w.Done(all[1])
	if more := taken(w); len(more) > 0 {
		t.Errorf("handed out with two workers busy: %s", offsets(more))
	}
	w.Done(all[3])
	if got := offsets(taken(w)); got != "4 " {
		t.Errorf("handed out: %s", got)
	}
}

func TestPostponed(t *testing.T) {
	for workers, others := range map[int]string{1: "", 2: "2 "} {
		w := New[uint64](Limits{}, workers, 0)
		add(w, "aab")
		first, _, _ := w.Take()
		again, ok := w.Postpone(first, 0)
		if !ok || w.Done(first) {
			t.Error("a ticket is good after it was given back")
		}
		if got := offsets(taken(w)); got != others {
			t.Errorf("%d workers: handed out meanwhile: %q", workers, got)
		}
		w.Resume(again)
		if got, _, ok := w.Take(); !ok || got != again {
			t.Errorf("%d workers: after the pause: %v %v", workers, got, ok)
		}
		w.Done(again)
		position(t, w, 1)
	}
}

func TestFinishLeavesNoHoles(t *testing.T) {
	w := New[uint64](Limits{}, 3, 0)
	add(w, "aaabca")
	all := taken(w)
	if got := offsets(all); got != "0 3 4 " {
		t.Fatalf("handed out: %s", got)
	}
	w.Finish()
	for _, next := range []uint64{0, 1, 2} {
		if w.Idle() {
			t.Error("it is idle too early")
		}
		w.Done(all[next])
		for offset, ticket := range taken(w) {
			all[offset] = ticket
		}
	}
	w.Done(all[3])
	w.Done(all[4])
	if got := offsets(all); got != "0 1 2 3 4 " || !w.Idle() {
		t.Errorf("handed out: %s, idle %v", got, w.Idle())
	}
	position(t, w, 5)
}

func TestReturnedRecordsAreInFlight(t *testing.T) {
	w := New[uint64](Limits{InFlight: 3}, 1, 0)
	add(w, "aa---")
	var held []Ticket
	for {
		ticket, _, ok := w.Take()
		if !ok {
			break
		}
		held = append(held, ticket)
		w.Return(ticket)
	}
	if len(held) != 3 || w.Running() != 0 || w.InFlight() != 3 {
		t.Fatalf("%d are held, %d running, %d in flight", len(held), w.Running(), w.InFlight())
	}
	position(t, w, 0)
	w.Done(held[0])
	if next, offset, ok := w.Take(); !ok || offset != 1 {
		t.Errorf("next is %d (%v) %v", offset, ok, next)
	}
}

func TestLateCompletionsAreIgnored(t *testing.T) {
	w := New[uint64](Limits{}, 4, 0)
	add(w, "a-")
	before := taken(w)
	w.Restart(0)
	add(w, "a-")
	if w.Done(before[0]) || w.Return(before[1]) {
		t.Error("a ticket from before is good")
	}
	after := taken(w)
	if len(after) != 2 || w.Running() != 2 {
		t.Errorf("handed out: %s", offsets(after))
	}
	w.Done(after[0])
	w.Close()
	if w.Done(after[1]) {
		t.Error("a ticket is good after the end")
	}
	position(t, w, 1)
}

func BenchmarkWindow(b *testing.B) {
	for _, workers := range []int{1, 100} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			keys := make([][]byte, 1000)
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "key-%d", i)
			}
			w := New[uint64](Limits{}, workers, 0)
			tickets := make([]Ticket, 0, workers)
			b.ReportAllocs()
			for i := range b.N {
				w.Add(uint64(i), keys[i%len(keys)], 100, 0)
				if t, _, ok := w.Take(); ok {
					tickets = append(tickets, t)
				}
				if len(tickets) == workers {
					for _, t := range tickets {
						w.Done(t)
					}
					tickets = tickets[:0]
				}
			}
		})
	}
}
