package queue

// maxTexts is how many messages that are being dead-lettered have an error text.
// More are those of an exchange that is not there: they would fill the memory.
const maxTexts = 10_000

// part ends a message for a reason: it is dead-lettered, with the text of an error,
// or counted and gone. It must be in no state.
func (q *Queue) part(now int64, w where, group uint64, why Reason, text string) {
	if q.isLost(w) {
		q.lose(w, group)
		return
	}
	ref := Ref{w.chunk.feed.log, w.offset}
	if q.config.DeadLetter {
		if len(q.letters.all) >= maxTexts {
			text = ""
		}
		q.emit(parted{w.chunk.feed, w.offset, why, now, text})
		w.chunk.dying++
		q.count.Dying++
		if w.index >= 0 {
			w.chunk.slots[w.index].state = dying
		}
		q.remember(w.chunk, w.offset)
	} else {
		q.dropped[why]++
		q.end(now, []Ref{ref}, ended{how: why.ends()})
	}
	q.release(group, ref)
}

// ends is how a message ends that is not dead-lettered.
func (r Reason) ends() how {
	if r == ReasonExpired {
		return expired
	}
	return dropped
}
