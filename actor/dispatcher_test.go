package actor

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func (d *Dispatcher) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.live
}

func TestDispatcherNeverQueuesBehindABlockedWorker(t *testing.T) {
	d := NewDispatcher()
	release := make(chan struct{})
	var blocked sync.WaitGroup
	for range 2 * dispatcherParkedMax {
		blocked.Add(1)
		d.Schedule(func() { blocked.Done(); <-release })
	}
	blocked.Wait()
	ran := make(chan struct{})
	d.Schedule(func() { close(ran) })
	await(t, ran, "work beside blocked workers")
	close(release)
	await(t, d.Close(), "the dispatcher to end")
}

func TestDispatcherParksAndRetires(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		d := NewDispatcher()
		for range dispatcherParkedMax + 10 {
			d.Schedule(func() { time.Sleep(time.Millisecond) })
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if d.count() != dispatcherParkedMax {
			t.Fatalf("%d goroutines parked, want %d", d.count(), dispatcherParkedMax)
		}
		d.Schedule(func() {})
		synctest.Wait()
		if d.count() != dispatcherParkedMax {
			t.Fatalf("a new goroutine was started while %d were parked", dispatcherParkedMax)
		}
		time.Sleep(3 * dispatcherIdle)
		synctest.Wait()
		if d.count() != 0 {
			t.Fatalf("%d goroutines after a long idle time, want 0", d.count())
		}
		<-d.Close()
	})
}

func TestDispatcherWorksAfterClose(t *testing.T) {
	d := NewDispatcher()
	d.Schedule(func() {})
	await(t, d.Close(), "the dispatcher to end")
	ran := make(chan struct{})
	d.Schedule(func() { close(ran) })
	await(t, ran, "late work")
	await(t, d.Close(), "a second close")
}

func BenchmarkDispatcherPingPong(b *testing.B) {
	d := NewDispatcher()
	defer d.Close()
	back := make(chan struct{})
	for b.Loop() {
		d.Schedule(func() { back <- struct{}{} })
		<-back
	}
}
