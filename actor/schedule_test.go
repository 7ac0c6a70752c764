package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// scheduleBed is a system in virtual time whose schedules publish to a list.
type scheduleBed struct {
	t     *testing.T
	store *storagefake.Store
	sys   *System

	mu   sync.Mutex
	ids  []string
	fail func(id string) error // nil: all goes well
}

func newScheduleBed(t *testing.T) *scheduleBed {
	b := &scheduleBed{t: t, store: storagefake.New()}
	b.open()
	return b
}

func (b *scheduleBed) open() {
	b.sys = NewSystem(b.store)
	b.sys.schedules.publish = func(_ context.Context, exchange string, m *Message) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if time.Now().Before(m.Timestamp) {
			b.t.Errorf("%s is early, at %v", m.MessageID, time.Now())
		}
		if b.fail != nil {
			if err := b.fail(m.MessageID); err != nil {
				return err
			}
		}
		b.ids = append(b.ids, m.MessageID)
		return nil
	}
	if _, err := b.sys.Schedules(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// failing has publishes fail from now on.
func (b *scheduleBed) failing(f func(id string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = f
}

func (b *scheduleBed) close() {
	if err := b.sys.Close(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// restart stops the system for so long.
func (b *scheduleBed) restart(pause time.Duration) {
	b.close()
	time.Sleep(pause)
	b.open()
}

func (b *scheduleBed) schedule(s Schedule) {
	b.t.Helper()
	if err := b.sys.Schedule(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
}

// pass lets virtual time pass.
func (b *scheduleBed) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// published takes the times of what was published, since the start of virtual time.
func (b *scheduleBed) published() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, id := range b.ids {
		at, err := time.Parse(time.RFC3339, id[strings.LastIndex(id, "/")+1:])
		if err != nil {
			b.t.Error(err)
		}
		all = append(all, at.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).String())
	}
	b.ids = nil
	return strings.Join(all, " ")
}

func (b *scheduleBed) info() ScheduleInfo {
	b.t.Helper()
	all, err := b.sys.Schedules(b.t.Context())
	if err != nil || len(all) != 1 {
		b.t.Fatal(all, err)
	}
	return all[0]
}

func (b *scheduleBed) want(what, want string) {
	b.t.Helper()
	if got := b.published(); got != want {
		b.t.Errorf("%s: published at %q, want %q", what, got, want)
	}
}

// Each due time has one publish, through restarts; what was missed is skipped, or made up
// for once.
func TestSchedule(t *testing.T) {
	for catchUp, missed := range map[CatchUp]string{SkipMissed: "", PublishOnce: "4h0m0s"} {
		t.Run(catchUp.String(), func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T) {
				b := newScheduleBed(t)
				b.schedule(Schedule{Name: "report", Spec: "@hourly", Exchange: "x", CatchUp: catchUp})
				b.pass(time.Hour - time.Second)
				b.want("too early", "")
				b.pass(time.Hour)
				b.want("the first hour", "1h0m0s")
				b.restart(30 * time.Second) // and not due
				b.pass(time.Second)
				b.want("after a restart", "2h0m0s")
				b.restart(2*time.Hour + 10*time.Minute) // through two
				b.pass(time.Second)
				b.want("after a long pause", missed)
				b.schedule(Schedule{Name: "report", Spec: "@hourly", Exchange: "x", CatchUp: catchUp}) // the same
				b.pass(time.Hour)
				b.want("the next", "5h0m0s")
				if i := b.info(); i.Missed != map[CatchUp]uint64{SkipMissed: 2}[catchUp] || i.Err != nil || i.Last.Hour() != 5 && i.Last.UTC().Hour() != 5 {
					t.Errorf("%+v", i)
				}
				b.close()
			})
		})
	}
}

// A publish that fails is tried again, with the same id, until it is too late.
func TestScheduleRetries(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		b := newScheduleBed(t)
		tries := map[string]int{}
		b.failing(func(id string) error {
			tries[id]++
			if strings.HasSuffix(id, "02:00:00Z") && tries[id] < 5 || strings.HasSuffix(id, "03:00:00Z") {
				return ErrQueueFull
			}
			if strings.HasSuffix(id, "04:00:00Z") {
				return fmt.Errorf("today: %w", ErrUnroutable)
			}
			return nil
		})
		b.schedule(Schedule{Name: "report", Spec: "0 * * * *"})
		b.pass(5*time.Hour + time.Minute)
		b.want("the rest", "1h0m0s 2h0m0s 5h0m0s")
		if i := b.info(); i.Missed != 2 || i.Published != 3 || i.Err != nil {
			t.Errorf("%+v", i)
		}
		if n := tries["schedule/report/2000-01-01T04:00:00Z"]; n != 1 {
			t.Errorf("what makes no sense was tried %d times", n)
		}
		b.close()
	})
}

// A crash between a publish and its note repeats it, with the same id.
func TestScheduleCrash(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		b := newScheduleBed(t)
		b.schedule(Schedule{Name: "report", Spec: "@hourly"})
		hang := make(chan struct{})
		b.failing(func(string) error {
			b.mu.Unlock()
			<-hang // the answer does not come before the end
			b.mu.Lock()
			return context.Canceled
		})
		b.pass(time.Hour)
		go func() { time.Sleep(time.Second); close(hang) }()
		b.close()
		b.failing(nil)
		b.open()
		b.pass(time.Second)
		b.want("after the crash", "1h0m0s")
		b.close()
	})
}

func TestScheduleChanges(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		b := newScheduleBed(t)
		defer b.close()
		b.schedule(Schedule{Name: "report", Spec: "@hourly"})
		b.schedule(Schedule{Name: "report", Spec: "@every 30m", Message: Message{Body: []byte("x")}})
		b.pass(time.Hour)
		b.want("another schedule", "30m0s 1h0m0s")
		if err := b.sys.DeleteSchedule(t.Context(), "report"); err != nil {
			t.Error(err)
		}
		if err := b.sys.DeleteSchedule(t.Context(), "report"); !errors.Is(err, ErrNoSchedule) {
			t.Error(err)
		}
		b.pass(time.Hour)
		b.want("none", "")
		for _, s := range []Schedule{{Name: "a", Spec: "nonsense"}, {Name: "", Spec: "@daily"}, {Name: "a/b", Spec: "@daily"}, {Name: "a", Spec: "TZ=x"},
			{Name: "a", Spec: "0 0 30 2 *"}, {Name: "a", Spec: "@daily", CatchUp: 9}, {Name: "a", Spec: strings.Repeat(" ", 1000)}} {
			if err := b.sys.Schedule(t.Context(), s); !errors.Is(err, ErrInvalid) {
				t.Errorf("%+v: %v", s, err)
			}
		}
	})
}

// The Timestamp of a scheduled message is its due time, so that of the schedule does not
// matter, be it one that cannot be stored.
func TestScheduleWithATimestamp(t *testing.T) {
	b := runningBed(t, storagefake.New())
	s := Schedule{Name: "report", Spec: "@hourly", Message: Message{RoutingKey: "reports", Timestamp: time.Unix(1<<40, 0)}}
	mustDo(t, b.Schedule(b.ctx, s))
	all := must[[]ScheduleInfo](t)(b.Schedules(b.ctx))
	if len(all) != 1 || !all[0].Message.Timestamp.IsZero() {
		t.Errorf("%+v", all)
	}
}

// The last due time that was missed is found without going through all of them.
func TestScheduleLastMissed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := rapid.SampledFrom([]string{"* * * * * *", "*/7 * * * * *", "* * * * *", "@hourly", "@daily", "0 0 1 * *"}).Draw(t, "spec")
		table, err := parseSpec(spec)
		if err != nil {
			t.Fatal(err)
		}
		e := &scheduleEntry{table: table}
		limit := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 1e7).Draw(t, "seconds")) * time.Second)
		last := e.lastBefore(limit)
		if next := table.Next(last); !last.Before(limit) || next.Before(limit) {
			t.Fatalf("%s: before %v it is %v, and then %v", spec, limit, last, next)
		}
	})
}
