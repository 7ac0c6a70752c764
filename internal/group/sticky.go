package group

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// assignSticky solves for balance first and few moves second.
//
// Balance: no member can be relieved, directly or through others, by a member
// with at least two partitions fewer. That is an optimal semi-matching (Harvey,
// Ladner, Lovász, Tamir, "Semi-matchings for bipartite graphs and load
// balancing", 2006): it is best for every measure of balance that punishes large
// loads more than small ones, and where all members subscribe to the same
// topics, loads differ by at most one.
//
// Moves: everybody keeps what they had; what nobody has goes to those with the
// least; only then do partitions move, from the largest load to the smallest.
// Where all members subscribe to the same topics no balanced solution moves
// fewer.
func assignSticky(p *problem) []int {
	b := newBalance(p)
	b.keep()
	b.deal()
	b.level()
	return b.owners
}

// pool are the partitions of all topics that have the same subscribers. For
// balance they are as good as each other.
type pool struct {
	partitions  []int
	subscribers []int
	seen        uint64 // the search that came by last
}

// balance is a solution in the making.
type balance struct {
	*problem
	owners []int
	held   [][]int // by member: its partitions

	pools  []*pool
	poolOf []*pool // by partition

	// Of the search for a path. A member or pool that a search in vain came by
	// is settled: searches from smaller loads need not look there again.
	search uint64
	seen   []uint64 // by member: the search that came by last; settled
	from   []step   // by member: how the search came to it
}

// settled marks what no search needs to look at again.
const settled = ^uint64(0)

// step leads to a member: its predecessor on the path could give it a partition
// of the pool.
type step struct {
	giver int
	pool  *pool
}

func newBalance(p *problem) *balance {
	b := &balance{problem: p, owners: p.unowned(), poolOf: make([]*pool, len(p.previous)),
		held: make([][]int, p.members),
		seen: make([]uint64, p.members), from: make([]step, p.members)}
	byWhom := map[string]*pool{}
	var key []byte
	for _, s := range p.subjects {
		if len(s.subscribers) == 0 {
			continue
		}
		key = key[:0]
		for _, m := range s.subscribers {
			key = binary.BigEndian.AppendUint32(key, uint32(m))
		}
		q := byWhom[string(key)]
		if q == nil {
			q = &pool{subscribers: s.subscribers}
			byWhom[string(key)] = q
			b.pools = append(b.pools, q)
		}
		q.partitions = append(q.partitions, s.partitions...)
		for _, partition := range s.partitions {
			b.poolOf[partition] = q
		}
	}
	return b
}

func (b *balance) own(m, partition int) {
	b.owners[partition] = m
	b.held[m] = append(b.held[m], partition)
}

// keep leaves every partition with whom it was, if that member still subscribes.
func (b *balance) keep() {
	for partition, m := range b.previous {
		if m == none || b.poolOf[partition] == nil {
			continue
		}
		if _, ok := slices.BinarySearch(b.poolOf[partition].subscribers, m); ok {
			b.own(m, partition)
		}
	}
}

// deal gives what nobody owns to the subscriber that owns least. Pools with few
// subscribers go first, because they have the least choice.
func (b *balance) deal() {
	pools := slices.Clone(b.pools)
	slices.SortStableFunc(pools, func(x, y *pool) int { return cmp.Compare(len(x.subscribers), len(y.subscribers)) })
	for _, q := range pools {
		for _, partition := range q.partitions {
			if b.owners[partition] == none {
				b.own(b.least(q.subscribers), partition)
			}
		}
	}
}

// least returns the member that owns least, the first of those that are equal.
func (b *balance) least(members []int) int {
	best := members[0]
	for _, m := range members[1:] {
		if len(b.held[m]) < len(b.held[best]) {
			best = m
		}
	}
	return best
}

// level moves partitions until nobody can be relieved any more.
func (b *balance) level() {
	for {
		m := none
		for i := range b.seen {
			if b.seen[i] != settled && (m == none || len(b.held[i]) > len(b.held[m])) {
				m = i
			}
		}
		if m == none || len(b.held[m]) < 2 {
			return
		}
		if to := b.findRelief(m); to != none {
			b.shift(m, to)
		} else {
			b.settle()
		}
	}
}

// findRelief searches, in breadth, for a member that has at least two partitions
// fewer and to which a path of gifts leads. Of those that are equally near it
// returns the one with the least. It returns none if there is no such member.
//
// What an earlier search in vain came by is passed over: all loads there are too
// large, and no path leads out of it.
func (b *balance) findRelief(m int) int {
	b.search++
	b.seen[m] = b.search
	for frontier := []int{m}; len(frontier) > 0; {
		var next []int
		for _, giver := range frontier {
			next = b.reach(giver, next)
		}
		if len(next) > 0 {
			if to := b.least(next); len(b.held[to]) <= len(b.held[m])-2 {
				return to
			}
		}
		frontier = next
	}
	return none
}

// reach adds the members that could take a partition from giver and were not
// come by before.
func (b *balance) reach(giver int, next []int) []int {
	for _, partition := range b.held[giver] {
		q := b.poolOf[partition]
		if q.seen >= b.search {
			continue
		}
		q.seen = b.search
		for _, taker := range q.subscribers {
			if b.seen[taker] < b.search {
				b.seen[taker] = b.search
				b.from[taker] = step{giver, q}
				next = append(next, taker)
			}
		}
	}
	return next
}

// settle closes what the search just now came by in vain.
func (b *balance) settle() {
	for i := range b.seen {
		if b.seen[i] == b.search {
			b.seen[i] = settled
		}
	}
	for _, q := range b.pools {
		if q.seen == b.search {
			q.seen = settled
		}
	}
}

// shift hands one partition on along the path that leads to a member.
func (b *balance) shift(m, to int) {
	for to != m {
		s := b.from[to]
		b.own(to, b.take(s.giver, s.pool))
		to = s.giver
	}
}

// take takes a partition of a pool from a member: the one it was given last.
func (b *balance) take(m int, q *pool) int {
	held := b.held[m]
	i := len(held) - 1
	for b.poolOf[held[i]] != q { // the search saw one
		i--
	}
	partition := held[i]
	b.held[m] = slices.Delete(held, i, i+1)
	return partition
}
