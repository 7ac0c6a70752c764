package actor

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/troupestream/troupe/internal/codec"
)

// feedCursor is a place in a log from which followers are fed.
type feedCursor struct {
	id        uint64
	offset    uint64 // of what comes next
	followers []*follower
	begun     bool // something was read from it
	stepping  bool // it has a step coming

	blocks []block
	asked  uint64 // number of the read under way; 0: none
	answer chan readReply
	behind uint64 // the offset behind what was read
	seq    uint64 // where that is; 0: not known
	clean  uint64 // and in which compacted log
}

func (f *feed) cursor(id uint64) *feedCursor {
	for _, c := range f.cursors {
		if c.id == id {
			return c
		}
	}
	return nil
}

// place has a follower be fed from the cursor that is next before it, or from one of its
// own. One that has not read anything yet goes back for it.
func (f *feed) place(fo *follower) {
	var best *feedCursor
	for _, c := range f.cursors {
		if !c.begun && c.offset > fo.next {
			f.rewind(c, fo.next)
		}
		if c.offset <= fo.next && (best == nil || c.offset > best.offset) {
			best = c
		}
	}
	if best == nil {
		best = f.newCursor(fo.next)
	}
	best.join(fo)
	if !best.stepping {
		f.step(best)
	}
}

func (f *feed) newCursor(offset uint64) *feedCursor {
	f.lastID++
	c := &feedCursor{id: f.lastID, offset: offset}
	f.cursors = append(f.cursors, c)
	return c
}

func (c *feedCursor) join(fo *follower) {
	fo.cursor = c
	c.followers = append(c.followers, fo)
}

// leave takes a follower from its cursor, which ends with its last one.
func (f *feed) leave(fo *follower) {
	c := fo.cursor
	if c == nil {
		return
	}
	fo.cursor = nil
	c.followers = slices.DeleteFunc(c.followers, func(o *follower) bool { return o == fo })
	if len(c.followers) == 0 {
		f.drop(c)
	}
}

func (f *feed) drop(c *feedCursor) {
	f.withdraw(c)
	f.cursors = slices.DeleteFunc(f.cursors, func(o *feedCursor) bool { return o == c })
}

func (f *feed) withdraw(c *feedCursor) {
	if c.asked != 0 {
		f.sys.Send(f.ref.pid.Load(), unread{c.answer})
		c.asked = 0
	}
}

// rewind has a cursor read from another place.
func (f *feed) rewind(c *feedCursor, offset uint64) {
	f.withdraw(c)
	c.offset, c.blocks, c.behind, c.seq = offset, nil, 0, 0
}

// step has a cursor go on after others have had their turn.
func (f *feed) step(c *feedCursor) {
	c.stepping = true
	f.sys.Send(f.self, feedStep{c.id})
}

// advance feeds what there is, until there is no more, or nobody has room.
func (f *feed) advance(c *feedCursor) {
	for range feedTurn {
		if f.topic == nil || len(c.followers) == 0 || !slices.ContainsFunc(c.followers, (*follower).hasRoom) {
			return
		}
		p, err := f.next(c)
		if err != nil {
			f.unreadable(c, err)
			return
		}
		if p == nil {
			f.ask(c)
			return
		}
		c.begun = true
		f.feed(c, p)
		c.offset = max(c.offset, p.end)
		f.reach()
		if c = f.merge(c); c.stepping {
			return
		}
	}
	f.step(c)
}

// reach notes how far the log was read for all.
func (f *feed) reach() {
	at := f.cursors[0].offset
	for _, c := range f.cursors[1:] {
		at = min(at, c.offset)
	}
	f.reached.Store(at)
}

// next returns the page with what comes next; nil: it has to be read.
func (f *feed) next(c *feedCursor) (*page, error) {
	if p := f.sys.pages.find(f.config.log, c.offset); p != nil {
		return p, nil
	}
	for len(c.blocks) > 0 {
		b := c.blocks[0]
		c.blocks[0] = block{}
		c.blocks = c.blocks[1:]
		if endOf(b) <= c.offset {
			continue // it was found in memory meanwhile
		}
		p, err := newPage(f.config.log, b.data)
		if err != nil {
			return nil, f.damaged(c, b, err)
		}
		f.sys.pages.add(p)
		return p, nil
	}
	return nil, nil
}

// endOf is the offset behind a block; if it cannot be read, none is.
func endOf(b block) uint64 {
	if b.end != 0 {
		return b.end
	}
	info, err := codec.ReadInfo(b.data, codec.DefaultLimits())
	if err != nil {
		return math.MaxUint64
	}
	return info.End()
}

// damaged passes over a batch that cannot be read, if it is known where it ends: without
// its messages the queues go on. What a newer release has written stays.
func (f *feed) damaged(c *feedCursor, b block, err error) error {
	err = fmt.Errorf("topic %s, from offset %d (entry %d of its log): %w", f.topic.name, c.offset, b.seq, err)
	end := endOf(b)
	if errors.Is(err, codec.ErrVersion) || end == math.MaxUint64 {
		f.rewind(c, c.offset)
		return err
	}
	f.sys.log.Error("a batch of a log is damaged: the queues go on without its messages", "error", err)
	f.rewind(c, end)
	return nil
}

// ask has what comes behind what was read read. At the end of the log the answer comes
// with the next append.
func (f *feed) ask(c *feedCursor) {
	if c.asked != 0 {
		return
	}
	f.lastID++
	c.asked, c.answer = f.lastID, make(chan readReply, 1)
	sys, self, m := f.sys, f.self, feedRead{run: f.run, cursor: c.id, asked: c.asked}
	r := read{offset: c.offset, bytesMax: feedReadBytes, answer: c.answer, then: func(reply readReply) {
		m := m
		m.readReply = reply
		sys.Send(self, m)
	}}
	if len(c.blocks) > 0 || c.behind == c.offset {
		r.offset, r.seq, r.log = c.behind, c.seq, c.clean
	}
	sys.Send(f.ref.pid.Load(), r)
}

// read takes what was read for a cursor, and asks for more at once, so that it comes
// while the queues are fed with this.
func (f *feed) read(m feedRead) {
	c := f.cursor(m.cursor)
	if c == nil || c.asked != m.asked {
		return
	}
	c.asked = 0
	switch {
	case m.run != f.run || f.topic == nil: // it is opened anew, and asked again
		return
	case m.err != nil && len(c.blocks) > 0: // what is there comes first
		return
	case m.err != nil:
		f.unreadable(c, f.topic.gone(m.err))
		return
	}
	last := m.blocks[len(m.blocks)-1]
	ahead := len(c.blocks) == 0
	c.blocks = append(c.blocks, m.blocks...)
	if info, err := codec.ReadInfo(last.data, codec.DefaultLimits()); err == nil {
		c.behind, c.seq, c.clean = info.End(), last.seq+1, last.log
		if ahead {
			f.ask(c)
		}
	}
	if !c.stepping {
		f.advance(c)
	}
}

// unreadable goes on behind what was trimmed; anything else is tried again.
func (f *feed) unreadable(c *feedCursor, err error) {
	var gone *OffsetError
	if errors.As(err, &gone) && gone.First > c.offset {
		f.rewind(c, gone.First)
		f.step(c)
		return
	}
	f.opening = false
	f.topic = nil
	f.retry(err)
}
