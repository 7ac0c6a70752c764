package storagefake

import (
	"context"
	"fmt"
	"slices"

	"github.com/troupestream/troupe/internal/storage"
)

// log is a handle. Its fields are guarded by the mutex of the store.
type log struct {
	s      *Store
	name   string
	c      *content
	closed bool
}

func (l *log) Name() string { return l.name }

// use runs f while the log can be used.
func (l *log) use(ctx context.Context, what string, f func(c *content) error) error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	err := l.s.usable(ctx)
	if l.closed {
		err = storage.ErrClosed
	}
	if err == nil && l.s.logs[l.name] != l.c {
		err = storage.ErrNotFound
	}
	if err == nil {
		err = f(l.c)
	}
	if err != nil {
		return fmt.Errorf("%s log %s: %w", what, l.name, err)
	}
	return nil
}

// Append implements storage.Log.
func (l *log) Append(ctx context.Context, kind storage.Kind, data []byte, expect uint64) (uint64, error) {
	if !kind.Valid() {
		return 0, fmt.Errorf("append to log %s: there is no kind %q", l.name, byte(kind))
	}
	if len(data) > storage.MaxEntryBytes {
		return 0, fmt.Errorf("append %d bytes to log %s: %w", len(data), l.name, storage.ErrTooLarge)
	}
	fault, err := l.fault(ctx, kind, data, expect)
	if err != nil {
		return 0, err
	}
	switch {
	case fault.Hold != nil:
		err = l.held(ctx, fault, kind, slices.Clone(data), expect)
	case fault.Err != nil:
		err = fmt.Errorf("append to log %s: %w", l.name, fault.Err)
	case fault.LoseRequest:
		err = l.unknown()
	default:
		err = l.store(context.WithoutCancel(ctx), kind, slices.Clone(data), expect)
	}
	if err == nil && fault.LoseReply {
		err = l.unknown()
	}
	if err != nil {
		return 0, err
	}
	return expect + 1, nil
}

func (l *log) unknown() error {
	return fmt.Errorf("append to log %s: %w", l.name, storage.ErrUnknown)
}

func (l *log) fault(ctx context.Context, kind storage.Kind, data []byte, expect uint64) (f Fault, err error) {
	err = l.use(ctx, "append to", func(c *content) error {
		c.appends++
		if l.s.onAppend != nil {
			f = l.s.onAppend(Append{l.name, c.appends, kind, data, expect})
		}
		return nil
	})
	return f, err
}

// held waits for the fault to let go. The goroutine outlives a caller that
// gives up, and ends when the channel is closed.
func (l *log) held(ctx context.Context, f Fault, kind storage.Kind, data []byte, expect uint64) error {
	done := make(chan error, 1)
	go func() {
		<-f.Hold
		switch {
		case f.Err != nil:
			done <- fmt.Errorf("append to log %s: %w", l.name, f.Err)
		case f.LoseRequest:
			done <- l.unknown()
		default:
			done <- l.store(context.Background(), kind, data, expect)
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w (%w)", l.unknown(), ctx.Err())
	}
}

func (l *log) store(ctx context.Context, kind storage.Kind, data []byte, expect uint64) error {
	return l.use(ctx, "append to", func(c *content) error {
		if c.last != expect {
			return fmt.Errorf("%w: its last entry is %d, not %d", storage.ErrFenced, c.last, expect)
		}
		if l.s.full {
			return storage.ErrFull
		}
		c.last++
		c.entries = append(c.entries, storage.Entry{Seq: c.last, Kind: kind, Data: data})
		return nil
	})
}

// Bounds implements storage.Log.
func (l *log) Bounds(ctx context.Context) (b storage.Bounds, err error) {
	err = l.use(ctx, "read bounds of", func(c *content) error {
		b.First, b.Last = c.first, c.last
		for i := range c.entries {
			b.Bytes += uint64(len(c.entries[i].Data))
		}
		return nil
	})
	return b, err
}

// Read implements storage.Log.
func (l *log) Read(ctx context.Context, from uint64, maxBytes int) (out []storage.Entry, err error) {
	err = l.use(ctx, "read", func(c *content) error {
		from = max(from, c.first)
		for size := 0; from <= c.last; from++ {
			e := c.entries[from-c.first]
			if size += len(e.Data); size > maxBytes && len(out) > 0 {
				break
			}
			e.Data = slices.Clone(e.Data)
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

// Last implements storage.Log.
func (l *log) Last(ctx context.Context, kind storage.Kind) (e storage.Entry, err error) {
	err = l.use(ctx, "read last entry of", func(c *content) error {
		for i := len(c.entries) - 1; i >= 0; i-- {
			if c.entries[i].Kind == kind {
				e = c.entries[i]
				e.Data = slices.Clone(e.Data)
				return nil
			}
		}
		return fmt.Errorf("kind %q: %w", byte(kind), storage.ErrNotFound)
	})
	return e, err
}

// Trim implements storage.Log.
func (l *log) Trim(ctx context.Context, before uint64) error {
	return l.use(ctx, "trim", func(c *content) error {
		before = min(before, c.last+1)
		if before > c.first {
			c.entries = slices.Clone(c.entries[before-c.first:])
			c.first = before
		}
		return nil
	})
}

// Close implements storage.Log.
func (l *log) Close() error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.closed = true
	return nil
}
