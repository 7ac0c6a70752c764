package actor

import "slices"

// feed sends the messages of a page to the followers of a cursor that they are for.
// Those that have no room for theirs stay behind, with a cursor of their own.
func (f *feed) feed(c *feedCursor, p *page) {
	all := slices.ContainsFunc(c.followers, func(fo *follower) bool { return len(fo.in.all) > 0 })
	var last *follower // most records are for the queue that the one before was for
	for i := p.from(c.offset); i < p.len(); i++ {
		switch queue := p.targets[i].queue; {
		case queue == 0:
		case queue == seeRecord:
			f.addNamed(c, p, i)
		default:
			if last == nil || last.in.queue != queue {
				last = f.followers[queue]
			}
			addTo(last, c, &f.sorter, p, i)
		}
		if all {
			f.addToAll(c, p, i)
		}
	}
	f.send(c, p)
}

// addTo takes a record among the entries of a follower, if that is fed from here and has
// not had it yet.
func addTo(fo *follower, c *feedCursor, s *sorter, p *page, i int) {
	if fo != nil && fo.cursor == c && p.offset(i) >= fo.next {
		fo.add(s, p, i)
	}
}

// addNamed is for a record that is to be looked into.
func (f *feed) addNamed(c *feedCursor, p *page, i int) {
	named, err := f.sorter.names(p, i)
	if err != nil {
		f.sys.log.Error("a message cannot be read: it is for no queue", "log", p.log, "offset", p.offset(i), "error", err)
		return
	}
	for _, queue := range named {
		addTo(f.followers[queue], c, &f.sorter, p, i)
	}
}

// addToAll is for queues that are bound to the topic itself, unless they are named, too.
func (f *feed) addToAll(c *feedCursor, p *page, i int) {
	offset := p.offset(i)
	for _, fo := range c.followers {
		if n := len(fo.entries); fo.in.takesAll(offset) && (n == 0 || fo.entries[n-1].Offset != offset) {
			addTo(fo, c, &f.sorter, p, i)
		}
	}
}

// send sends what was sorted.
func (f *feed) send(c *feedCursor, p *page) {
	var late []*follower
	for _, fo := range c.followers {
		switch {
		case len(fo.entries) == 0:
			if p.end > fo.told+feedTold && fo.hasRoom() {
				f.tell(fo, nil, p.end)
			}
		case !fo.hasRoom():
			late = append(late, fo)
		default:
			f.tell(fo, p, p.end)
		}
	}
	if len(late) == 0 {
		return
	}
	behind := f.newCursor(max(c.offset, p.base))
	behind.begun = true
	for _, fo := range late {
		fo.entries = nil
		c.followers = slices.DeleteFunc(c.followers, func(o *follower) bool { return o == fo })
		behind.join(fo)
	}
}

// tell sends a follower what was sorted for it; no page: only how far the log was read.
func (f *feed) tell(fo *follower, p *page, next uint64) {
	entries := fo.entries
	fo.entries = nil
	if len(entries) > 0 {
		fo.usually = len(entries)
		if limit := f.sys.holds.sends(f.config.log, fo.in.queue, next); limit != 0 && fo.in.endAt(limit) {
			entries = f.sorter.of(entries[:0], &fo.in, p, offsets{fo.next, next})
		}
	}
	fo.sent(next, len(entries))
	f.sys.Send(fo.pid, fed{run: fo.run, log: f.config.log, page: p, entries: entries, next: next, feed: f.self})
}

// tellProgress tells a queue how far its cursor is, if it has not heard.
func (f *feed) tellProgress(fo *follower) {
	if at := max(fo.next, fo.cursor.offset); at > fo.told {
		f.tell(fo, nil, at)
	}
}

// merge makes one of two cursors that have come to the same place, and returns the one
// that stays: that which has more under way.
func (f *feed) merge(c *feedCursor) *feedCursor {
	for _, other := range f.cursors {
		if other == c || other.offset != c.offset {
			continue
		}
		from, to := c, other
		if len(c.followers) > len(other.followers) {
			from, to = other, c
		}
		for _, fo := range from.followers {
			to.join(fo)
		}
		from.followers = nil
		f.drop(from)
		return to
	}
	return c
}
