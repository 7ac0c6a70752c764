package envelope

import "slices"

// Died notes that the message was dead-lettered once more: as the newest of its deaths, or
// as one more of that queue for that reason. Of more than MaxDeaths the oldest is dropped.
// from is where it was; only the first time it becomes its Origin.
func (e *Envelope) Died(d Death, from Origin) {
	if i := slices.IndexFunc(e.Deaths, func(has Death) bool { return has.Queue == d.Queue && has.Reason == d.Reason }); i >= 0 {
		d.Count += e.Deaths[i].Count
		d.First = e.Deaths[i].First
		e.Deaths = slices.Delete(e.Deaths, i, i+1)
	}
	e.Deaths = slices.Insert(e.Deaths, 0, d)
	if len(e.Deaths) > MaxDeaths {
		e.Deaths = e.Deaths[:MaxDeaths]
	}
	if e.Hops == 0 {
		e.Origin = from
	}
	e.Hops++
}
