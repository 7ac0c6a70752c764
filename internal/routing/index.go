package routing

// index is how the exchange of one type finds the bindings that match a message.
// add and remove are for the writer of the table; route is for all routers at
// once, and calls reach for the target of each binding that matches.
type index interface {
	add(b *bound)
	remove(b *bound)
	route(r *Router)
}

func newIndex(t *Table, x *Exchange) index {
	switch x.Type {
	case Direct:
		return &directIndex{hasher: t.hasher}
	case Fanout:
		return &fanoutIndex{}
	case Topic:
		return &topicIndex{hasher: t.hasher}
	case Headers:
		return &headerIndex{hasher: t.hasher}
	default:
		return &consistentIndex{on: newHashOn(x)}
	}
}

// directIndex finds bindings by their keys.
type directIndex struct {
	hasher hasher
	byKey  smap[string, targetList]
}

func (x *directIndex) add(b *bound) {
	x.byKey.getOrPut(x.hasher.of(b.Key), b.Key).add(b.target)
}

func (x *directIndex) remove(b *bound) {
	hash := x.hasher.of(b.Key)
	list := x.byKey.get(hash, b.Key)
	list.remove(b.target)
	if list.empty() {
		x.byKey.delete(hash, b.Key)
	}
}

func (x *directIndex) route(r *Router) {
	x.routeKey(r, r.message.Key)
	for _, key := range r.message.CC {
		x.routeKey(r, key)
	}
	for _, key := range r.message.BCC {
		x.routeKey(r, key)
	}
}

func (x *directIndex) routeKey(r *Router, key string) {
	if list := x.byKey.get(x.hasher.of(key), key); list != nil {
		r.reachAll(list.more.all()) // before the first: see targetList
		if t := list.first.Load(); t != nil {
			r.reach(t)
		}
	}
}

// fanoutIndex is all bindings: a target that has several of them is there as
// often.
type fanoutIndex struct{ targets cow[*Target] }

func (x *fanoutIndex) add(b *bound)    { x.targets.add(b.target) }
func (x *fanoutIndex) remove(b *bound) { x.targets.remove(b.target) }
func (x *fanoutIndex) route(r *Router) { r.reachAll(x.targets.all()) }
