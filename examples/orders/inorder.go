package main

import (
	"time"

	"github.com/troupestream/troupe/topology"
)

// inOrder puts records into the order of their event times, and those of one moment into
// that of their keys, which tell records apart. Tasks that work side by side give them
// out as it happens; so the files are the same in every run. Each is held until event
// time has reached it: nothing can come in front of it then.
func inOrder[T any](s topology.Stream[T], name string, key func(T) string) topology.Stream[T] {
	byKey := topology.KeyBy(s, name+"-by-key", key, topology.Parallelism(1))
	return topology.Process(byKey, name, func(p *topology.Processor[string, T, T]) {
		held := topology.ValueOf[T](p, "held")
		p.OnRecord(func(v T) {
			held.Set(v)
			p.SetEventTimer(p.Time())
		})
		p.OnEventTimer(func(time.Time) {
			p.Emit(held.Get())
			held.Clear()
		})
	})
}
