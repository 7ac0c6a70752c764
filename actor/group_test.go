package actor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// testMember is what a group tells a member.
type testMember struct {
	t    testing.TB
	g    *Group
	id   string
	pid  *pactor.PID
	told chan group.Effect
}

func newMember(t testing.TB, g *Group, id string) *testMember {
	t.Helper()
	m := &testMember{t: t, g: g, id: id, told: make(chan group.Effect, 100)}
	pid, err := g.sys.Spawn("member/"+id, receive(func(ctx pactor.Context) {
		if e, ok := ctx.Message().(group.Effect); ok {
			m.told <- e
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	m.pid = pid
	return m
}

func (m *testMember) say(c group.Command) error {
	_, err := Ask[groupDone](testContext(m.t), m.g.sys, m.g.pid, groupCommand{command: c, member: m.pid})
	return err
}

func (m *testMember) join(partitions int) {
	m.t.Helper()
	err := m.say(group.Join{Member: m.id, Topics: []group.Topic{{Name: "orders", Partitions: partitions}}, SessionTimeout: time.Minute})
	if err != nil {
		m.t.Fatal(err)
	}
}

// hears returns the next effect of a type.
func hears[E group.Effect](m *testMember) E {
	m.t.Helper()
	for {
		if e, ok := await(m.t, m.told, fmt.Sprintf("a %T for %s", *new(E), m.id)).(E); ok {
			return e
		}
	}
}

func testGroup(t testing.TB, s *System) *Group {
	t.Helper()
	g, err := s.Group("mailers", group.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGroupGivesPartitionsAndKeepsCommits(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	g := testGroup(t, s)
	a, b := newMember(t, g, "a"), newMember(t, g, "b")
	a.join(4)
	got := hears[group.Assigned](a).Partitions
	if len(got) != 4 {
		t.Fatalf("a was given %+v, want all four", got)
	}
	if err := a.say(group.Commit{Member: "a", Offsets: []group.Offset{{Claim: got[0].Claim, Next: 7}}}); err != nil {
		t.Fatal(err)
	}
	b.join(4)
	revoked := hears[group.Revoke](a).Partitions
	if len(revoked) != 2 {
		t.Fatalf("%+v are revoked, want two", revoked)
	}
	if err := a.say(group.Release{Member: "a", Partitions: revoked}); err != nil {
		t.Fatal(err)
	}
	moved := hears[group.Assigned](b).Partitions
	if len(moved) != 2 {
		t.Fatalf("b was given %+v", moved)
	}
	err := a.say(group.Commit{Member: "a", Offsets: []group.Offset{{Claim: revoked[0], Next: 9}}})
	if !errors.Is(err, ErrMemberFenced) {
		t.Errorf("a commit by the owner before: %v", err)
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}

	// The next process knows how far they came, and that nobody is there.
	s = logSystem(t, store.Restart())
	if all, err := s.Groups(testContext(t)); err != nil || len(all) != 1 || all[0] != "mailers" {
		t.Errorf("the groups are %v, %v", all, err)
	}
	g = testGroup(t, s)
	d, err := g.Describe(testContext(t))
	if err != nil || len(d.Members) != 0 {
		t.Fatalf("after a restart: %+v, %v", d, err)
	}
	c := newMember(t, g, "c")
	c.join(4)
	for _, p := range hears[group.Assigned](c).Partitions {
		if want := p.Topic == got[0].Topic && p.Partition == got[0].Partition; p.Committed != want || (want && p.Next != 7) {
			t.Errorf("partition %d goes on at %d (%v)", p.Partition, p.Next, p.Committed)
		}
	}
}

// A commit is answered when it is on disk, and not before.
func TestGroupAnswersWhatIsDurable(t *testing.T) {
	store, plan := storagefake.New(), &script{}
	store.OnAppend(func(a storagefake.Append) storagefake.Fault {
		if a.Log != groupLog("mailers") {
			return storagefake.Fault{}
		}
		a.Log = ordersLog // the script is about that one
		return plan.onAppend(a)
	})
	s := logSystem(t, store)
	g := testGroup(t, s)
	m := newMember(t, g, "a")
	hold := make(chan struct{})
	held := plan.expect(storage.Data, storagefake.Fault{Hold: hold})
	joined := make(chan error, 1)
	go func() {
		joined <- m.say(group.Join{Member: "a", Topics: []group.Topic{{Name: "orders", Partitions: 1}}})
	}()
	await(t, held, "the append of the join")
	select {
	case e := <-m.told:
		t.Errorf("%T went out before it was durable", e)
	case err := <-joined:
		t.Errorf("it was answered before it was durable: %v", err)
	default:
	}
	close(hold)
	if err := await(t, joined, "the answer"); err != nil {
		t.Fatal(err)
	}
	p := hears[group.Assigned](m).Partitions[0]
	for i, fault := range []storagefake.Fault{{LoseReply: true}, {LoseRequest: true}} {
		plan.expect(storage.Data, fault)
		next := uint64(i + 1)
		if err := m.say(group.Commit{Member: "a", Offsets: []group.Offset{{Claim: p.Claim, Next: next}}}); err != nil {
			t.Errorf("a commit whose append was lost on the way (%+v): %v", fault, err)
		}
		d, err := g.Describe(testContext(t))
		if err != nil || d.Partitions[0].Next != next {
			t.Errorf("committed %+v, %v; want %d", d.Partitions, err, next)
		}
	}
}

// A full store holds a group up, and loses nothing.
func TestGroupWaitsForSpace(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		store := storagefake.New()
		s := NewSystem(store)
		g := testGroup(t, s)
		m := newMember(t, g, "a")
		m.join(1)
		p := hears[group.Assigned](m).Partitions[0]
		store.SetFull(true)
		done := make(chan error, 1)
		go func() {
			done <- m.say(group.Commit{Member: "a", Offsets: []group.Offset{{Claim: p.Claim, Next: 3}}})
		}()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("answered on a full store: %v", err)
		default:
		}
		store.SetFull(false)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

// A member that says nothing loses its partitions.
func TestGroupEndsSessions(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		s := NewSystem(storagefake.New())
		g := testGroup(t, s)
		a, b := newMember(t, g, "a"), newMember(t, g, "b")
		a.join(2)
		if n := len(hears[group.Assigned](a).Partitions); n != 2 {
			t.Fatalf("a has %d", n)
		}
		b.join(2)
		hears[group.Revoke](a)
		epoch := hears[group.Welcome](b).Epoch
		for range 3 { // b lives on, a does not
			time.Sleep(30 * time.Second)
			if err := b.say(group.Heartbeat{Member: "b", Epoch: epoch}); err != nil {
				t.Fatal(err)
			}
		}
		owned := 0
		for owned < 2 {
			owned += len(hears[group.Assigned](b).Partitions)
		}
		hears[group.Fenced](a)
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

// The journal does not grow with what has passed.
func TestGroupJournalIsReplacedBySnapshots(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	g := testGroup(t, s)
	m := newMember(t, g, "a")
	m.join(1)
	p := hears[group.Assigned](m).Partitions[0]
	const commits = 700
	text := string(make([]byte, 4000))
	for i := range uint64(commits) {
		if err := m.say(group.Commit{Member: "a", Offsets: []group.Offset{{Claim: p.Claim, Next: i + 1, Metadata: text}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	next := store.Restart()
	log, err := next.OpenLog(testContext(t), groupLog("mailers"), storage.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := log.Bounds(testContext(t))
	if err != nil || b.Last-b.First > commits/2 {
		t.Errorf("the journal holds %+v, %v", b, err)
	}
	s = logSystem(t, next)
	d, err := testGroup(t, s).Describe(testContext(t))
	if err != nil || d.Partitions[0].Next != commits {
		t.Errorf("after a restart: %+v, %v", d, err)
	}
}

// To look for a group makes none, and one whose system is closed says so.
func TestFindGroup(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	ctx := testContext(t)
	if _, err := s.FindGroup(ctx, "mailers"); !errors.Is(err, ErrNoGroup) || err.Error() != "group mailers: there is no such consumer group" {
		t.Errorf("a group that there is not: %v", err)
	}
	if all, err := s.Groups(ctx); err != nil || len(all) != 0 {
		t.Errorf("the groups are %v, %v", all, err)
	}
	g, err := s.Group("mailers", group.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Describe(ctx); err != nil {
		t.Error(err)
	}
	if found, err := s.FindGroup(ctx, "mailers"); err != nil || found.Name() != "mailers" {
		t.Errorf("found %v, %v", found, err)
	}
	if err := errors.Join(s.Close(ctx), store.Close()); err != nil {
		t.Error(err)
	}
	if _, err := s.FindGroup(ctx, "mailers"); !errors.Is(err, ErrClosed) {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := s.Topic(ctx, "orders"); !errors.Is(err, ErrClosed) || err.Error() != "open topic orders: the actor system: it is closed" {
		t.Errorf("a topic afterwards: %v", err)
	}
}

func TestDeleteGroup(t *testing.T) {
	s := logSystem(t, storagefake.New())
	ctx := testContext(t)
	if err := s.DeleteGroup(ctx, "mailers"); !errors.Is(err, ErrNoGroup) {
		t.Errorf("a group that there is not: %v", err)
	}
	g := testGroup(t, s)
	m := newMember(t, g, "a")
	m.join(1)
	epoch := hears[group.Welcome](m).Epoch
	if err := s.DeleteGroup(ctx, "mailers"); !errors.Is(err, ErrGroupActive) {
		t.Errorf("a group with members: %v", err)
	}
	if err := m.say(group.Leave{Member: "a", Epoch: epoch}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteGroup(ctx, "mailers"); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Groups(ctx); err != nil || len(all) != 0 {
		t.Errorf("the groups are %v, %v", all, err)
	}
	if _, err := s.Group("No", group.Config{}); err == nil {
		t.Error("a group with that name")
	}
}
