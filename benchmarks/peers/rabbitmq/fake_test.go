package main

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"
)

// fake is a peer of channels that confirms at once. It can lose or repeat a message,
// and forget to settle one: the harness must notice.
type fake struct {
	mu      sync.Mutex
	queues  map[string]chan []byte
	loses   int // each so-manieth message; 0: none
	repeats int
	unsaid  int // messages that left still counts at the end
	refuses error
}

func newFake() *fake { return &fake{queues: map[string]chan []byte{}} }

func (f *fake) name() string             { return "fake" }
func (f *fake) speed() int               { return 1 }
func (f *fake) idle() int                { return 100 }
func (f *fake) processor() time.Duration { return time.Millisecond }
func (f *fake) resident() int64          { return 3 << 20 }
func (f *fake) close()                   {}

func (f *fake) clear(context.Context) error { return nil }

func (f *fake) queue(name string) chan []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queues[name]
}

func (f *fake) declare(_ context.Context, queue string, _ []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queues[queue] = make(chan []byte, 1<<16)
	return nil
}

func (f *fake) remove(_ context.Context, queues ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, queue := range queues {
		delete(f.queues, queue)
	}
	return nil
}

func (f *fake) left(_ context.Context, queue string) (int, error) {
	return len(f.queue(queue)) + f.unsaid, nil
}

func (f *fake) publisher(_ context.Context, exchange string, _ int) (publisher, error) {
	return &fakePublisher{fake: f, queue: strings.TrimSuffix(exchange, exchangeOf(""))}, nil
}

type fakePublisher struct {
	*fake
	queue string // "": the routing key
	sent  int
}

func (p *fakePublisher) publish(ctx context.Context, key string, body []byte, done func(error)) error {
	to, copies := p.fake.queue(cmp.Or(p.queue, key)), 1
	p.sent++
	if p.loses > 0 && p.sent%p.loses == 0 {
		copies = 0
	}
	if p.repeats > 0 && p.sent%p.repeats == 0 {
		copies = 2
	}
	for range copies {
		select {
		case to <- body:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	done(p.refuses)
	return nil
}

func (p *fakePublisher) flush(context.Context) error { return nil }
func (p *fakePublisher) close()                      {}

func (f *fake) consume(ctx context.Context, o consuming) error {
	from := f.queue(o.queue)
	for {
		select {
		case body := <-from:
			o.handle(body)
		case <-o.until:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
