package group

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// where is a partition.
type where struct {
	topic string
	index int
}

func (c Claim) where() where { return where{c.Topic, c.Partition} }

// truth is the naive model of a group: who may work on what, from what members
// were told, and what is committed.
type truth struct {
	owner     map[where]Claim  // with the newest epoch
	since     map[where]uint64 // the epoch it was given with
	holder    map[where]string // member id
	last      map[where]string // the consumer that had it last
	committed map[where]uint64
}

func newTruth() truth {
	return truth{map[where]Claim{}, map[where]uint64{}, map[where]string{}, map[where]string{}, map[where]uint64{}}
}

func (m truth) clone() truth {
	return truth{maps.Clone(m.owner), maps.Clone(m.since), maps.Clone(m.holder), maps.Clone(m.last), maps.Clone(m.committed)}
}

func (m truth) free(w where) {
	delete(m.owner, w)
	delete(m.holder, w)
}

func (m truth) freeAll(member string) {
	for w, h := range m.holder {
		if h == member {
			m.free(w)
		}
	}
}

// consumer is a member as a program would be: it knows what it was told, and
// does not always do what it should.
type consumer struct {
	name     string // of the slot: the instance, if static
	id       string
	epoch    uint64
	static   bool
	running  bool
	inbox    []Effect
	owned    map[where]Claim
	revoking []Claim
	progress uint64
}

// storm is a group in bad weather: members that come, go, crash and come back as
// zombies, and a group that crashes and is restored from what was durable.
type storm struct {
	*rapid.T
	config Config
	g      *Group
	now    int64

	journal  [][]byte // durable
	snapshot []byte
	covered  int // journal entries that the snapshot covers

	model   truth
	durable truth    // the model as of the last flush
	events  []byte   // not durable yet
	effects []Effect // held back

	slots    []*consumer
	zombies  []Claim          // everything anybody was ever told to own
	told     map[where]uint64 // the highest epoch of it
	ids      []string
	born     int
	seen     Description // after the last change
	topics   []Topic
	targets  map[where]string // the last that was set, by consumer
	moves    int              // of partitions, from one consumer to another
	retarget int              // changes of targets
}

const session = 10 * time.Second

func newStorm(t *rapid.T, members, partitions int, a Assignor) *storm {
	config := Config{Assignor: a, SessionTimeout: session}
	g, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	s := &storm{T: t, config: config, g: g, now: 1_000_000, model: newTruth(), durable: newTruth(), targets: map[where]string{}, told: map[where]uint64{},
		topics: []Topic{{"orders", partitions / 2, 0}, {"refunds", partitions - partitions/2, 0}}}
	for i := range members {
		s.slots = append(s.slots, &consumer{name: fmt.Sprintf("c%02d", i), static: i%3 == 0})
	}
	return s
}

// apply applies a command and lets the model follow.
func (s *storm) apply(c Command) error {
	events, effects, err := s.g.Apply(s.now, c)
	if refused := new(CommitError); err != nil && !errors.As(err, &refused) && (events != nil || effects != nil) {
		s.Fatalf("%T failed with %v and did something all the same", c, err)
	}
	s.events = append(s.events, events...)
	s.effects = append(s.effects, effects...)
	s.follow(effects)
	if len(events) > 0 { // targets change with events alone
		after := s.g.Describe()
		s.countMoves(s.seen, after)
		s.seen = after
	}
	return err
}

// follow checks that nothing is given that somebody still has.
func (s *storm) follow(effects []Effect) {
	for _, e := range effects {
		if f, ok := e.(Fenced); ok {
			s.model.freeAll(f.Member)
		}
	}
	for _, e := range effects {
		if a, ok := e.(Assigned); ok {
			for _, p := range a.Partitions {
				s.give(a.Member, p)
			}
		}
		if k, ok := e.(Seek); ok {
			for _, p := range k.Partitions {
				w := p.where()
				if s.model.holder[w] != k.Member || p.Epoch <= s.model.owner[w].Epoch {
					s.Fatalf("%s is to seek in %v with epoch %d; %q has it with %d", k.Member, w, p.Epoch, s.model.holder[w], s.model.owner[w].Epoch)
				}
				s.model.owner[w] = p.Claim
			}
		}
	}
}

func (s *storm) give(member string, p Assignment) {
	w := p.where()
	if h := s.model.holder[w]; h != "" && (h != member || s.model.owner[w] != p.Claim) {
		s.Fatalf("%v goes to %s with epoch %d, and %s has it with epoch %d", w, member, p.Epoch, h, s.model.owner[w].Epoch)
	}
	if next, ok := s.model.committed[w]; ok != p.Committed || next != p.Next {
		s.Fatalf("%s gets %v at %d (%v), committed is %d (%v)", member, w, p.Next, p.Committed, next, ok)
	}
	if s.model.holder[w] == "" && p.Epoch <= s.told[w] {
		s.Fatalf("%v is given with epoch %d, and was with %d", w, p.Epoch, s.told[w])
	}
	name := s.consumerOf(member)
	if l := s.model.last[w]; l != "" && l != name {
		s.moves++
	}
	s.model.owner[w], s.model.since[w], s.model.holder[w], s.model.last[w] = p.Claim, p.Epoch, member, name
}

// consumerOf names the consumer behind a member: all that join as one instance
// are one.
func (s *storm) consumerOf(member string) string {
	if slot := member[:3]; s.slot(slot).static {
		return slot
	}
	return member
}

func (s *storm) slot(name string) *consumer {
	return s.slots[slices.IndexFunc(s.slots, func(c *consumer) bool { return c.name == name })]
}

// countMoves counts changes of targets, and checks that where one generation
// follows another no more change than must.
func (s *storm) countMoves(before, after Description) {
	present, loads := map[string]int{}, []int{}
	for _, m := range after.Members {
		if !m.Absent {
			present[s.consumerOf(m.ID)] = len(loads)
			loads = append(loads, 0)
		}
	}
	had := map[where]string{}
	for _, p := range before.Partitions {
		for _, m := range []string{p.Owner, p.Target} {
			if m != "" {
				if _, ok := present[s.consumerOf(m)]; ok {
					had[p.where()] = s.consumerOf(m)
				}
			}
		}
	}
	free, chosen := 0, 0
	for _, p := range after.Partitions {
		if p.Target == "" {
			continue
		}
		w, target := p.where(), s.consumerOf(p.Target)
		if old := s.targets[w]; old != "" && old != target {
			s.retarget++
		}
		s.targets[w] = target
		if _, ok := present[target]; !ok {
			continue // a static member on leave has it
		}
		free++
		if h := had[w]; h != "" {
			loads[present[h]]++
			if h != target {
				chosen++
			}
		}
	}
	if after.Generation == before.Generation+1 && len(loads) > 0 && (after.Assignor == Sticky || after.Assignor == CooperativeSticky) {
		if want := fewestMoves(loads, free); chosen > want {
			s.Fatalf("generation %d moves %d partitions, %d would do", after.Generation, chosen, want)
		}
	}
}

// flush makes everything durable, and lets the effects go.
func (s *storm) flush() {
	if len(s.events) > 0 {
		s.journal = append(s.journal, Seal(s.events))
	}
	for _, e := range s.effects {
		var told []Assignment
		switch e := e.(type) {
		case Assigned:
			told = e.Partitions
		case Seek:
			told = e.Partitions
		}
		for _, p := range told {
			s.zombies = append(s.zombies, p.Claim)
			s.told[p.where()] = max(s.told[p.where()], p.Epoch)
		}
		for _, c := range s.slots {
			if c.running && c.id == e.To() {
				c.inbox = append(c.inbox, e)
			}
		}
	}
	s.events, s.effects, s.durable = nil, nil, s.model.clone()
}

// save takes a snapshot of what is durable.
func (s *storm) save() {
	s.flush()
	s.snapshot, s.covered = s.g.Snapshot(), len(s.journal)
	if len(s.snapshot) > s.g.Size() {
		s.Fatalf("a snapshot of %d bytes, Size says %d", len(s.snapshot), s.g.Size())
	}
}

// crash loses what is not durable, and restores the group.
func (s *storm) crash() {
	s.events, s.effects, s.model = nil, nil, s.durable.clone()
	var err error
	if s.snapshot == nil {
		s.g, err = New(s.config)
	} else {
		s.g, err = Restore(s.config, s.snapshot)
	}
	for _, entry := range s.journal[s.covered:] {
		if err == nil {
			err = s.g.Replay(entry)
		}
	}
	if err != nil {
		s.Fatal(err)
	}
	for _, id := range s.ids {
		if !s.slot(id[:3]).static {
			s.model.freeAll(id)
		}
	}
	s.seen = s.g.Describe()
	if err := s.apply(Recover{}); err != nil {
		s.Fatal(err)
	}
	s.flush()
}

// join starts a consumer, or starts it again while the one before may still be
// alive.
func (s *storm) join(c *consumer) {
	s.born++
	*c = consumer{name: c.name, static: c.static, id: fmt.Sprintf("%s-%d", c.name, s.born), running: true, owned: map[where]Claim{}}
	s.ids = append(s.ids, c.id)
	j := Join{Member: c.id, Topics: s.topics}
	if c.static {
		j.Instance = c.name
	}
	// What one that is on leave has goes to the one that comes in its place; the
	// model hears of it by the Fenced.
	s.apply(j)
}

// work lets a consumer read its mail and answer.
func (s *storm) work(c *consumer) {
	for _, e := range c.inbox {
		switch e := e.(type) {
		case Welcome:
			c.epoch = e.Epoch
		case Assigned:
			for _, p := range e.Partitions {
				c.owned[p.where()] = p.Claim
			}
		case Seek:
			for _, p := range e.Partitions {
				if _, ok := c.owned[p.where()]; ok {
					c.owned[p.where()] = p.Claim
				}
			}
		case Revoke:
			c.revoking = append(c.revoking, e.Partitions...)
		case Fenced:
			c.running = false
		}
	}
	c.inbox = nil
	if c.running {
		c.progress++
		if err := s.apply(Heartbeat{c.id, c.epoch, c.progress, len(c.owned)}); errors.Is(err, ErrFenced) {
			c.running = false // it would join again
		}
	}
}

// release gives back what the consumer was asked for.
func (s *storm) release(c *consumer) {
	if !c.running || len(c.revoking) == 0 {
		return
	}
	r := Release{c.id, c.revoking}
	c.revoking = nil
	for _, claim := range r.Partitions {
		delete(c.owned, claim.where())
		s.accept(c.id, claim)
	}
	s.apply(r)
}

// accept lets the model see a release.
func (s *storm) accept(id string, claim Claim) {
	w := claim.where()
	if !s.onLeave(id) && s.model.holder[w] == id && claim.Epoch >= s.model.since[w] && claim.Epoch <= s.model.owner[w].Epoch {
		s.model.free(w)
	}
}

// commit commits by a claim, be it good or old, and checks that the group takes
// it exactly if the model does.
func (s *storm) commit(id string, claim Claim, next uint64) {
	w := claim.where()
	before, had := s.model.committed[w]
	err := s.apply(Commit{id, []Offset{{claim, next, ""}}})
	owns := s.model.holder[w] == id && s.model.owner[w] == claim && !s.onLeave(id)
	switch {
	case !owns:
		if !errors.Is(err, ErrFenced) {
			s.Fatalf("%s commits %v without owning it so, and gets %v", id, claim, err)
		}
	case had && next < before:
		if !errors.Is(err, ErrBackwards) {
			s.Fatalf("a commit of %d after %d gets %v", next, before, err)
		}
	case err != nil:
		s.Fatalf("%s owns %v, and its commit gets %v", id, claim, err)
	default:
		s.model.committed[w] = next
	}
}

// onLeave says whether a member is not there.
func (s *storm) onLeave(id string) bool {
	m := s.g.members[id]
	return m == nil || m.absent
}

// leave lets a consumer leave in an orderly way, for good or not.
func (s *storm) leave(c *consumer, final bool) {
	gone := s.onLeave(c.id)
	for _, p := range s.g.Describe().Partitions {
		if !gone && p.Owner == c.id && (!c.static || final || p.Revoking) {
			s.model.free(p.where())
		}
	}
	c.running = false
	if err := s.apply(Leave{c.id, c.epoch, final}); (err != nil) != gone {
		s.Fatalf("%s leaves and gets %v", c.id, err)
	}
}
