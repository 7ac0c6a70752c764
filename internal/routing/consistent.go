package routing

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"sync/atomic"
)

// consistentIndex chooses one destination by weighted rendezvous hashing
// (highest random weight: Thaler and Ravishankar, 1998; the weights as in
// Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005). Each
// destination draws a number from the hash of the message and its own name, and
// the one with the smallest -ln(u)/weight wins. So the shares are those of the
// weights, whatever their size; a destination that comes takes its share from
// all others and moves nothing else, and one that goes gives back just that;
// and the choice depends on the bindings there are, not on their order, nor on
// the process. RabbitMQ's jump hash and a ring of points lack one of these each.
//
// A message costs a few multiplications per destination and one logarithm per
// weight that occurs: Limits.ConsistentTargets bounds it.
type consistentIndex struct {
	on     hashOn
	groups atomic.Pointer[[]weightGroup]
	weight map[*Target]int // of the writer alone: sums over the bindings
}

// weightGroup is the destinations of one weight. Among them the largest number
// wins, without a logarithm.
type weightGroup struct {
	weight  float64
	members []candidate
}

type candidate struct {
	seed   uint64
	target *Target
}

// weightOf reads the binding key of a consistent-hash exchange.
func weightOf(key string, l *Limits) (int, error) {
	w, err := strconv.Atoi(key)
	if err != nil || w < 1 {
		return 0, invalid("the binding key %q is no weight: a consistent-hash exchange takes whole numbers from 1", key)
	}
	if w > l.Weight {
		return 0, over("Weight", l.Weight, "the weight "+key+" is larger")
	}
	return w, nil
}

func (x *consistentIndex) add(b *bound) {
	if x.weight == nil {
		x.weight = map[*Target]int{}
	}
	x.weight[b.target] += b.weight
	x.rebuild()
}

func (x *consistentIndex) remove(b *bound) {
	x.weight[b.target] -= b.weight
	if x.weight[b.target] == 0 {
		delete(x.weight, b.target)
	}
	x.rebuild()
}

// fits says whether the destination of a binding may be one more.
func (x *consistentIndex) fits(b *bound, l *Limits) error {
	if x.weight[b.target] == 0 && len(x.weight) >= l.ConsistentTargets {
		return over("ConsistentTargets", l.ConsistentTargets, "exchange "+strconv.Quote(b.Source)+" would have more destinations")
	}
	return nil
}

// rebuild groups the destinations by weight, in an order of their own.
func (x *consistentIndex) rebuild() {
	targets := make([]*Target, 0, len(x.weight))
	for t := range x.weight {
		targets = append(targets, t)
	}
	slices.SortFunc(targets, func(a, b *Target) int {
		return cmp.Or(cmp.Compare(x.weight[a], x.weight[b]), a.compare(b.Destination))
	})
	var groups []weightGroup
	for _, t := range targets {
		w := float64(x.weight[t])
		if n := len(groups); n == 0 || groups[n-1].weight != w {
			groups = append(groups, weightGroup{weight: w})
		}
		g := &groups[len(groups)-1]
		g.members = append(g.members, candidate{hashText(uint64(t.Kind), t.Name), t})
	}
	x.groups.Store(&groups)
}

func (x *consistentIndex) route(r *Router) {
	if groups := x.groups.Load(); groups != nil && len(*groups) > 0 {
		r.reach(choose(*groups, x.on.hash(r.message)))
	}
}

func choose(groups []weightGroup, hash uint64) (winner *Target) {
	best := math.Inf(1)
	for i := range groups {
		number, t := groups[i].largest(hash)
		if len(groups) == 1 {
			return t
		}
		u := (float64(number>>11) + 0.5) / (1 << 53) // between 0 and 1, and neither
		if score := -math.Log(u) / groups[i].weight; score < best {
			best, winner = score, t
		}
	}
	return winner
}

func (g *weightGroup) largest(hash uint64) (number uint64, t *Target) {
	for i := range g.members {
		if n := mix(hash ^ g.members[i].seed); n >= number {
			number, t = n, g.members[i].target
		}
	}
	return number, t
}

// hashOn is what of a message a consistent-hash exchange hashes.
type hashOn struct {
	header   string
	property string
}

func newHashOn(x *Exchange) hashOn { return hashOn{x.HashHeader, x.HashProperty} }

func (on hashOn) hash(m *Message) uint64 {
	switch {
	case on.header != "":
		v, ok := m.header(on.header)
		if !ok {
			return 0
		}
		return hashText(mix(v.Bits+uint64(v.Kind)), v.Text)
	case on.property == HashMessageID:
		return hashText(0, m.MessageID)
	case on.property == HashCorrelationID:
		return hashText(0, m.CorrelationID)
	case on.property == HashTimestamp:
		return mix(uint64(m.Timestamp))
	}
	return hashText(0, m.Key)
}

// hashText is FNV-1a of 64 bits (Fowler, Noll, Vo), finished by mix. It is the
// same in every process and release: where keys go depends on it.
func hashText(seed uint64, s string) uint64 {
	h := uint64(14695981039346656037) ^ seed
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix spreads every bit over all: the finalizer of SplitMix64 (Stafford's
// variant 13 of that of MurmurHash3).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
