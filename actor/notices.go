package actor

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// noticeEvery is how often the same thing is said of the same queue.
const noticeEvery = time.Minute

// notices warn of what happens to messages, where it would be too much to say so of each:
// the first time at once, and then of all that came since, once in noticeEvery.
type notices struct {
	mu     sync.Mutex
	all    map[noticeKey]*notice // those of the last noticeEvery
	closed bool
}

type noticeKey struct{ text, queue string }

// notice is what was not said yet.
type notice struct {
	messages uint64
	err      error // of the last of them
	timer    *time.Timer
}

// notice warns of something that has happened to messages of a queue. err may be nil.
func (s *System) notice(text, queue string, messages uint64, err error) {
	if key := (noticeKey{text, queue}); s.notices.isFirst(key, messages, err, func() { s.noticeAgain(key) }) {
		s.warnOf(key, messages, err)
	}
}

// isFirst says whether a notice is to be given at once; the others are kept until again is
// called.
func (n *notices) isFirst(key noticeKey, messages uint64, err error, again func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return true
	}
	if has := n.all[key]; has != nil {
		has.messages, has.err = has.messages+messages, err
		return false
	}
	if n.all == nil {
		n.all = map[noticeKey]*notice{}
	}
	n.all[key] = &notice{timer: time.AfterFunc(noticeEvery, again)}
	return true
}

// noticeAgain gives the notice of what came since the last, and forgets it when nothing did.
func (s *System) noticeAgain(key noticeKey) {
	n := &s.notices
	n.mu.Lock()
	has := n.all[key]
	if has == nil { // the system has closed meanwhile
		n.mu.Unlock()
		return
	}
	messages, err := has.messages, has.err
	if has.messages, has.err = 0, nil; messages == 0 {
		delete(n.all, key)
	} else {
		has.timer.Reset(noticeEvery)
	}
	n.mu.Unlock()
	if messages > 0 {
		s.warnOf(key, messages, err)
	}
}

// endNotices gives those that are left.
func (s *System) endNotices() {
	n := &s.notices
	n.mu.Lock()
	all := n.all
	n.all, n.closed = nil, true
	n.mu.Unlock()
	for key, has := range all {
		if has.timer.Stop(); has.messages > 0 {
			s.warnOf(key, has.messages, has.err)
		}
	}
}

func (s *System) warnOf(key noticeKey, messages uint64, err error) {
	attrs := []slog.Attr{slog.String("queue", key.queue), slog.Uint64("messages", messages)}
	if err != nil {
		attrs = append(attrs, slog.String("error", whyOf(err)))
	}
	s.log.LogAttrs(context.Background(), slog.LevelWarn, key.text, attrs...)
}
