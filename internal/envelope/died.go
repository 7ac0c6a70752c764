package envelope

import "slices"

// Died notes that the message was dead-lettered once more: as the newest of its deaths, or
// as one more of that queue for that reason. Of more than MaxDeaths, or MaxHistory, the
// oldest are left out. from is where it was; only the first time it becomes its Origin.
func (e *Envelope) Died(d Death, from Origin) {
	if i := slices.IndexFunc(e.Deaths, func(has Death) bool { return has.Queue == d.Queue && has.Reason == d.Reason }); i >= 0 {
		d.Count += e.Deaths[i].Count
		d.First = e.Deaths[i].First
		e.Deaths = slices.Delete(e.Deaths, i, i+1)
	}
	e.Deaths = slices.Insert(e.Deaths, 0, d.fitting())
	e.Deaths = e.Deaths[:kept(e.Deaths)]
	if e.Hops == 0 {
		e.Origin = from
	}
	e.Hops++
}

// fitting returns a death with no more routing keys than can be kept.
func (d Death) fitting() Death {
	d.RoutingKeys = d.RoutingKeys[:min(len(d.RoutingKeys), MaxCC)]
	if d.bytes() > MaxHistory {
		d.RoutingKeys = d.RoutingKeys[:1]
	}
	return d
}

// kept is how many of some deaths can be kept.
func kept(all []Death) int {
	size := 0
	for i := range all {
		if size += all[i].bytes(); i == MaxDeaths || i > 0 && size > MaxHistory {
			return i
		}
	}
	return len(all)
}

// bytes is about how many a death takes.
func (d *Death) bytes() int {
	n := 64 + len(d.Queue) + len(d.Exchange) + len(d.Error)
	for _, key := range d.RoutingKeys {
		n += len(key) + 2
	}
	return n
}
