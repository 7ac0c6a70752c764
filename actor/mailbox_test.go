package actor

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	pactor "github.com/asynkron/protoactor-go/actor"
	"pgregory.net/rapid"
)

// sized is a data message of a test.
type sized struct {
	id    int
	bytes int
	told  func(error)
}

func (d *sized) MailboxBytes() int { return d.bytes }
func (d *sized) Refused(err error) {
	if d.told != nil {
		d.told(err)
	}
}

type control int

// recorder is an invoker that notes what it is given.
type recorder struct {
	onUser     func(any)
	onSystem   func(any)
	onEscalate func(reason, message any)
}

func (r *recorder) InvokeUserMessage(m any) { r.onUser(m) }
func (r *recorder) InvokeSystemMessage(m any) {
	if r.onSystem != nil {
		r.onSystem(m)
	}
}
func (r *recorder) EscalateFailure(reason, message any) {
	if r.onEscalate != nil {
		r.onEscalate(reason, message)
	}
}

// host notes refusals.
type host struct {
	mu     sync.Mutex
	errors []error
	full   int
}

func (h *host) mailboxFull(string) {
	h.mu.Lock()
	h.full++
	h.mu.Unlock()
}

func (h *host) refused(m any, err error) {
	h.mu.Lock()
	h.errors = append(h.errors, err)
	h.mu.Unlock()
	if r, ok := m.(Refusable); ok {
		r.Refused(err)
	}
}
func (*host) mailboxOpened(string, *Mailbox) {}
func (*host) mailboxClosed(string)           {}

// manual is a dispatcher whose work runs when the test says so.
type manual struct{ work []func() }

func (d *manual) Schedule(f func()) { d.work = append(d.work, f) }
func (*manual) Throughput() int     { return 300 }
func (d *manual) run() {
	for len(d.work) > 0 {
		f := d.work[0]
		d.work = d.work[1:]
		f()
	}
}

func testMailbox(o mailboxOptions, r *recorder, d pactor.Dispatcher) (*Mailbox, *host) {
	h := &host{}
	m := newMailbox(o, h)
	m.RegisterHandlers(r, d)
	m.Start()
	return m, h
}

var roomy = mailboxOptions{messagesMax: 1 << 20, bytesMax: 1 << 30}

func TestMailboxLanes(t *testing.T) {
	var got []string
	d := &manual{}
	note := func(m any) { got = append(got, fmt.Sprintf("%T", m)) }
	m, _ := testMailbox(roomy, &recorder{onUser: note, onSystem: note}, d)
	m.PostUserMessage(&sized{})
	m.PostUserMessage(control(1))
	m.PostSystemMessage(&pactor.Started{})
	m.PostUserMessage(&pactor.PoisonPill{})
	d.run()
	want := []string{"*actor.Started", "actor.control", "*actor.sized", "*actor.PoisonPill"}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestMailboxControlPassesDataBetweenSteps(t *testing.T) {
	var got []any
	d := &manual{}
	var m *Mailbox
	m, _ = testMailbox(roomy, &recorder{onUser: func(msg any) {
		if s, ok := msg.(*sized); ok {
			got = append(got, s.id)
			if s.id == 0 {
				m.PostUserMessage(control(7))
			}
			return
		}
		got = append(got, msg)
	}}, d)
	for i := range 3 {
		m.PostUserMessage(&sized{id: i})
	}
	d.run()
	if want := []any{0, control(7), 1, 2}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestMailboxRefusesAboveItsLimits(t *testing.T) {
	tests := []struct {
		name    string
		options mailboxOptions
		post    []int // sizes
		accept  int
	}{
		{"messages", mailboxOptions{messagesMax: 2, bytesMax: 100}, []int{1, 1, 1}, 2},
		{"bytes", mailboxOptions{messagesMax: 10, bytesMax: 100}, []int{60, 40, 1}, 2},
		{"one too large", mailboxOptions{messagesMax: 10, bytesMax: 100}, []int{101}, 0},
		{"weightless", mailboxOptions{messagesMax: 1, bytesMax: 100}, []int{0, 0}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := &manual{}
			delivered, refused := 0, 0
			m, _ := testMailbox(test.options, &recorder{onUser: func(any) { delivered++ }}, d)
			for _, size := range test.post {
				m.PostUserMessage(&sized{bytes: size, told: func(err error) {
					if !errors.Is(err, ErrMailboxFull) {
						t.Errorf("refused with %v, want ErrMailboxFull", err)
					}
					refused++
				}})
			}
			m.PostUserMessage(control(1)) // never refused
			if m.Depth() != test.accept {
				t.Errorf("depth %d, want %d", m.Depth(), test.accept)
			}
			d.run()
			if delivered != test.accept+1 || refused != len(test.post)-test.accept {
				t.Errorf("delivered %d, refused %d, want %d and %d",
					delivered, refused, test.accept+1, len(test.post)-test.accept)
			}
			if m.Depth() != 0 || m.Bytes() != 0 {
				t.Errorf("empty mailbox counts %d messages, %d bytes", m.Depth(), m.Bytes())
			}
			if count, _ := m.HighWater(); count != test.accept {
				t.Errorf("high water %d, want %d", count, test.accept)
			}
		})
	}
}

func TestMailboxBatches(t *testing.T) {
	var got [][]int
	d := &manual{}
	o := roomy
	o.batchMax = 3
	m, _ := testMailbox(o, &recorder{onUser: func(msg any) {
		var ids []int
		switch msg := msg.(type) {
		case *Batch:
			for _, x := range msg.Messages {
				ids = append(ids, x.(*sized).id)
			}
		case *pactor.MessageEnvelope:
			ids = []int{-msg.Message.(*sized).id}
		}
		got = append(got, ids)
	}}, d)
	for i := range 5 {
		m.PostUserMessage(&sized{id: i, bytes: 10})
	}
	m.PostUserMessage(&pactor.MessageEnvelope{Message: &sized{id: 5}})
	m.PostUserMessage(&sized{id: 6})
	d.run()
	want := [][]int{{0, 1, 2}, {3, 4}, {-5}, {6}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestMailboxSuspension(t *testing.T) {
	var got []any
	d := &manual{}
	m, _ := testMailbox(roomy, &recorder{
		onUser:   func(msg any) { got = append(got, msg) },
		onSystem: func(msg any) { got = append(got, "system") },
	}, d)
	m.PostSystemMessage(&pactor.SuspendMailbox{})
	m.PostUserMessage(control(1))
	d.run()
	m.PostSystemMessage(&pactor.Watch{})
	m.PostUserMessage(control(2))
	d.run()
	if want := []any{"system"}; !slices.Equal(got, want) {
		t.Fatalf("suspended: got %v, want %v", got, want)
	}
	m.PostSystemMessage(&pactor.ResumeMailbox{})
	d.run()
	if want := []any{"system", control(1), control(2)}; !slices.Equal(got, want) {
		t.Fatalf("resumed: got %v, want %v", got, want)
	}
}

func TestMailboxHoldsMessagesUntilStart(t *testing.T) {
	d := &manual{}
	delivered := 0
	m := newMailbox(roomy, &host{})
	m.PostUserMessage(control(1))
	m.RegisterHandlers(&recorder{onUser: func(any) { delivered++ }}, d)
	if len(d.work) != 0 {
		t.Fatal("scheduled before Start")
	}
	m.Start()
	d.run()
	if delivered != 1 {
		t.Fatalf("delivered %d messages, want 1", delivered)
	}
}

func TestMailboxPanicRefusesWhatWasHeld(t *testing.T) {
	d := &manual{}
	o := roomy
	o.batchMax = 10
	var m *Mailbox
	var escalated any
	m, _ = testMailbox(o, &recorder{
		onUser: func(msg any) {
			if _, isBatch := msg.(*Batch); isBatch {
				panic("boom")
			}
		},
		onEscalate: func(reason, _ any) { escalated = reason },
	}, d)
	told := 0
	for range 3 {
		m.PostUserMessage(&sized{told: func(err error) {
			var p *PanicError
			if !errors.As(err, &p) || len(p.Stack) == 0 {
				t.Errorf("refused with %v, want a PanicError with a stack", err)
			}
			told++
		}})
	}
	d.run()
	if told != 3 {
		t.Errorf("%d messages were told, want 3", told)
	}
	if p, ok := escalated.(*PanicError); !ok || p.Reason != "boom" {
		t.Errorf("escalated %v, want the panic", escalated)
	}
	m.PostUserMessage(control(1))
	d.run() // the mailbox still works
}

func TestMailboxGivesLargeBuffersBack(t *testing.T) {
	d := &manual{}
	m, _ := testMailbox(roomy, &recorder{onUser: func(any) {}}, d)
	message := &sized{bytes: 1}
	for range 10 * laneSlotsKept {
		m.PostUserMessage(message)
	}
	for range 3 {
		d.run()
		m.PostUserMessage(message)
	}
	d.run()
	for name, c := range map[string]int{"in": cap(m.data.in), "out": cap(m.data.out), "sizes": cap(m.sizes), "outSizes": cap(m.outSizes)} {
		if c > laneSlotsKept {
			t.Errorf("%s keeps %d slots after a burst, want at most %d", name, c, laneSlotsKept)
		}
	}
	for i, slot := range m.data.out[:cap(m.data.out)] {
		if slot != nil {
			t.Fatalf("slot %d of a read buffer still holds a message", i)
		}
	}
}

func TestMailboxDoesNotAllocatePerMessage(t *testing.T) {
	d := &manual{work: make([]func(), 0, 16)}
	o := roomy
	o.batchMax = 64
	m, _ := testMailbox(o, &recorder{onUser: func(any) {}}, d)
	message := &sized{bytes: 1}
	post := func() {
		for range 100 {
			m.PostUserMessage(message)
		}
		work := d.work
		d.work = d.work[:0]
		for _, f := range work {
			f()
		}
	}
	post()
	post()
	if allocs := testing.AllocsPerRun(100, post); allocs > 0 {
		t.Fatalf("%v allocations per 100 messages, want 0", allocs)
	}
}

// The naive model: three slices, delivered system first, then control, then data.
func TestMailboxEqualsNaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := mailboxOptions{
			messagesMax: rapid.IntRange(1, 8).Draw(t, "messagesMax"),
			bytesMax:    int64(rapid.IntRange(0, 40).Draw(t, "bytesMax")),
			batchMax:    rapid.IntRange(0, 4).Draw(t, "batchMax"),
		}
		var system, user, data, want, got []string
		sizes, suspended, refusals := 0, false, 0
		var waiting []int
		d := &manual{}
		take := func(msg any) {
			switch msg := msg.(type) {
			case *Batch:
				if len(msg.Messages) > o.batchMax {
					t.Fatalf("a batch of %d, limit %d", len(msg.Messages), o.batchMax)
				}
				for _, x := range msg.Messages {
					got = append(got, fmt.Sprint("data", x.(*sized).id))
				}
			case *sized:
				got = append(got, fmt.Sprint("data", msg.id))
			case control:
				got = append(got, fmt.Sprint("control", int(msg)))
			}
		}
		m, h := testMailbox(o, &recorder{onUser: take, onSystem: func(any) { got = append(got, "system") }}, d)
		drain := func() {
			want = append(want, system...)
			system = nil
			if !suspended {
				want = append(append(want, user...), data...)
				user, data, waiting, sizes = nil, nil, nil, 0
			}
		}
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"data", "data", "control", "system", "suspend", "resume", "run"}).Draw(t, "op") {
			case "data":
				size := rapid.IntRange(0, 20).Draw(t, "size")
				m.PostUserMessage(&sized{id: i, bytes: size})
				if len(waiting) >= o.messagesMax || int64(sizes+size) > o.bytesMax {
					refusals++
					continue
				}
				sizes += size
				waiting = append(waiting, size)
				data = append(data, fmt.Sprint("data", i))
			case "control":
				m.PostUserMessage(control(i))
				user = append(user, fmt.Sprint("control", i))
			case "system":
				m.PostSystemMessage(&pactor.Watch{})
				system = append(system, "system")
			case "suspend":
				m.PostSystemMessage(&pactor.SuspendMailbox{})
				suspended = true
				d.run()
				drain()
			case "resume":
				m.PostSystemMessage(&pactor.ResumeMailbox{})
				suspended = false
				d.run()
				drain()
			case "run":
				d.run()
				drain()
			}
			if m.Depth() != len(waiting) || m.Bytes() != int64(sizes) {
				t.Fatalf("counts %d messages, %d bytes, want %d and %d", m.Depth(), m.Bytes(), len(waiting), sizes)
			}
		}
		if suspended {
			m.PostSystemMessage(&pactor.ResumeMailbox{})
			suspended = false
		}
		d.run()
		drain()
		if !slices.Equal(got, want) {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
		if len(h.errors) != refusals {
			t.Fatalf("%d refusals, want %d", len(h.errors), refusals)
		}
		if h.full != refusals {
			t.Fatalf("%d for want of room, want %d", h.full, refusals)
		}
	})
}

// Many posters, one runner, and a runner that goes idle all the time: every
// message is delivered once, in the order of its poster, with nobody left asleep.
func TestMailboxStress(t *testing.T) {
	for _, batch := range []int{0, 16} {
		t.Run(fmt.Sprint("batch ", batch), func(t *testing.T) {
			const posters, each = 8, 5_000
			d := NewDispatcher()
			defer func() { <-d.Close() }()
			var active atomic.Int32
			last := [posters]int{}
			total, done := 0, make(chan struct{})
			one := func(s *sized) {
				p := s.bytes
				if s.id != last[p]+1 {
					t.Errorf("poster %d: message %d after %d", p, s.id, last[p])
				}
				last[p] = s.id
				if total++; total == posters*each {
					close(done)
				}
			}
			o := roomy
			o.batchMax = batch
			m, _ := testMailbox(o, &recorder{onUser: func(msg any) {
				if active.Add(1) != 1 {
					t.Error("two runners at once")
				}
				defer active.Add(-1)
				switch msg := msg.(type) {
				case *Batch:
					for _, x := range msg.Messages {
						one(x.(*sized))
					}
				case *sized:
					one(msg)
				}
			}}, d)
			for p := range posters {
				go func() {
					for i := range each {
						m.PostUserMessage(&sized{id: i + 1, bytes: p})
						if i%64 == 0 {
							m.PostUserMessage(control(p))
						}
					}
				}()
			}
			await(t, done, "all messages")
		})
	}
}

// The narrowest window for a lost wake-up: the runner goes idle after every
// single message, while the next one is being posted.
func TestMailboxLosesNoWakeUp(t *testing.T) {
	d := NewDispatcher()
	defer func() { <-d.Close() }()
	back := make(chan struct{}, 1)
	m, _ := testMailbox(roomy, &recorder{onUser: func(any) { back <- struct{}{} }}, d)
	for range 20_000 {
		m.PostUserMessage(control(1))
		await(t, back, "a wake-up")
	}
}

func benchmarkMailbox(b *testing.B, m pactor.Mailbox, count *atomic.Int64) {
	message := &sized{bytes: 1}
	b.ReportAllocs()
	const window = 512
	done := int64(0)
	for b.Loop() {
		m.PostUserMessage(message)
		done++
		for done-count.Load() > window {
		}
	}
	for count.Load() < done {
	}
}

func BenchmarkMailboxBatch(b *testing.B) {
	var count atomic.Int64
	d := NewDispatcher()
	defer d.Close()
	o := roomy
	o.batchMax = DefaultBatchMessages
	m, _ := testMailbox(o, &recorder{onUser: func(msg any) { count.Add(int64(len(msg.(*Batch).Messages))) }}, d)
	benchmarkMailbox(b, m, &count)
}

func BenchmarkMailboxSingle(b *testing.B) {
	var count atomic.Int64
	d := NewDispatcher()
	defer d.Close()
	m, _ := testMailbox(roomy, &recorder{onUser: func(any) { count.Add(1) }}, d)
	benchmarkMailbox(b, m, &count)
}

func BenchmarkMailboxProtoActorDefault(b *testing.B) {
	var count atomic.Int64
	m := pactor.Unbounded()()
	m.RegisterHandlers(&recorder{onUser: func(any) { count.Add(1) }}, pactor.NewDefaultDispatcher(300))
	m.Start()
	benchmarkMailbox(b, m, &count)
}
