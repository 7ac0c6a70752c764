package actor

import (
	"context"
	"errors"
	"fmt"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/storage"
)

// read answers from memory, or lets the reader wait, or has the store read.
func (p *partition) read(r read) {
	switch offset := r.offset; {
	case offset < p.state.low, offset > p.state.next:
		r.reply(readReply{err: p.outOfRange(offset)})
	case offset < p.state.next:
		if blocks, ok := p.cache.from(offset, r.bytesMax); ok {
			r.reply(readReply{blocks: blocks})
			return
		}
		p.readStore(r)
	default:
		p.waiters = append(p.waiters, r)
	}
}

func (p *partition) outOfRange(offset uint64) error {
	return &OffsetError{p.config.topic, p.config.index, offset, p.state.low, p.state.next}
}

func (p *partition) withdraw(u unread) {
	for i, w := range p.waiters {
		if w.answer == u.answer {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			return
		}
	}
}

// indexEvery is how many entries lie between two that publish notes in the index.
const indexEvery = 16

// publish makes a stored batch available to readers, first of all to those that
// wait for it.
func (p *partition) publish(b block, appendTime int64) {
	p.cache.add(b)
	if b.seq%indexEvery == 0 {
		p.index.add(point{b.seq, b.base, b.end, appendTime})
	}
	for _, w := range p.waiters {
		w.reply(readReply{blocks: []block{b}})
	}
	clear(p.waiters)
	p.waiters = p.waiters[:0]
}

// readTries bounds how often a read begins again because what it was to read has
// gone meanwhile: a compacted log has taken its place.
const readTries = 8

// readStore answers from the store, in a goroutine. It sees nothing beyond what
// is acknowledged now: the entry after that may not be on disk yet.
func (p *partition) readStore(r read) {
	v, name, sys, self := p.view(), p.config.String(), p.sys, p.self
	r.bytesMax = min(r.bytesMax, p.config.limits.ReadBytes)
	ok := sys.Go(func(ctx context.Context) {
		defer v.release()
		blocks, moved, err := v.blocks(ctx, r)
		if moved && r.tries < readTries {
			r.seq, r.tries = 0, r.tries+1
			sys.Send(self, r)
			return
		}
		if err != nil {
			err = fmt.Errorf("read %s: %w", name, err)
		}
		r.reply(readReply{blocks, err})
	})
	if !ok {
		v.release()
		r.reply(readReply{err: errSystemClosed})
	}
}

func (p *partition) searcher() *searcher {
	return &searcher{p.log, &p.index, p.first, p.state.covers}
}

// blocks reads batches from the one that holds the offset on.
func (s *searcher) blocks(ctx context.Context, r read) ([]block, error) {
	seq := r.seq
	if seq == 0 {
		found, _, err := s.find(ctx, byOffset(r.offset))
		if err != nil {
			return nil, err
		}
		seq = max(found.seq, s.first)
	}
	var blocks []block
	for len(blocks) == 0 && seq <= s.last {
		entries, err := s.log.Read(ctx, seq, r.bytesMax)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			return nil, s.endsBefore(seq)
		}
		blocks = appendBlocks(blocks, entries, s.last)
		seq = entries[len(entries)-1].Seq + 1
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("%w: no entry up to %d holds offset %d", ErrCorrupt, s.last, r.offset)
	}
	return blocks, nil
}

func (s *searcher) endsBefore(seq uint64) error {
	return fmt.Errorf("%w: the log %s ends before entry %d", ErrCorrupt, s.log.Name(), seq)
}

func appendBlocks(blocks []block, entries []storage.Entry, last uint64) []block {
	for _, e := range entries {
		if e.Kind == storage.Data && e.Seq <= last {
			blocks = append(blocks, block{seq: e.Seq, data: e.Data})
		}
	}
	return blocks
}

// offsetAt searches by append time.
func (p *partition) offsetAt(m askOffsetAt, sender *pactor.PID) {
	v := p.view()
	p.answerLater(sender, v, func(ctx context.Context) (any, error) {
		at, err := v.since(ctx, m.millis)
		if v.stale() {
			return again{m}, nil
		}
		return max(at.low, v.low), err
	})
}

// again is what I/O gives for an answer when the partition has to be asked anew.
type again struct{ message any }

// answerLater runs I/O that does not concern the state of the partition, sends the
// answer, and releases the view it is about.
func (p *partition) answerLater(sender *pactor.PID, v *view, io func(context.Context) (any, error)) {
	sys, self, name := p.sys, p.self, p.config.String()
	ok := sys.Go(func(ctx context.Context) {
		defer v.release()
		answer, err := io(ctx)
		if err != nil {
			answer = fmt.Errorf("%s: %w", name, err)
		}
		if m, ok := answer.(again); ok {
			sys.root.RequestWithCustomSender(self, m.message, sender)
			return
		}
		sys.Send(sender, answer)
	})
	if !ok {
		v.release()
		sys.Send(sender, errSystemClosed)
	}
}

// trim is one request to trim. It takes three steps: find the batch; save the
// state, which would otherwise be lost with the entries it is made of; drop.
type trim struct {
	sender *pactor.PID // nil: nobody asked for it, retention is due
	place              // of the first record that stays
	again  *askTrim    // it has to be found anew
	wanted uint64      // up to where it would go if no queue needed anything
	err    error
}

func (p *partition) trim(m askTrim, sender *pactor.PID) {
	if m.before > p.state.next {
		p.sys.Send(sender, p.outOfRange(m.before))
		return
	}
	m.before = min(m.before, p.heldFrom())
	t := &trim{sender: sender, place: place{low: p.state.next, seq: p.state.covers + 1}}
	run, all := p.run, m.before == p.state.next
	p.look(func(ctx context.Context, v *view) any {
		if all {
			return trimLocated{run, t, nil}
		}
		var err error
		t.place, err = v.before(ctx, m.before)
		if v.stale() {
			t.again = &m
		}
		return trimLocated{run, t, err}
	}, func(err error) { p.answer(t, err) })
}

// answer tells whoever asked for a trim.
func (p *partition) answer(t *trim, message any) {
	if t.sender != nil {
		p.sys.Send(t.sender, message)
	} else if err, failed := message.(error); failed && !errors.Is(err, ErrStopped) {
		p.sys.log.Warn("records that are no longer kept could not be dropped; that is tried again",
			"topic", p.config.topic, "partition", p.config.index, "error", err)
	}
}

func (p *partition) trimFound(m trimLocated) {
	if m.trim.sender == nil && m.run == p.run {
		p.retaining = false
		if m.trim.wanted > m.trim.low && m.err == nil {
			p.sys.pinned(logKey{p.config.topic, p.config.incarnation, p.config.index}, m.trim.wanted)
		}
	}
	switch {
	case m.run != p.run:
		p.answer(m.trim, fmt.Errorf("trim %s: it failed and started again meanwhile, try it again: %w", p.config, ErrStopped))
	case m.trim.again != nil:
		p.trim(*m.trim.again, m.trim.sender)
	case m.err != nil:
		p.answer(m.trim, fmt.Errorf("trim %s: %w", p.config, m.err))
	case m.trim.low <= p.state.low:
		p.answer(m.trim, p.bounds())
	default:
		p.trims = append(p.trims, m.trim)
		p.advance()
	}
}

// trimSaved drops entries, now that the state is saved behind them: those of the first n
// trims; others have come since the snapshot was made, and it does not know of them. When
// it could not be saved for lack of space, at least those that the last saved state
// covers can go: that is what makes space.
func (p *partition) trimSaved(saveErr error, n int) {
	trims := p.trims[:n:n]
	p.trims = p.trims[n:]
	for _, t := range trims {
		if t.err = saveErr; saveErr != nil && t.log == 0 {
			t.seq = min(t.seq, p.stateSeq)
		}
		p.dropEntries(t)
	}
}

// dropEntries drops those in front of a place. The compacted log that it is in may
// have been replaced meanwhile: then it is looked for in the one in force.
func (p *partition) dropEntries(t *trim) {
	p.moves.Add(1)
	clean, log, run := p.clean, p.log, p.run
	if t.log != 0 {
		p.look(func(ctx context.Context, v *view) any {
			return trimmed{run, t, v.trimClean(ctx, t.low)}
		}, func(err error) { p.answer(t, err) })
		return
	}
	p.background(func(ctx context.Context) any {
		switch {
		case clean != nil && t.low >= clean.end: // it could not be taken out of force
			if err := clean.log.Trim(ctx, clean.last+1); err != nil {
				return trimmed{run, t, err}
			}
		}
		return trimmed{run, t, log.Trim(ctx, t.seq)}
	}, func(err error) { p.answer(t, err) })
}

func (p *partition) trimDone(m trimmed) {
	if m.run == p.run && m.err == nil && m.trim.log == 0 {
		p.first = max(p.first, m.trim.seq)
		p.index.trim(p.first)
	}
	if err := errors.Join(m.err, m.trim.err); err != nil {
		p.answer(m.trim, fmt.Errorf("trim %s: %w", p.config, err))
		return
	}
	p.answer(m.trim, Bounds{First: m.trim.low, Next: p.state.next})
}
