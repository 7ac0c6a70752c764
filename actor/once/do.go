package once

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
)

// Effect does something to the world, and says what came of it. doubt: it may have been
// done already, and the effect has to find out.
type Effect[R any] func(ctx context.Context, doubt bool) (R, error)

// Do has an effect done, unless it was done before: then repeated is true, and the result
// is that of the first time. While an effect of the key runs, Do waits for it, within
// ctx.
//
// An error of the effect is returned as it is; the next Do tries again, in doubt. When
// ctx ends while the effect runs, what it returns counts all the same.
func (l *Ledger[R]) Do(ctx context.Context, key string, f Effect[R]) (result R, repeated bool, err error) {
	if key == "" || len(key) > KeyBytesMax {
		return result, false, l.failed(fmt.Errorf("%w: it has %d bytes, and can have 1 to %d", ErrKey, len(key), KeyBytesMax))
	}
	k, repeated, err := l.take(ctx, key)
	if err != nil {
		return result, false, l.failed(err)
	}
	if repeated {
		result, err = l.result(ctx, k)
		return result, err == nil, err
	}
	result, err = l.try(ctx, key, k, f)
	return result, false, err
}

// take waits until no effect of the key runs, and has it run the caller's, unless it is
// done.
func (l *Ledger[R]) take(ctx context.Context, key string) (k *entry[R], isDone bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		l.forget()
		k = l.known[key]
		if k == nil {
			if len(l.known) >= l.options.KeysMax {
				return nil, false, fmt.Errorf("%w: it knows %d keys of the last %v (Options.KeysMax, Options.Window)", ErrFull, len(l.known), l.options.Window)
			}
			k = &entry[R]{}
			l.known[key] = k
		}
		if k.running == nil {
			break
		}
		running := k.running
		l.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			err = ctx.Err()
		}
		l.mu.Lock()
		if err != nil {
			return nil, false, err
		}
	}
	if k.state == done {
		copied := *k // it may be forgotten, and done anew, while the result is read
		return &copied, true, nil
	}
	k.running = make(chan struct{})
	return k, false, nil
}

// try notes that the effect begins, has it done, and notes what came of it. Whatever goes
// wrong in between, a panic too, leaves a key in doubt.
func (l *Ledger[R]) try(ctx context.Context, key string, k *entry[R], f Effect[R]) (result R, err error) {
	defer l.release(key, k)
	doubt := k.state == begun
	if !doubt {
		_, err := l.note(ctx, key, note[R]{})
		if err != nil {
			// It may be stored, if it is not known to be refused: then there is a
			// doubt that has no ground, which does no harm.
			return result, l.failed(err)
		}
		l.settle(key, k, entry[R]{state: begun})
	}
	if result, err = f(ctx, doubt); err != nil {
		return result, err
	}
	// The effect has happened, whether or not the caller still waits.
	at, err := l.note(context.WithoutCancel(ctx), key, note[R]{Done: true, Result: result})
	if err != nil {
		return result, l.failed(fmt.Errorf("the effect of %.64q was had and could not be noted: %w", key, err))
	}
	e := entry[R]{state: done, offset: at.Offset}
	if at.Offset == actor.NoOffset {
		e.kept = &result
	}
	l.settle(key, k, e)
	return result, nil
}

// note makes a record durable.
func (l *Ledger[R]) note(ctx context.Context, key string, n note[R]) (at actor.Published, err error) {
	stored, err := l.producer.Publish(ctx, topics.Message[note[R]]{Key: []byte(key), Value: n})
	if err != nil {
		return at, err
	}
	return stored.Wait(ctx)
}

// settle takes in what was noted.
func (l *Ledger[R]) settle(key string, k *entry[R], e entry[R]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.become(k, e.state)
	k.offset, k.kept = e.offset, e.kept
	l.age(key, k, l.now().UnixMilli())
}

// release lets others have the key.
func (l *Ledger[R]) release(key string, k *entry[R]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch k.state {
	case fresh:
		delete(l.known, key)
	case begun: // its time may have come while the effect ran
		l.age(key, k, l.now().UnixMilli())
	}
	close(k.running)
	k.running = nil
}

// result is what was noted.
func (l *Ledger[R]) result(ctx context.Context, k *entry[R]) (result R, err error) {
	if k.kept != nil {
		return *k.kept, nil
	}
	n, err := l.reader.At(ctx, 0, k.offset)
	if err != nil {
		return result, l.failed(fmt.Errorf("read the result at offset %d: %w", k.offset, err))
	}
	return n.Value.Result, nil
}

// Done is something that was done.
type Done[R any] struct {
	Key    string
	Result R
	At     time.Time
}

// All gives what was done until now, in the order in which that was noted, for as long as
// f returns true. It goes back to the beginning of the topic, which is a little beyond
// what is remembered.
func (l *Ledger[R]) All(ctx context.Context, f func(Done[R]) bool) (err error) {
	r, err := topics.Of[note[R]](l.name).NewReader(ctx, l.engine, topics.UntilEnd())
	if err != nil {
		return l.failed(err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for n, err := range r.All(ctx) {
		if err != nil {
			return l.failed(err)
		}
		if n.Value.Done && !f(Done[R]{Key: string(n.Key), Result: n.Value.Result, At: time.UnixMilli(n.AppendTime)}) {
			return nil
		}
	}
	return nil
}
