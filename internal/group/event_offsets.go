package group

// line is a partition with a committed offset.
type line struct {
	part     *part
	next     uint64
	metadata string
}

func (w *writer) lines(lines []line) {
	w.Num(uint64(len(lines)))
	var before *part
	for _, l := range lines {
		w.part(l.part, before)
		w.Num(l.next)
		w.Text(l.metadata)
		before = l.part
	}
}

func (r *reader) lines() []line {
	n := r.Count(4)
	lines := make([]line, 0, n)
	var before *part
	for ; n > 0 && r.Err() == nil; n-- {
		before = r.part(before)
		lines = append(lines, line{before, uint64(r.Int64()), r.Text()})
	}
	return lines
}

func (l line) apply(g *Group) {
	p := l.part
	g.size += len(l.metadata) - len(p.metadata)
	p.committed, p.next, p.metadata = true, l.next, l.metadata
}

// committed: owners have come so far.
type committed struct{ lines []line }

func (committed) kind() byte { return kindCommitted }

func (e committed) put(w *writer) { w.lines(e.lines) }

func (e committed) apply(g *Group) {
	for _, l := range e.lines {
		l.apply(g)
	}
}

// rewound: offsets were set from outside, and what owners say with the epochs
// from before does not count any more.
type rewound struct {
	epoch uint64
	lines []line
}

func (rewound) kind() byte { return kindRewound }

func (e rewound) put(w *writer) {
	w.Num(e.epoch)
	w.lines(e.lines)
}

func (e rewound) apply(g *Group) {
	for _, l := range e.lines {
		l.apply(g)
		if l.part.owner != nil {
			l.part.epoch = e.epoch
		}
	}
	g.epoch = e.epoch
}

// expired: the committed offsets of a group without members were forgotten.
// Parked keys were not: they are records that somebody has yet to look at.
type expired struct{}

func (expired) kind() byte { return kindExpired }

func (expired) put(*writer) {}

func (expired) apply(g *Group) {
	g.eachPart(func(p *part) {
		g.size -= len(p.metadata)
		p.committed, p.next, p.metadata = false, 0, ""
	})
	g.emptySince = 0
}
