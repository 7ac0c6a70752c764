package queue

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"
)

// by returns how many deliveries each consumer got with the commands so far.
func (r *rig) by() map[string]int {
	n := map[string]int{}
	for _, e := range r.all {
		if d, ok := e.(Deliver); ok {
			n[d.Consumer] += len(d.Deliveries)
		}
	}
	r.all = nil
	return n
}

func TestConsumersOfOnePriorityTakeTurns(t *testing.T) {
	r := newRig(t, Config{})
	for _, name := range []string{"a", "b", "c"} {
		r.must(Subscribe{Consumer: name, Prefetch: 10})
	}
	r.publish(make([]Entry, 9)...)
	if n := r.by(); n["a"] != 3 || n["b"] != 3 || n["c"] != 3 {
		t.Fatalf("got %v", n)
	}
}

func TestConsumersOfHigherPriorityGoFirst(t *testing.T) {
	r := newRig(t, Config{})
	r.must(Subscribe{Consumer: "a", Prefetch: 2})
	r.must(Subscribe{Consumer: "b", Prefetch: 2, Priority: 1})
	r.publish(make([]Entry, 3)...)
	if n := r.by(); n["a"] != 1 || n["b"] != 2 {
		t.Fatalf("got %v", n)
	}
}

func TestAnExclusiveConsumerIsAlone(t *testing.T) {
	r := newRig(t, Config{})
	r.must(Subscribe{Consumer: "a", Exclusive: true})
	if err := r.do(Subscribe{Consumer: "b"}); !errors.Is(err, ErrExclusive) {
		t.Fatal(err)
	}
	r.must(Gone{"a"})
	r.must(Subscribe{Consumer: "b"})
	if err := r.do(Subscribe{Consumer: "c", Exclusive: true}); !errors.Is(err, ErrExclusive) {
		t.Fatal(err)
	}
}

func TestASingleActiveConsumerIsSucceeded(t *testing.T) {
	r := newRig(t, Config{SingleActive: true})
	r.must(Subscribe{Consumer: "a", Prefetch: 2})
	r.must(Subscribe{Consumer: "b", Prefetch: 2})
	r.publish(make([]Entry, 6)...)
	r.must(Cancel{Consumer: "a"})
	if n := r.by(); n["a"] != 2 || n["b"] != 0 {
		t.Fatalf("got %v", n)
	}
	r.must(Ack{Consumer: "a", Multiple: true})
	if n := r.by(); n["b"] != 2 {
		t.Fatalf("after the one before has settled: %v", n)
	}
	r.must(Subscribe{Consumer: "c", Prefetch: 2, Priority: 1})
	r.must(Ack{Consumer: "b", Tags: []uint64{1}})
	if n := r.by(); n["b"] != 0 || n["c"] != 0 {
		t.Fatalf("while the one before has something: %v", n)
	}
	r.must(Ack{Consumer: "b", Tags: []uint64{2}})
	if n := r.by(); n["c"] != 2 {
		t.Fatalf("the newcomer of higher priority: %v", n)
	}
}

func TestNoPriorityStarves(t *testing.T) {
	r := newRig(t, Config{StarvationBound: 10})
	entries := make([]Entry, 105)
	for i := range 100 {
		entries[i].Priority = 9
	}
	r.publish(entries...)
	r.must(Subscribe{Consumer: "a"})
	var low []uint64
	for i, d := range r.got {
		if d.Priority == 0 {
			low = append(low, uint64(i))
		}
	}
	r.want("turns of priority 0", low, []uint64{10, 21, 32, 43, 54})
}

func TestPrioritiesAreWeighted(t *testing.T) {
	r := newRig(t, Config{Weights: []int{0: 1, 9: 3}})
	entries := make([]Entry, 12)
	for i := range 9 {
		entries[i].Priority = 9
	}
	r.publish(entries...)
	r.must(Subscribe{Consumer: "a"})
	r.want("order", r.offsets(), []uint64{0, 1, 2, 9, 3, 4, 5, 10, 6, 7, 8, 11})
}

func TestAGroupIsOneAtATimeAndInOrder(t *testing.T) {
	r := newRig(t, Config{})
	r.publish(Entry{Group: 1}, Entry{Group: 1}, Entry{Group: 2}, Entry{Group: 1}, Entry{})
	r.must(Subscribe{Consumer: "a", Prefetch: 10})
	r.want("the first of each", r.offsets(), []uint64{0, 2, 4})
	r.must(Nack{Consumer: "a", Tags: []uint64{1}, Requeue: true, Delay: time.Second})
	r.want("while a retry is delayed", r.offsets(), nil)
	r.now += 1000
	r.must(Tick{})
	r.want("the retry", r.offsets(), []uint64{0})
	r.must(Ack{Consumer: "a", Tags: []uint64{4}})
	r.want("the next", r.offsets(), []uint64{1})
	r.must(Nack{Consumer: "a", Tags: []uint64{5}})
	r.want("after a rejection", r.offsets(), []uint64{3})
}

func TestOutcome(t *testing.T) {
	r := newRig(t, Config{DeadLetter: true})
	r.publish(Entry{}, Entry{}, Entry{}, Entry{Due: 9000}, Entry{}, Entry{})
	r.must(Subscribe{Consumer: "a", Prefetch: 4})
	r.must(Ack{Consumer: "a", Tags: []uint64{1}})
	r.must(Nack{Consumer: "a", Tags: []uint64{2}})
	r.must(Cancel{Consumer: "a"})
	r.publish(Entry{}, Entry{})
	want := []Outcome{
		{Status: StatusAcked, Consumer: "a", AtMs: 1000},
		{Status: StatusDying, AtMs: 1000, Reason: ReasonRejected, Attempts: 1},
		{Status: StatusInFlight, Consumer: "a", Tag: 3, AtMs: 1000},
		{Status: StatusDelayed, AtMs: 9000},
	}
	for i, o := range want {
		got := r.q.Outcome(Ref{1, uint64(i)})
		if !got.At().Equal(time.UnixMilli(o.AtMs)) {
			t.Errorf("%d: it is at %v, want %d ms", i, got.At(), o.AtMs)
		}
		got.Before = 0
		if got != o {
			t.Errorf("%d: got %+v, want %+v", i, got, o)
		}
	}
	if o := r.q.Outcome(Ref{1, 7}); o.Status != StatusReady || o.Before < 1 || o.Before > 7 {
		t.Errorf("the last: %+v", o)
	}
	if o := r.q.Outcome(Ref{1, 8}); o.Status != StatusUnknown || !o.At().IsZero() {
		t.Errorf("one that is not taken: %+v", o)
	}
	r.must(DeadLettered{[]Ref{{1, 1}}})
	if o := r.q.Outcome(Ref{1, 1}); o.Status != StatusDead || o.Reason != ReasonRejected || o.Attempts != 1 {
		t.Errorf("after dead-lettering: %+v", o)
	}
}

// The error that ends a message is in its dead letter, also of a queue that is restored
// before that is written.
func TestTheLastErrorIsInTheDeadLetter(t *testing.T) {
	c := Config{DeadLetter: true, DeliveryLimit: 2, Limits: Limits{ChunkMessages: 4}}
	r := newRig(t, c)
	r.publish(make([]Entry, 4)...)
	empty, _ := r.q.Snapshot()
	var journal []byte
	var letters []Letter
	do := func(command Command) {
		t.Helper()
		events, effects, err := r.q.Apply(1000, command)
		if err != nil {
			t.Fatal(err)
		}
		journal = append(journal, events...)
		for _, e := range effects {
			if e, is := e.(DeadLetter); is {
				letters = append(letters, e.Letters...)
			}
		}
	}
	do(Subscribe{Consumer: "a", Prefetch: 1})
	do(Nack{Consumer: "a", Tags: []uint64{1}, Error: "no address"})
	do(Nack{Consumer: "a", Tags: []uint64{2}, Requeue: true, Error: "busy"})
	do(Nack{Consumer: "a", Tags: []uint64{3}, Requeue: true, Error: "still busy"})
	do(Nack{Consumer: "a", Tags: []uint64{4}})
	want := []string{"no address", "still busy", ""}
	check := func(what string, letters []Letter) {
		t.Helper()
		var got []string
		for _, l := range letters {
			got = append(got, l.Error)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the letters say %q, want %q", what, got, want)
		}
	}
	check("at once", letters)
	snapshot, _ := r.q.Snapshot()
	again := func(what string, snapshot, journal []byte) {
		t.Helper()
		q, err := Restore(c, snapshot)
		if err == nil {
			err = q.Replay(journal)
		}
		if err != nil {
			t.Fatal(what, err)
		}
		letters, r.q = nil, q
		do(Recover{})
		check(what, letters)
	}
	again("from a snapshot", snapshot, nil)
	again("from a journal", empty, journal[:len(journal):len(journal)])
}

// Where dead letters cannot be written, not all errors are kept.
func TestNotAllErrorsAreKept(t *testing.T) {
	r := newRig(t, Config{DeadLetter: true})
	r.publish(make([]Entry, maxTexts+1)...)
	r.must(Subscribe{Consumer: "a", Prefetch: maxTexts + 1})
	r.must(Nack{Consumer: "a", Multiple: true, Error: "no address"})
	texts := 0
	for _, c := range r.q.feeds[0].chunks {
		for _, m := range c.marks {
			if m.text != "" {
				texts++
			}
		}
	}
	if texts != maxTexts {
		t.Errorf("%d errors are kept", texts)
	}
}

// What ended is said of many messages as it is of one.
func TestEndedSaysWhatOutcomeDoes(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{ChunkMessages: 4, History: 6}})
	r.publish(make([]Entry, 12)...)
	r.must(Subscribe{Consumer: "a", Prefetch: 10})
	r.must(Ack{Consumer: "a", Tags: []uint64{1, 2, 3, 5, 8, 9}})
	r.must(Nack{Consumer: "a", Tags: []uint64{6}})
	r.must(Ack{Consumer: "a", Tags: []uint64{7}})
	for _, entries := range [][]Entry{r.log, r.log[2:7], r.log[5:6], nil} {
		for i, got := range r.q.Ended(entries) {
			var want Outcome
			if o := r.q.Outcome(entries[i].Ref); o.Status >= StatusAcked {
				want = o
			}
			if got != want {
				t.Errorf("%v: %+v, want %+v", entries[i].Ref, got, want)
			}
		}
	}
	if all := r.q.Ended(r.log); all[0].Status != StatusGone || all[4].Status != StatusAcked || all[5].Status != StatusDropped || all[3].Status != StatusUnknown {
		t.Errorf("%+v", all)
	}
}

func TestReplayTouchesNothingElse(t *testing.T) {
	r := newRig(t, Config{})
	r.publish(make([]Entry, 4)...)
	r.must(Subscribe{Consumer: "a", Prefetch: 4})
	r.must(Ack{Consumer: "a", Multiple: true})
	before, _ := r.q.Snapshot()
	r.got = nil
	r.must(Replay{"a", r.log[1:4]})
	if len(r.got) != 3 || r.got[0].Cause != CauseReplay || r.got[0].Tag != 5 || r.got[0].Offset != 1 {
		t.Fatalf("got %+v", r.got)
	}
	if err := r.do(Replay{"a", r.log[:2]}); !errors.Is(err, ErrLimit) {
		t.Fatalf("there is room for one: %v", err)
	}
	r.must(Purge{})
	r.must(Nack{Consumer: "a", Tags: []uint64{5}, Requeue: true})
	r.must(Ack{Consumer: "a", Tags: []uint64{6}})
	r.must(Gone{"a"})
	if after, _ := r.q.Snapshot(); !slices.Equal(before, after) {
		t.Fatal("the state has changed")
	}
}

func TestARelocatedMessageFreesItsLog(t *testing.T) {
	c := Config{Limits: Limits{ChunkMessages: 4}}
	r := newRig(t, c)
	r.publish(make([]Entry, 12)...)
	r.must(Subscribe{Consumer: "a", Prefetch: 12})
	for tag := uint64(1); tag <= 12; tag++ {
		if tag != 2 {
			r.must(Ack{Consumer: "a", Tags: []uint64{tag}})
		}
	}
	if _, releases := r.q.Snapshot(); !slices.Equal(releases, []Release{{1, 1}}) {
		t.Fatalf("it releases %v", releases)
	}
	to := r.log[1]
	to.Ref = Ref{7, 5}
	r.must(Relocate{[]Move{{Ref{1, 1}, to}}})
	state, releases := r.q.Snapshot()
	if !slices.Equal(releases, []Release{{1, 12}, {7, 5}}) {
		t.Fatalf("it releases %v", releases)
	}
	q, err := Restore(c, state)
	if err != nil {
		t.Fatal(err)
	}
	r.q, r.got, r.trimmed = q, nil, 12
	r.must(Recover{})
	r.must(Subscribe{Consumer: "b"})
	if len(r.got) != 1 || r.got[0].Ref != (Ref{1, 1}) || r.got[0].Body != (Ref{7, 5}) {
		t.Fatalf("got %+v", r.got)
	}
	r.must(Started{"b", 1})
	r.must(Ack{Consumer: "b", Tags: []uint64{1}})
	if _, releases := r.q.Snapshot(); !slices.Equal(releases, []Release{{1, 12}}) {
		t.Fatalf("in the end it releases %v", releases)
	}
}

func TestWhatALogHasLostIsCounted(t *testing.T) {
	c := Config{Limits: Limits{ChunkMessages: 4}}
	r := newRig(t, c)
	r.publish(make([]Entry, 8)...)
	state, _ := r.q.Snapshot()
	q, err := Restore(c, state)
	if err != nil {
		t.Fatal(err)
	}
	r.q, r.trimmed = q, 6
	r.must(Recover{})
	r.must(Subscribe{Consumer: "a"})
	r.want("what is left", r.offsets(), []uint64{6, 7})
	if n := r.q.Counts(); n.Lost != 6 || n.Live != 2 || n.Taken != 8 {
		t.Fatalf("%+v", n)
	}
}

func TestAnUnusedQueueIsReportedOnce(t *testing.T) {
	r := newRig(t, Config{Expires: time.Second, AutoDelete: true})
	reports := func() (n int) {
		for _, e := range r.all {
			if e, ok := e.(Expired); ok && e.Unused {
				n++
			}
		}
		return n
	}
	r.must(Tick{})
	r.now += 600
	r.must(Touch{})
	r.now += 600
	r.must(Tick{})
	if reports() != 0 {
		t.Fatal("it was touched")
	}
	r.now += 400
	r.must(Tick{})
	r.must(Tick{})
	if reports() != 1 {
		t.Fatalf("%d reports", reports())
	}
	r.must(Subscribe{Consumer: "get", Pull: true})
	r.must(Cancel{Consumer: "get"})
	if slices.Contains(r.all, Effect(Expired{})) {
		t.Fatal("AutoDelete: there was no consumer but one that pulls")
	}
	r.must(Subscribe{Consumer: "a"})
	r.must(Subscribe{Consumer: "get once more", Pull: true})
	r.must(Cancel{Consumer: "a"})
	if !slices.Contains(r.all, Effect(Expired{})) {
		t.Fatal("AutoDelete: the last consumer has left")
	}
}

func TestPullsEnd(t *testing.T) {
	r := newRig(t, Config{})
	r.must(Subscribe{Consumer: "a", Pull: true})
	r.publish(make([]Entry, 3)...)
	r.want("without a pull", r.offsets(), nil)
	r.must(Pull{"a", 2, 2000})
	r.want("two", r.offsets(), []uint64{0, 1})
	if !slices.Contains(r.all, Effect(Pulled{"a", 0})) {
		t.Fatalf("effects %+v", r.all)
	}
	r.must(Pull{"a", 2, 2000})
	r.now = 2000
	r.must(Tick{})
	if !slices.Contains(r.all, Effect(Pulled{"a", 1})) {
		t.Fatalf("effects %+v", r.all)
	}
}

// What is there is pulled at once, though it has to be loaded first.
func TestAPullWaitsForWhatIsLoaded(t *testing.T) {
	r := newRig(t, Config{})
	r.publish(make([]Entry, 3)...)
	state, _ := r.q.Snapshot()
	q, err := Restore(Config{}, state)
	if err != nil {
		t.Fatal(err)
	}
	r.q = q
	r.must(Recover{})
	r.must(Subscribe{Consumer: "a", Pull: true})
	r.must(Pull{"a", 2, r.now})
	r.want("two", r.offsets(), []uint64{0, 1})
	r.must(Pull{"a", 2, r.now})
	r.want("one more", r.offsets(), []uint64{2})
	if !slices.Contains(r.all, Effect(Pulled{"a", 0})) || !slices.Contains(r.all, Effect(Pulled{"a", 1})) {
		t.Fatalf("effects %+v", r.all)
	}
}

// A queue that was stopped in an orderly way has no suspects.
func TestAnOrderlyStopLeavesNoSuspects(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		r := newRig(t, Config{})
		r.publish(make([]Entry, 3)...)
		r.must(Subscribe{Consumer: "a"})
		if orderly {
			r.must(Stop{})
			if err := r.do(Tick{}); !errors.Is(err, ErrInvalid) {
				t.Fatalf("a command after Stop: %v", err)
			}
		}
		state, _ := r.q.Snapshot()
		q, err := Restore(Config{}, state)
		if err != nil {
			t.Fatal(err)
		}
		r.q, r.got = q, nil
		r.must(Recover{})
		r.must(Subscribe{Consumer: "b"})
		if want := map[bool]int{true: 3, false: 1}[orderly]; len(r.got) != want || r.got[0].Probation == orderly {
			t.Fatalf("orderly %v: got %+v", orderly, r.got)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{MaxPriority: 32}, {Overflow: 9}, {Retry: Retry{First: -2}}, {Retry: Retry{Jitter: 2}}, {TTL: -3},
		{Weights: make([]int, 33)}, {StarvationBound: -1}, {Expires: -1}} {
		if _, err := New(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Nothing is too long to wait for: what exceeds a duration is not tried again at once.
func TestTheLongestRetryIsLong(t *testing.T) {
	c, err := Config{Retry: Retry{First: math.MaxInt64, Factor: 1e300}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for attempt := 1; attempt < 4; attempt++ {
		if ms := c.Retry.delay(attempt, Ref{1, 1}); time.Duration(ms)*time.Millisecond < 200*365*24*time.Hour {
			t.Errorf("after attempt %d it waits %d ms", attempt, ms)
		}
	}
}

func TestRetriesBackOff(t *testing.T) {
	p := Retry{First: 100 * time.Millisecond, Factor: 3, Max: time.Second}
	for attempt, want := range []int64{1: 100, 2: 300, 3: 900, 4: 1000, 50: 1000} {
		if got := p.delay(attempt, Ref{1, 1}); attempt > 0 && want > 0 && got != want {
			t.Errorf("after attempt %d: %d ms, want %d", attempt, got, want)
		}
	}
	p.Jitter = 0.5
	seen := map[int64]bool{}
	for i := range uint64(100) {
		d := p.delay(4, Ref{1, i})
		if seen[d] = true; d < 500 || d > 1000 {
			t.Fatalf("a delay of %d ms", d)
		}
	}
	if len(seen) < 50 {
		t.Fatalf("only %d delays of 100 differ", len(seen))
	}
}

func TestWhatWaitsCanBeDropped(t *testing.T) {
	c := Config{Limits: Limits{ChunkMessages: 4}}
	r := newRig(t, c)
	r.publish(make([]Entry, 12)...)
	r.must(Drop{Refs: []Ref{{1, 9}, {1, 1}}})
	r.must(Subscribe{Consumer: "a", Prefetch: 1})
	if err := r.do(Drop{Refs: []Ref{{1, 5}, {1, 0}}}); !errors.Is(err, ErrInFlight) {
		t.Fatalf("one is in flight: %v", err)
	}
	if err := r.do(Drop{Refs: []Ref{{1, 5}, {1, 9}}}); !errors.Is(err, ErrUnknownMessage) {
		t.Fatalf("one is gone: %v", err)
	}
	r.must(Stop{})
	state, _ := r.q.Snapshot()
	q, err := Restore(c, state)
	if err != nil {
		t.Fatal(err)
	}
	r.q, r.got = q, nil
	r.must(Recover{})
	r.must(Drop{Refs: []Ref{{1, 2}, {1, 3}, {1, 8}}, Moved: true}) // not in memory
	if n := r.q.Counts(); n.Dropped != 2 || n.Moved != 3 || n.Ready != 7 {
		t.Fatalf("%+v", n)
	}
	r.must(Subscribe{Consumer: "b"})
	r.want("what is left", r.offsets(), []uint64{0, 4, 5, 6, 7, 10, 11})
}

func TestTenantsTakeTurns(t *testing.T) {
	r := newRig(t, Config{FairTenants: true})
	entries := make([]Entry, 12)
	for i := range 8 {
		entries[i].Tenant = 7 // has a backlog before the others come
	}
	entries[10].Tenant, entries[11].Tenant = 8, 8
	r.publish(entries...)
	r.must(Subscribe{Consumer: "a"})
	r.want("order", r.offsets(), []uint64{0, 8, 10, 1, 9, 11, 2, 3, 4, 5, 6, 7})
}

// A queue is purged, crashes, is purged again before it has caught up, and crashes.
func TestPurgesBeforeCatchingUp(t *testing.T) {
	entries := make([]Entry, 10)
	for i := range entries {
		entries[i].Ref = Ref{1, uint64(i)}
	}
	var journal []byte
	for life, taken := range []int{10, 5, 10} {
		q, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Replay(journal); err != nil {
			t.Fatal(err)
		}
		for _, c := range []Command{Recover{}, Subscribe{Consumer: "a", Prefetch: 2}, Take{Log: 1, Entries: entries[:taken], Next: uint64(taken)}, Purge{}} {
			events, _, err := q.Apply(1000, c)
			if err != nil {
				t.Fatal(err)
			}
			journal = append(journal, events...)
		}
		live := 1 // of two that were in flight, both are suspect: one waits, and is purged
		if life == 0 {
			live = 2
		}
		if n := q.Counts(); n.Live != live || n.InFlight != live || n.Purged != uint64(10-live) {
			t.Fatalf("life %d: %+v", life, n)
		}
	}
}

// What expired in the hands of a consumer ends when it is taken back, and is neither
// ready nor delivered in between.
func TestWhatExpiredInFlightEndsWithTheSettleTimeout(t *testing.T) {
	r := newRig(t, Config{SettleTimeout: time.Second})
	r.must(Subscribe{Consumer: "a", Prefetch: 1})
	r.publish(Entry{Expires: r.now + 100})
	r.must(Pause{Delivery: true})
	r.now += 1000
	r.must(Tick{})
	if n := r.q.Counts(); n.Expired != 1 || n.Live != 0 {
		t.Fatalf("it counts %+v", n)
	}
}

// A consumer that holds what it has for long gets all suspects at once, flagged, and a
// crash of its own is not charged to them, be it the process or the consumer alone.
func TestWhoHoldsMessagesIsNotOnProbation(t *testing.T) {
	r := newRig(t, Config{DeliveryLimit: 1})
	r.publish(make([]Entry, 3)...)
	r.must(Subscribe{Consumer: "a", Holds: true})
	for _, consumer := range []string{"b", "c"} {
		state, _ := r.q.Snapshot()
		q, err := Restore(Config{DeliveryLimit: 1}, state)
		if err != nil {
			t.Fatal(err)
		}
		r.q, r.got = q, nil
		r.must(Recover{})
		r.must(Subscribe{Consumer: consumer, Holds: true})
		if len(r.got) != 3 {
			t.Fatalf("%s got %+v", consumer, r.got)
		}
		for _, d := range r.got {
			if d.Probation || !d.Redelivered || d.Attempt != 1 || d.Cause != CauseCrash {
				t.Errorf("%s got %+v", consumer, d)
			}
		}
		if n := r.q.InHand(consumer); n != 3 {
			t.Errorf("%s has %d in hand", consumer, n)
		}
	}
	r.got = nil
	r.must(Gone{"c"})
	r.must(Subscribe{Consumer: "d"}) // of somebody else's they are suspect still
	if len(r.got) != 1 || !r.got[0].Probation || r.got[0].Attempt != 1 {
		t.Errorf("d got %+v", r.got)
	}
}

// The longest delay does not overflow into none.
func TestTheLongestRetryWaits(t *testing.T) {
	r := newRig(t, Config{Retry: Retry{First: math.MaxInt64, Max: math.MaxInt64}})
	r.publish(Entry{})
	r.must(Subscribe{Consumer: "a"})
	r.must(Nack{Consumer: "a", Tags: []uint64{1}, Requeue: true})
	r.now += time.Hour.Milliseconds()
	r.must(Tick{})
	if c := r.q.Counts(); c.Delayed != 1 {
		t.Errorf("%+v", c)
	}
}

// A message that is to be delivered at once or not at all, but later, is delivered when
// it is due, if it can be.
func TestAtOnceIsWhenAMessageIsDue(t *testing.T) {
	for _, c := range []Config{{}, {TTL: ExpireAtOnce}} {
		r := newRig(t, c)
		entry := Entry{Due: 5000}
		if c.TTL == 0 {
			entry.Expires = 5000
		}
		r.must(Subscribe{Consumer: "a", Prefetch: 1})
		r.publish(entry, entry)
		r.now = 5003
		r.must(Tick{})
		r.want("when they are due", r.offsets(), []uint64{0})
		if n := r.q.Counts(); n.InFlight != 1 || n.Expired != 1 {
			t.Errorf("there is room for one: %+v", n)
		}
		r.must(Nack{Consumer: "a", Tags: []uint64{1}, Requeue: true})
		if n := r.q.Counts(); n.Live != 0 || n.Expired != 2 {
			t.Errorf("it was not done at once: %+v", n)
		}
	}
}

func TestConfigsThatMakeNoSense(t *testing.T) {
	for name, c := range map[string]Config{
		"a factor that is no number": {Retry: Retry{Factor: math.NaN()}},
		"an infinite factor":         {Retry: Retry{Factor: math.Inf(1)}},
		"a jitter that is no number": {Retry: Retry{Jitter: math.NaN()}},
		"a negative longest delay":   {Retry: Retry{Max: -1}},
		"a negative weight":          {Weights: []int{-1}},
	} {
		if _, err := New(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is shorter than a millisecond counts as one: it is not never, nor at once.
func TestTheShortestTimesCount(t *testing.T) {
	r := newRig(t, Config{TTL: 1, SettleTimeout: 1})
	r.publish(Entry{})
	if n := r.q.Counts(); n.Ready != 1 {
		t.Fatalf("it has expired at once: %+v", n)
	}
	r.now += 10
	r.must(Tick{})
	if n := r.q.Counts(); n.Expired != 1 {
		t.Fatalf("it has not expired: %+v", n)
	}
	r = newRig(t, Config{SettleTimeout: 1})
	r.publish(Entry{})
	r.must(Subscribe{Consumer: "a", Prefetch: 1})
	r.now += 10
	r.must(Tick{})
	if len(r.got) != 2 || r.got[1].Cause != CauseTimeout && r.got[1].Cause != CauseReturned {
		t.Fatalf("it was not taken back: %+v", r.got)
	}
}
