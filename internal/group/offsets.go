package group

import (
	"fmt"
	"math"
	"slices"
)

// commit stores how far an owner has come.
func (g *Group) commit(now int64, c Commit) error {
	m, err := g.sender(now, c.Member)
	if err != nil {
		return err
	}
	var refusals []Refusal
	var lines []line
	growth := 0
	for _, o := range c.Offsets {
		p, more, err := g.checkCommit(m, o, growth)
		switch {
		case err != nil:
			refusals = append(refusals, Refusal{o.Topic, o.Partition, err})
		case !p.committed || p.next != o.Next || p.metadata != o.Metadata:
			lines = append(lines, line{p, o.Next, o.Metadata})
			growth += more
		}
	}
	if len(lines) > 0 {
		g.emit(committed{inPlace(lines)})
	}
	if len(refusals) > 0 {
		return &CommitError{refusals}
	}
	return nil
}

// checkCommit returns the partition of an offset, and by how much it would make
// the state grow beyond what the command does so far.
func (g *Group) checkCommit(m *member, o Offset, growth int) (p *part, more int, err error) {
	if p, err = g.owned(m, o.Claim); err != nil {
		return nil, 0, err
	}
	if err := g.once(p); err != nil {
		return nil, 0, err
	}
	if p.committed && o.Next < p.next {
		return nil, 0, fmt.Errorf("%w: %d after %d; to go back, use Rewind", ErrBackwards, o.Next, p.next)
	}
	more, err = g.checkPosition(p, o.Next, o.Metadata, growth)
	return p, more, err
}

func (g *Group) checkPosition(p *part, next uint64, metadata string, growth int) (more int, err error) {
	if next > math.MaxInt64 {
		return 0, fmt.Errorf("%w: %d is no offset", ErrInvalid, next)
	}
	if limit := g.config.Limits.MetadataBytes; len(metadata) > limit {
		return 0, tooMany("bytes of metadata", len(metadata), "MetadataBytes", limit)
	}
	more = len(metadata) - len(p.metadata)
	return more, g.room(growth + more)
}

// inPlace sorts lines by topic, so that each topic is named once in the journal.
func inPlace(lines []line) []line {
	slices.SortFunc(lines, func(a, b line) int { return compareParts(a.part, b.part) })
	return lines
}

// reset sets offsets while nobody is there.
func (g *Group) reset(c Reset) error {
	if len(g.members) > 0 {
		return g.active("stop them, or use a rewind, which works while they run")
	}
	lines, err := g.checkPositions(c.Positions)
	if err == nil && len(lines) > 0 {
		g.emit(rewound{g.nextEpoch(), lines})
	}
	return err
}

func (g *Group) active(remedy string) error {
	e := &ActiveError{Remedy: remedy}
	for _, m := range g.inOrder() {
		e.Members = append(e.Members, m.id)
	}
	return e
}

// rewind sets offsets under the hands of the owners.
func (g *Group) rewind(c Rewind) error {
	lines, err := g.checkPositions(c.Positions)
	if err != nil || len(lines) == 0 {
		return err
	}
	g.emit(rewound{g.nextEpoch(), lines})
	var seek []*part
	for _, l := range lines {
		if p := l.part; p.owner != nil {
			seek = append(seek, p)
		}
	}
	eachMember(seek, func(p *part) *member { return p.owner }, func(m *member, run []*part) {
		g.tell(Seek{m.id, assignments(run)})
	})
	return nil
}

// checkPositions checks all positions before one of them is set.
func (g *Group) checkPositions(positions []Position) (lines []line, err error) {
	growth := 0
	for _, o := range positions {
		p, err := g.find(o.Topic, o.Partition)
		if err != nil {
			return nil, err
		}
		if err := g.once(p); err != nil {
			return nil, err
		}
		more, err := g.checkPosition(p, o.Next, o.Metadata, growth)
		if err != nil {
			return nil, err
		}
		growth += more
		lines = append(lines, line{p, o.Next, o.Metadata})
	}
	return inPlace(lines), nil
}
