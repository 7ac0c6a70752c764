package watermark

import "slices"

// Rules say how a Generator makes watermarks of event times. All of them are
// in milliseconds.
type Rules struct {
	Bound int64 // how far records may be behind the newest one of their origin
	Drift int64 // how far ahead of the clock a record may be and still count; 0: any distance
	Jump  int64 // how far ahead of the newest one of its origin; 0: any distance
	Idle  int64 // an origin without records for so long holds nobody back; 0: it does for ever
}

// Confirmations is how many records in a row must lie beyond Rules.Jump for
// their times to be believed, and after how many first ones of an origin, no two of
// them within Rules.Jump of each other, one is believed all the same.
const Confirmations = 16

// Generator makes watermarks by bounded out-of-orderness, for each origin (split
// or channel) by itself, and combines them: the lowest of the origins that are
// neither idle nor at their end. The combination never moves back.
type Generator struct {
	rules    Rules
	origins  []origin
	combined int64
	idle     bool
	at       *origin // of the records at hand
	others   int64   // what the other origins allow
	now      int64
	ticked   bool
	tick     int64 // time of the last Tick
}

type origin struct {
	newest   int64   // newest time that was accepted; Min when there is none
	first    []int64 // times of the first records, until one can be accepted
	suspects int     // records in a row that were too far ahead
	lowest   int64   // of those
	seen     bool    // since the last Tick
	quiet    int64   // how long there has been nothing
	idle     bool
	ended    bool
}

// NewGenerator returns a generator for so many origins, of which none is idle.
func NewGenerator(r Rules, origins int) *Generator {
	g := &Generator{rules: r, origins: make([]origin, max(1, origins)), combined: Min}
	for i := range g.origins {
		g.origins[i].newest = Min
	}
	return g
}

// Begin says which origin the next records come from, and what time it is.
// An origin that gives records is neither idle nor at its end.
func (g *Generator) Begin(origin int, now int64) {
	g.at = &g.origins[min(origin, len(g.origins)-1)]
	g.at.seen, g.at.quiet, g.at.idle, g.at.ended = true, 0, false, false
	g.now, g.idle, g.others = now, false, Max
	for i := range g.origins {
		if o := &g.origins[i]; o != g.at && o.active() {
			g.others = min(g.others, g.of(o))
		}
	}
}

// Observe takes the event time of the next record, and returns the watermark that
// the records in front of it have brought about. future says that the time is too far
// ahead of the clock to be believed.
func (g *Generator) Observe(time int64) (mark int64, future bool) {
	mark = g.combined
	if g.rules.Drift > 0 && time > g.now+g.rules.Drift {
		return mark, true
	}
	o := g.at
	if g.rules.Jump > 0 && (o.newest == Min || time > o.newest+g.rules.Jump) {
		if o.newest == Min {
			return g.doubt(o, time), false
		}
		if time = o.suspect(time); time == Min {
			return mark, false
		}
	}
	o.suspects = 0
	if time > o.newest {
		o.newest = time
		g.combined = max(g.combined, min(g.of(o), g.others))
	}
	return mark, false
}

func (g *Generator) accept(o *origin, newest int64) {
	o.newest = newest
	g.combined = max(g.combined, min(g.of(o), g.others))
}

// doubt is Observe for the first records of an origin. There is no time yet that a
// wrong one would be too far ahead of: so none counts until another confirms it. The
// record that does comes behind those it confirms, and its mark says so; where all
// are in order the watermark is what it would be without doubts, at every record.
func (g *Generator) doubt(o *origin, time int64) (mark int64) {
	for _, t := range o.first {
		if max(t, time)-min(t, time) <= g.rules.Jump {
			o.newest = max(o.newest, t)
		}
	}
	mark = g.combined
	if o.newest == Min {
		if o.first = append(o.first, time); len(o.first) == Confirmations {
			slices.Sort(o.first) // no two agree: the median is as good as any
			g.accept(o, o.first[(Confirmations-1)/2])
			o.first = nil
		}
		return mark
	}
	o.first = nil
	g.accept(o, o.newest)
	mark = g.combined
	g.accept(o, max(o.newest, time))
	return mark
}

// suspect notes a record that is far ahead, and returns the time to accept once
// enough of them agree, or Min.
func (o *origin) suspect(time int64) int64 {
	if o.suspects == 0 {
		o.lowest = time
	}
	o.lowest = min(o.lowest, time)
	if o.suspects++; o.suspects < Confirmations {
		return Min
	}
	return o.lowest
}

func (o *origin) active() bool { return !o.idle && !o.ended }

func (g *Generator) of(o *origin) int64 {
	if o.newest == Min {
		return Min
	}
	return o.newest - g.rules.Bound - 1
}

// Watermark returns the combined watermark, and whether every origin is idle or
// at its end: then it stays where it is.
func (g *Generator) Watermark() (time int64, idle bool) { return g.combined, g.idle }

// End says that an origin has ended.
func (g *Generator) End(origin int) {
	g.origins[min(origin, len(g.origins)-1)].ended = true
	g.combine()
}

func (g *Generator) combine() {
	low, active := Max, false
	for i := range g.origins {
		if o := &g.origins[i]; o.active() {
			low, active = min(low, g.of(o)), true
		}
	}
	if g.idle = !active; active {
		g.combined = max(g.combined, low)
	}
}

// step is how often the generator wants to look for idle origins.
func (g *Generator) step() int64 { return max(1, g.rules.Idle/8) }

// Tick lets the clock of idleness run on to now. It counts no more than one
// step at a time: where nobody ticked, because the task waited for credit, no
// record could come either, and the origins were not idle.
func (g *Generator) Tick(now int64) {
	elapsed := min(max(0, now-g.tick), g.step())
	if !g.ticked {
		elapsed = 0
	}
	g.tick, g.ticked = now, true
	if g.rules.Idle == 0 {
		return
	}
	for i := range g.origins {
		o := &g.origins[i]
		if !o.seen {
			o.quiet += elapsed
		}
		o.seen = false
		o.idle = o.quiet >= g.rules.Idle
	}
	g.combine()
}

// NextTick returns when to Tick next; false when it would change nothing.
func (g *Generator) NextTick() (int64, bool) {
	if g.rules.Idle == 0 || g.idle {
		return 0, false
	}
	if !g.ticked {
		return 0, true
	}
	return g.tick + g.step(), true
}

// OriginState is what a checkpoint keeps of an origin.
type OriginState struct {
	Newest, Lowest int64
	Suspects       int
	First          []int64 // at most Confirmations-1; Newest is Min then
}

// Save returns the state of an origin; false when it has none yet.
func (g *Generator) Save(origin int) (OriginState, bool) {
	o := &g.origins[origin]
	return OriginState{o.newest, o.lowest, o.suspects, slices.Clone(o.first)}, o.newest != Min || len(o.first) > 0
}

// Restore puts an origin where it was. Times that waited for others count at once
// where Rules.Jump is not set any more.
func (g *Generator) Restore(origin int, s OriginState) {
	o := &g.origins[origin]
	o.newest, o.lowest, o.suspects, o.first = s.Newest, s.Lowest, s.Suspects, slices.Clone(s.First)
	if g.rules.Jump == 0 && len(o.first) > 0 {
		o.newest, o.first = max(o.newest, slices.Max(o.first)), nil
	}
	g.combine()
}
