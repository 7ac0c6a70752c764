package actor

import (
	"sync"

	pactor "github.com/asynkron/protoactor-go/actor"
)

// watches lets code outside of actors learn that an actor has stopped. It is a
// process without a mailbox: it handles Terminated on the goroutine of the
// actor that ends.
type watches struct {
	actors *pactor.ActorSystem
	pid    *pactor.PID

	mu      sync.Mutex
	waiting map[string][]func()
}

func newWatches(actors *pactor.ActorSystem) *watches {
	w := &watches{actors: actors, waiting: map[string][]func(){}}
	w.pid, _ = actors.ProcessRegistry.Add(w, "troupe-watches")
	return w
}

// then calls f, which must not block, once the actor has stopped.
func (w *watches) then(pid *pactor.PID, f func()) {
	w.mu.Lock()
	first := len(w.waiting[pid.Id]) == 0
	w.waiting[pid.Id] = append(w.waiting[pid.Id], f)
	w.mu.Unlock()
	if first {
		// A process that is gone answers, through the dead letters, at once.
		process, _ := w.actors.ProcessRegistry.Get(pid)
		process.SendSystemMessage(pid, &pactor.Watch{Watcher: w.pid})
	}
}

// SendSystemMessage receives Terminated.
func (w *watches) SendSystemMessage(_ *pactor.PID, message any) {
	ended, ok := message.(*pactor.Terminated)
	if !ok {
		return
	}
	w.mu.Lock()
	told := w.waiting[ended.Who.Id]
	delete(w.waiting, ended.Who.Id)
	w.mu.Unlock()
	for _, f := range told {
		f()
	}
}

// SendUserMessage ignores everything: nobody is meant to write to a watch.
func (w *watches) SendUserMessage(*pactor.PID, any) {}

// Stop does nothing: watches live as long as their system.
func (w *watches) Stop(*pactor.PID) {}
