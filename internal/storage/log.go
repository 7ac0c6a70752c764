package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/troupestream/troupe/internal/natsnode"
)

// jetLog is a handle of a log in a stream of the same name. The kind of an
// entry is the last token of its subject.
type jetLog struct {
	s          *jetStore
	p          *port
	name       string
	durability Durability
	tail       *tail
	witness    *natsnode.Witness // nil for a log in memory
	guard      *natsnode.Guard
	closed     atomic.Bool

	mu       sync.Mutex // one append at a time: fencing rests on it
	appender *appender
}

// Name implements Log.
func (l *jetLog) Name() string { return l.name }

func (l *jetLog) failed(what string, err error) error {
	return fmt.Errorf("%s log %s: %w", what, l.name, err)
}

// Append implements Log.
func (l *jetLog) Append(ctx context.Context, kind Kind, data []byte, expect uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq, err := l.append(ctx, kind, data, expect)
	switch {
	case errors.Is(err, errNobody):
		err = l.whyNobody(ctx)
	case errors.Is(err, ErrFenced):
		err = l.whyFenced(ctx, expect, err)
	}
	if err != nil {
		l.tail.reset()
		return 0, l.failed("append to", err)
	}
	l.witness.Acked(seq)
	l.tail.add(seq, kind, data)
	return seq, nil
}

func (l *jetLog) append(ctx context.Context, kind Kind, data []byte, expect uint64) (uint64, error) {
	if err := l.admit(ctx, kind, data); err != nil {
		return 0, err
	}
	link, err := l.p.link()
	if err != nil {
		return 0, err
	}
	if l.appender == nil || l.appender.l != link {
		if l.appender, err = newAppender(link); err != nil {
			l.appender = nil
			return 0, err // nothing was sent
		}
	}
	seq, err := l.appender.append(ctx, l.subject(kind), data, expect, l.s.opts.Timeout)
	if err == nil && seq != expect+1 {
		err = fmt.Errorf("%w: entry %d was stored as %d", ErrCorrupt, expect+1, seq)
	}
	return seq, err
}

// admit refuses what must not be sent. The disk is looked at first because the
// server does not answer an append that finds it full, and then takes no more.
func (l *jetLog) admit(ctx context.Context, kind Kind, data []byte) error {
	switch {
	case l.closed.Load():
		return ErrClosed
	case !kind.Valid():
		return fmt.Errorf("there is no kind %q", byte(kind))
	case len(data) > MaxEntryBytes:
		return fmt.Errorf("%w: it has %d bytes, %d are allowed", ErrTooLarge, len(data), MaxEntryBytes)
	case ctx.Err() != nil:
		return ctx.Err()
	case l.durability == Memory:
		return nil
	}
	return l.p.roomFor(len(data))
}

// The subjects of the three kinds would otherwise be built for each append.
func (l *jetLog) subject(kind Kind) string { return l.name + "." + string(rune(kind)) }

// whyNobody tells a log that was deleted from a server that has stopped.
func (l *jetLog) whyNobody(ctx context.Context) error {
	_, err := l.p.info(ctx, l.name)
	if err == nil {
		return fmt.Errorf("%w: the store was starting", ErrUnknown)
	}
	return err
}

// whyFenced tells a log that somebody else has appended to from one that has lost
// what the writer expects to be its end: there the server counts entries that
// it does not have.
func (l *jetLog) whyFenced(ctx context.Context, expect uint64, fenced error) error {
	ctx, cancel := l.s.bounded(ctx)
	defer cancel()
	b, err := l.bounds(ctx)
	switch next := expect + 1; {
	case err != nil || b.Last < next:
		return fenced
	case b.First > next: // trimmed, or lost
		if floor := l.witness.Floor(); floor > 0 && next >= floor {
			return fmt.Errorf("%w: entries %d to %d are counted, but lost", ErrCorrupt, next, b.First-1)
		}
	default:
		err = l.withReader(ctx, func(r *reader, link *link) (err error) {
			_, err = l.read(ctx, r, link, next, 1)
			return err
		})
		if errors.Is(err, ErrCorrupt) {
			return err
		}
	}
	return fenced
}

// Bounds implements Log.
func (l *jetLog) Bounds(ctx context.Context) (Bounds, error) {
	ctx, cancel := l.s.bounded(ctx)
	defer cancel()
	b, err := l.bounds(ctx)
	if err != nil {
		return Bounds{}, l.failed("read bounds of", err)
	}
	return b, nil
}

func (l *jetLog) bounds(ctx context.Context) (Bounds, error) {
	if l.closed.Load() {
		return Bounds{}, ErrClosed
	}
	info, err := l.p.info(ctx, l.name)
	if err != nil {
		return Bounds{}, err
	}
	b := Bounds{First: info.State.FirstSeq, Last: info.State.LastSeq, Bytes: info.State.Bytes}
	if info.State.Msgs == 0 {
		b.First = b.Last + 1
	}
	return b, nil
}

// Read implements Log.
func (l *jetLog) Read(ctx context.Context, from uint64, maxBytes int) ([]Entry, error) {
	out, err := l.readAny(ctx, max(from, 1), maxBytes)
	if err != nil {
		return nil, l.failed("read", err)
	}
	return out, nil
}

func (l *jetLog) readAny(ctx context.Context, from uint64, maxBytes int) (out []Entry, err error) {
	if err := l.readable(ctx); err != nil {
		return nil, err
	}
	if out, ok := l.tail.read(from, maxBytes); ok {
		return out, nil
	}
	ctx, cancel := l.s.bounded(ctx)
	defer cancel()
	err = l.withReader(ctx, func(r *reader, link *link) (err error) {
		out, err = l.read(ctx, r, link, from, maxBytes)
		return err
	})
	return out, err
}

// readable says that the log is read, and whether it can be.
func (l *jetLog) readable(ctx context.Context) error {
	err := l.usable()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = l.tail.want()
	}
	return err
}

func (l *jetLog) usable() error {
	if l.closed.Load() {
		return ErrClosed
	}
	return l.s.usable()
}

func (l *jetLog) withReader(ctx context.Context, f func(*reader, *link) error) error {
	if err := l.usable(); err != nil {
		return err
	}
	link, err := l.p.link()
	if err != nil {
		return err
	}
	r, err := link.borrow(ctx)
	if err != nil {
		return err
	}
	defer func() { link.readers <- r }()
	err = f(r, link)
	switch {
	case errors.Is(err, errNobody):
		return l.whyNobody(ctx)
	case errors.Is(err, errLost) && l.usable() != nil:
		return l.usable()
	}
	return err
}

// read asks for chunks until maxBytes are full or there is nothing more.
func (l *jetLog) read(ctx context.Context, r *reader, link *link, from uint64, maxBytes int) (out []Entry, err error) {
	size, counted, doubted := 0, 0, false
	for {
		var none bool
		ask := max(maxBytes-size, 1)
		batch, err := l.mayAsk(from, ask)
		switch {
		case err != nil && counted > 0:
			return out, nil // the next read begins at the damage
		case err != nil:
			return nil, err
		}
		if out, none, err = r.chunk(ctx, link, l.name, from, batch, ask, out); err != nil {
			return nil, err
		}
		for ; counted < len(out); counted++ {
			if out[counted].Seq != from {
				if counted > 0 {
					return out[:counted], nil // the next read begins at the gap
				}
				if err = l.mayBeMissing(ctx, from); err != nil {
					return nil, err
				}
			}
			if size += len(out[counted].Data); size > maxBytes && counted > 0 {
				return out[:counted], nil
			}
			from = out[counted].Seq + 1
		}
		switch {
		case len(out) > 0 && (none || size >= maxBytes):
			return out, nil
		case len(out) == 0 && none:
			if from, err = l.reallyTheEnd(ctx, from, doubted); from == 0 || err != nil {
				return nil, err
			}
			doubted = true
		}
	}
}

// mayAsk returns how many entries from sequence from on the server may be asked for.
func (l *jetLog) mayAsk(from uint64, maxBytes int) (uint64, error) {
	from = max(from, l.witness.Floor())
	until, err := l.guard.Readable(from, min(maxBytes, readChunkBytes))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return min(until-from, readBatch), nil
}

// mayBeMissing reports an entry that the store passed over though it was never
// trimmed: the store does that when the entry is damaged.
func (l *jetLog) mayBeMissing(ctx context.Context, seq uint64) error {
	b, err := l.bounds(ctx)
	if err == nil && seq >= b.First {
		err = fmt.Errorf("%w: entry %d is damaged (%d to %d are kept)", ErrCorrupt, seq, b.First, b.Last)
	}
	return err
}

// reallyTheEnd holds a "not found" against the bounds, because the server says
// the same when it cannot load an entry. It returns 0 at the end of the log,
// and otherwise where to try again: the entry may have been appended, or the
// ones before it trimmed, since the server looked. When there was doubt before,
// an entry that is kept now was kept all the time.
func (l *jetLog) reallyTheEnd(ctx context.Context, from uint64, doubted bool) (uint64, error) {
	b, err := l.bounds(ctx)
	switch {
	case err != nil || from > b.Last || b.First > b.Last:
		return 0, err
	case doubted && from >= b.First:
		return 0, fmt.Errorf("%w: entry %d is kept (%d to %d are), but cannot be loaded", ErrCorrupt, from, b.First, b.Last)
	}
	return max(from, b.First), nil
}

// Last implements Log.
func (l *jetLog) Last(ctx context.Context, kind Kind) (Entry, error) {
	ctx, cancel := l.s.bounded(ctx)
	defer cancel()
	var e *Entry
	err := l.withReader(ctx, func(r *reader, link *link) (err error) {
		e, err = r.last(ctx, link, l.name, kind)
		return err
	})
	if err == nil && e == nil {
		err = l.reallyNone(ctx, kind)
	}
	if err != nil {
		return Entry{}, l.failed("read last entry of", err)
	}
	return *e, nil
}

// reallyNone is reallyTheEnd for Last: to take a state that cannot be loaded
// for one that was never written would mean to start from nothing.
func (l *jetLog) reallyNone(ctx context.Context, kind Kind) error {
	subject := l.subject(kind)
	info, err := l.p.info(ctx, l.name, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return err
	}
	if n := info.State.Subjects[subject]; n > 0 {
		return fmt.Errorf("%w: %d entries of kind %q are kept, but the last cannot be loaded", ErrCorrupt, n, byte(kind))
	}
	return fmt.Errorf("kind %q: %w", byte(kind), ErrNotFound)
}

// Trim implements Log.
func (l *jetLog) Trim(ctx context.Context, before uint64) error {
	ctx, cancel := l.s.bounded(ctx)
	defer cancel()
	b, err := l.bounds(ctx)
	// Purging beyond the end would move the end: sequences would be skipped.
	if before = min(before, b.Last+1); err == nil && before > b.First {
		l.tail.trim(before)
		err = l.trim(ctx, before)
	}
	if err != nil {
		return l.failed("trim", err)
	}
	return nil
}

func (l *jetLog) trim(ctx context.Context, before uint64) error {
	if _, err := l.guard.Readable(before, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := l.witness.Trimming(before); err != nil {
		return err
	}
	return l.p.purge(ctx, l.name, before)
}

// Close implements Log.
func (l *jetLog) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.appender != nil {
		l.appender.close()
		l.appender = nil
	}
	return nil
}
