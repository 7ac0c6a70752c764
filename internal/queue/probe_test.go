package queue

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// rig drives a queue over one log, with consumers that note what they get.
type rig struct {
	testing.TB
	q    *Queue
	now  int64
	log  []Entry
	got  []Delivery
	dead []Letter
	all  []Effect

	trimmed uint64 // where the log begins
}

func newRig(t testing.TB, c Config) *rig {
	q, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{TB: t, q: q, now: 1000}
}

func (r *rig) do(c Command) error {
	_, effects, err := r.q.Apply(r.now, c)
	r.all = append(r.all, effects...)
	for _, e := range effects {
		switch e := e.(type) {
		case Deliver:
			r.got = append(r.got, e.Deliveries...)
		case DeadLetter:
			r.dead = append(r.dead, e.Letters...)
		case Load:
			from := max(e.First, min(r.trimmed, e.Next))
			r.must(Loaded{Load: e, Entries: slices.Clone(r.log[from:e.Next]), Begin: r.trimmed})
		}
	}
	if err := r.q.Check(); err != nil {
		r.Fatalf("after %T: %v", c, err)
	}
	return err
}

func (r *rig) must(c Command) {
	r.Helper()
	if err := r.do(c); err != nil {
		r.Fatalf("%T: %v", c, err)
	}
}

// publish publishes messages, one a millisecond, and lets the queue take them.
func (r *rig) publish(entries ...Entry) {
	r.Helper()
	first := len(r.log)
	for _, e := range entries {
		e.Ref, e.Arrived = Ref{1, uint64(len(r.log))}, r.now
		r.log = append(r.log, e)
	}
	r.must(Take{Log: 1, Entries: slices.Clone(r.log[first:]), Next: uint64(len(r.log))})
}

// offsets returns those of what was delivered since the last call.
func (r *rig) offsets() (all []uint64) {
	for _, d := range r.got {
		all = append(all, d.Offset)
	}
	r.got = nil
	return all
}

func (r *rig) want(what string, got, want []uint64) {
	r.Helper()
	if !slices.Equal(got, want) {
		r.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// What a live RabbitMQ answered, where it is not called a flaw.

func TestTheFirstOfTwoIsRequeuedToItsPlace(t *testing.T) {
	r := newRig(t, Config{})
	r.publish(Entry{}, Entry{}, Entry{}, Entry{})
	r.must(Subscribe{Consumer: "a", Pull: true})
	r.must(Pull{"a", 2, 2000})
	r.must(Nack{Consumer: "a", Tags: []uint64{1}, Requeue: true})
	r.must(Pull{"a", 3, 2000})
	if !r.got[2].Redelivered || r.got[3].Redelivered || r.got[4].Redelivered {
		t.Fatalf("got %+v", r.got)
	}
	r.want("order", r.offsets(), []uint64{0, 1, 0, 2, 3})
}

func TestPriorityOrder(t *testing.T) {
	r := newRig(t, Config{MaxPriority: 5})
	r.publish(Entry{}, Entry{Priority: 1}, Entry{Priority: 9}, Entry{Priority: 5}, Entry{}, Entry{Priority: 5})
	r.must(Subscribe{Consumer: "a"})
	// 9 is clamped to 5 and came first.
	r.want("order", r.offsets(), []uint64{2, 3, 5, 1, 0, 4})
}

func TestTimeToLiveOfZero(t *testing.T) {
	r := newRig(t, Config{TTL: ExpireAtOnce})
	r.publish(Entry{})
	if n := r.q.Counts(); n.Live != 0 || n.Expired != 1 {
		t.Fatalf("without a consumer: %+v", n)
	}
	r.must(Subscribe{Consumer: "a"})
	r.publish(Entry{})
	r.want("with a consumer", r.offsets(), []uint64{1})
}

// In RabbitMQ a message with a short time to live waits behind one with a longer.
func TestExpiryIsOnTimeBehindTheHead(t *testing.T) {
	r := newRig(t, Config{DeadLetter: true})
	r.publish(Entry{Expires: 9000}, Entry{Expires: 1100})
	if w, ok := r.all[len(r.all)-1].(Wake); !ok || w.At != 1100 {
		t.Fatalf("effects %+v", r.all)
	}
	r.now = 1100
	r.must(Tick{})
	if len(r.dead) != 1 || r.dead[0].Offset != 1 || r.dead[0].Reason.String() != "expired" {
		t.Fatalf("dead letters %+v", r.dead)
	}
}

func TestTheHeadIsDroppedOfAFullQueue(t *testing.T) {
	r := newRig(t, Config{MaxLength: 2, DeadLetter: true})
	r.publish(Entry{}, Entry{}, Entry{})
	if len(r.dead) != 1 || r.dead[0].Offset != 0 || r.dead[0].Reason.String() != "maxlen" {
		t.Fatalf("dead letters %+v", r.dead)
	}
	if n := r.q.Counts(); n.Ready != 2 || n.Dying != 1 {
		t.Fatalf("%+v", n)
	}
	r.must(DeadLettered{[]Ref{{1, 0}}})
	if n := r.q.Counts(); n.Dead != 1 || n.Live != 2 {
		t.Fatalf("%+v", n)
	}
}

func TestDropHeadDropsTheLowestPriority(t *testing.T) {
	r := newRig(t, Config{MaxLength: 2})
	r.publish(Entry{Priority: 9}, Entry{}, Entry{Priority: 9})
	r.must(Subscribe{Consumer: "a"})
	r.want("left", r.offsets(), []uint64{0, 2})
}

func TestRejectedAndUnknownTags(t *testing.T) {
	r := newRig(t, Config{DeadLetter: true})
	r.publish(Entry{}, Entry{})
	r.must(Subscribe{Consumer: "a"})
	r.must(Nack{Consumer: "a", Tags: []uint64{1}})
	if len(r.dead) != 1 || r.dead[0].Reason.String() != "rejected" || r.dead[0].Attempts != 1 {
		t.Fatalf("dead letters %+v", r.dead)
	}
	if err := r.do(Ack{Consumer: "a", Tags: []uint64{999}}); !errors.Is(err, ErrUnknownTag) {
		t.Fatal(err)
	}
	if err := r.do(Ack{Consumer: "a", Tags: []uint64{1, 2}}); !errors.Is(err, ErrSettled) {
		t.Fatal(err)
	}
	if n := r.q.Counts(); n.Acked != 1 {
		t.Fatalf("a good tag beside a bad one is not settled: %+v", n)
	}
}

// A message that kills the process is found out, and those beside it are not
// charged.
func TestPoisonIsChargedBeforeItRuns(t *testing.T) {
	c := Config{DeliveryLimit: 3, DeadLetter: true}
	r := newRig(t, c)
	var journal []byte
	apply := func(cmd Command) {
		t.Helper()
		events, effects, err := r.q.Apply(r.now, cmd)
		if err != nil {
			t.Fatalf("%T: %v", cmd, err)
		}
		journal = append(journal, events...)
		for _, e := range effects {
			switch e := e.(type) {
			case Deliver:
				r.got = append(r.got, e.Deliveries...)
			case DeadLetter:
				r.dead = append(r.dead, e.Letters...)
			}
		}
	}
	entries := []Entry{{Ref: Ref{1, 0}}, {Ref: Ref{1, 1}}, {Ref: Ref{1, 2}}}
	for crash := range 4 {
		apply(Take{Log: 1, Entries: entries, Next: 3})
		apply(Subscribe{Consumer: "a"})
		want := 1
		if crash == 0 {
			want = 3
		}
		if len(r.got) != want || r.got[0].Probation != (crash > 0) || r.got[0].Attempt != max(crash, 1) {
			t.Fatalf("after %d crashes: %+v", crash, r.got)
		}
		apply(Started{"a", 1}) // and dies
		r.got = nil
		q, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		r.q = q
		if err := q.Replay(journal); err != nil {
			t.Fatal(err)
		}
		apply(Recover{})
	}
	apply(Take{Log: 1, Entries: entries, Next: 3})
	apply(Subscribe{Consumer: "a"})
	for len(r.got) > 0 {
		d := r.got[0]
		r.got = r.got[1:]
		if d.Offset == 0 || d.Attempt != 1 {
			t.Fatalf("%+v is delivered", d)
		}
		apply(Started{"a", d.Tag})
		apply(Ack{Consumer: "a", Tags: []uint64{d.Tag}})
	}
	if len(r.dead) != 1 || r.dead[0].Offset != 0 || r.dead[0].Reason != ReasonDeliveryLimit || r.dead[0].Attempts != 3 {
		t.Fatalf("dead letters %+v", r.dead)
	}
}

func TestWhatACrashedConsumerHadGoesToAnother(t *testing.T) {
	r := newRig(t, Config{})
	r.publish(make([]Entry, 10)...)
	r.must(Subscribe{Consumer: "a", Prefetch: 10})
	r.must(Started{"a", 3})
	r.must(Subscribe{Consumer: "b", Prefetch: 20})
	r.got = nil
	r.must(Gone{"a"})
	for i, d := range r.got {
		attempt := 1
		if d.Offset == 2 {
			attempt = 2
		}
		if d.Offset != uint64(i) || !d.Redelivered || d.Attempt != attempt {
			t.Fatalf("delivery %d is %+v", i, d)
		}
	}
	if len(r.got) != 10 {
		t.Fatalf("%d deliveries", len(r.got))
	}
	if err := r.do(Ack{Consumer: "a", Tags: []uint64{1}}); !errors.Is(err, ErrUnknownConsumer) {
		t.Fatal(err)
	}
}

func TestLateSettlementIsRefused(t *testing.T) {
	r := newRig(t, Config{SettleTimeout: time.Second})
	r.publish(Entry{})
	r.must(Subscribe{Consumer: "a", Prefetch: 1})
	r.now += 600
	r.must(Extend{Consumer: "a"})
	r.now += 600
	r.must(Tick{})
	if r.q.Counts().InFlight != 1 || len(r.got) != 1 {
		t.Fatal("it was taken back although it was extended")
	}
	r.now += 600
	r.must(Tick{})
	late := new(SettledError)
	if err := r.do(Ack{Consumer: "a", Tags: []uint64{1}}); !errors.As(err, &late) || late.Cause != CauseTimeout {
		t.Fatalf("got %v", err)
	}
	r.want("again", r.offsets(), []uint64{0, 0})
}
