package actor

import (
	"sync"
	"time"
)

// Defaults of a dispatcher.
const (
	dispatcherParkedMax = 64                     // idle goroutines kept warm
	dispatcherIdle      = 500 * time.Millisecond // how long one may stay idle
	dispatcherTurn      = 300                    // messages an actor handles before it lets others run
)

// Dispatcher runs actors on warm goroutines. A fresh goroutine has to grow its
// stack through the actor's call chain, which costs several times more than the
// message itself; a parked one has it already.
//
// Schedule hands the work to a goroutine that is parked at this moment, over an
// unbuffered channel, or else starts a new one. So work never queues behind a
// goroutine that is busy or blocked, and there is nothing to deadlock on.
type Dispatcher struct {
	work   chan func()
	closed chan struct{}

	mu     sync.Mutex
	live   int // goroutines
	parked int // of these, those that wait for work
	spare  int // fewest that were parked since the last sweep: not needed
	sweep  *time.Timer
	idle   chan struct{} // closed when closed and live is 0
}

// NewDispatcher returns a dispatcher without goroutines. Close it.
func NewDispatcher() *Dispatcher {
	return &Dispatcher{work: make(chan func()), closed: make(chan struct{}), idle: make(chan struct{})}
}

// Throughput is the number of messages an actor handles before it yields.
func (d *Dispatcher) Throughput() int { return dispatcherTurn }

// Schedule runs fn on another goroutine, at once.
func (d *Dispatcher) Schedule(fn func()) {
	select {
	case d.work <- fn:
		return
	default:
	}
	d.mu.Lock()
	d.live++
	d.mu.Unlock()
	go d.worker(fn)
}

func (d *Dispatcher) worker(fn func()) {
	defer d.end()
	for fn != nil {
		fn()
		if !d.park() {
			return
		}
		select {
		case fn = <-d.work:
		case <-d.closed:
			fn = nil
		}
		d.unpark()
	}
}

func (d *Dispatcher) park() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.parked >= dispatcherParkedMax || d.isClosed() {
		return false
	}
	d.parked++
	if d.sweep == nil {
		d.spare = 0
		d.sweep = time.AfterFunc(dispatcherIdle, d.retire)
	}
	return true
}

func (d *Dispatcher) unpark() {
	d.mu.Lock()
	d.parked--
	d.spare = min(d.spare, d.parked)
	d.mu.Unlock()
}

func (d *Dispatcher) end() {
	d.mu.Lock()
	d.live--
	last := d.live == 0 && d.isClosed()
	d.mu.Unlock()
	if last {
		d.signalIdle()
	}
}

// retire ends the goroutines that were not needed since the last time, by
// handing them nothing to do. It keeps coming back while any is parked.
func (d *Dispatcher) retire() {
	d.mu.Lock()
	unneeded := d.spare
	d.spare = d.parked
	if d.parked == 0 || d.isClosed() {
		d.sweep = nil
	} else {
		d.sweep.Reset(dispatcherIdle)
	}
	d.mu.Unlock()
	for range unneeded {
		select {
		case d.work <- nil:
		default:
			return
		}
	}
}

func (d *Dispatcher) isClosed() bool {
	select {
	case <-d.closed:
		return true
	default:
		return false
	}
}

// Close ends the parked goroutines and returns a channel that is closed when
// those that still work have ended too. Work scheduled later runs on goroutines
// of its own.
func (d *Dispatcher) Close() <-chan struct{} {
	d.mu.Lock()
	already := d.isClosed()
	if !already {
		close(d.closed)
	}
	if d.sweep != nil {
		d.sweep.Stop()
	}
	none := d.live == 0
	d.mu.Unlock()
	if none && !already {
		d.signalIdle()
	}
	return d.idle
}

// signalIdle may be reached once more by work that was scheduled after Close.
func (d *Dispatcher) signalIdle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.idle:
	default:
		close(d.idle)
	}
}
