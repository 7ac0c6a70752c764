package actor

// directoryChange is what those hear who subscribe to the directory: one of the types
// below.
type directoryChange interface{ directoryChange() }

type (
	// queueDeclared: there is a new queue. No message can reach it before all have
	// heard this.
	queueDeclared struct{ queue *queueInfo }
	// queueAltered: the queue has another configuration now.
	queueAltered struct{ queue *queueInfo }
	// queueDeleted: the queue is gone, and no message reaches it any more.
	queueDeleted struct{ queue *queueInfo }
	// feedDeclared: a shard is to follow a log, from an offset on. Nothing that
	// counts is appended before all have heard this.
	feedDeclared struct{ feed feedInfo }
	// feedEnded: a shard has to follow the log no more.
	feedEnded struct{ feed feedInfo }
	// logOrphaned: the exchange of the log is deleted. Whoever knows that all queues
	// have released the log calls queueDirectory.forgetLog.
	logOrphaned struct{ log *logInfo }
)

func (queueDeclared) directoryChange() {}
func (queueAltered) directoryChange()  {}
func (queueDeleted) directoryChange()  {}
func (feedDeclared) directoryChange()  {}
func (feedEnded) directoryChange()     {}
func (logOrphaned) directoryChange()   {}

// subscribe calls f with all that there is, as if it had just come to be, and then with
// every change, in order. f must not block, nor ask the directory for anything that
// takes its lock. end ends it.
func (d *queueDirectory) subscribe(f func(directoryChange)) (end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range d.byName.all() {
		f(queueDeclared{q})
	}
	for _, feed := range d.feeds {
		f(feedDeclared{feed})
	}
	for _, l := range d.logs.all() {
		if l.orphaned.Load() {
			f(logOrphaned{l})
		}
	}
	d.watcher++
	n := d.watcher
	d.watchers[n] = f
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watchers, n)
	}
}

func (d *queueDirectory) notify(c directoryChange) {
	for _, f := range d.watchers {
		f(c)
	}
}
