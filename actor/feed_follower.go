package actor

import (
	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/queue"
)

// follower is a queue that is fed.
type follower struct {
	in     intake
	run    uint64
	pid    *pactor.PID
	cursor *feedCursor
	next   uint64 // what is before is not for it
	told   uint64 // it was told that the log was read up to here

	underWay []underWay
	messages int // of underWay
	room     int // messages
	full     bool

	entries []queue.Entry // of the page at hand
	usually int           // about how many there are on a page
}

// underWay is what was sent to a queue.
type underWay struct {
	next     uint64
	messages int
}

// hasRoom says whether more can be sent to it. When it is full it is until half of that
// is taken, so that what is sent comes in good portions.
func (fo *follower) hasRoom() bool { return !fo.full }

func (fo *follower) sent(next uint64, messages int) {
	fo.next, fo.told = next, next
	fo.underWay = append(fo.underWay, underWay{next, messages})
	fo.messages += messages
	fo.full = fo.full || fo.messages >= fo.room || len(fo.underWay) >= feedPagesMax
}

// taken is true if it has room from now on.
func (fo *follower) taken(next uint64) bool {
	n := 0
	for n < len(fo.underWay) && fo.underWay[n].next <= next {
		fo.messages -= fo.underWay[n].messages
		n++
	}
	fo.underWay = fo.underWay[n:]
	if !fo.full || fo.messages > fo.room/2 || len(fo.underWay) > feedPagesMax/2 {
		return false
	}
	fo.full = false
	return true
}

// add takes a record of a page among the entries.
func (fo *follower) add(s *sorter, p *page, i int) {
	if fo.entries == nil {
		fo.entries = emptyEntries(min(p.len()-i, fo.usually+fo.usually/4+4))
	}
	fo.entries = append(fo.entries, s.entry(&fo.in, p, i))
}

// entryLists are used again, those that have many entries: the queue that takes them is
// done with them then.
var entryLists slicePool[queue.Entry]

// entriesPooled is from how many on.
const entriesPooled = 64

func emptyEntries(room int) []queue.Entry {
	if room >= entriesPooled {
		if list := entryLists.get(); list != nil {
			return list
		}
	}
	return make([]queue.Entry, 0, room)
}

func releaseEntries(list []queue.Entry) {
	if cap(list) >= entriesPooled {
		entryLists.put(list)
	}
}
