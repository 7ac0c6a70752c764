package actor

import (
	"context"
	"fmt"
	"sync"
)

// queueLogs reads the logs that messages are in. It is safe for concurrent use.
type queueLogs struct {
	sys   *System
	place func(log uint32) (logKey, bool) // as the directory knows it

	mu   sync.Mutex
	open map[uint32]*Topic
}

func (l *queueLogs) init(s *System) {
	l.sys, l.open = s, map[uint32]*Topic{}
	l.place = func(uint32) (at logKey, ok bool) { return at, false } // there is no directory yet
}

// topic returns the topic of a log, and which of its partitions it is. It is an ErrNoTopic
// if the log is no more, or the topic is another one by now. fresh: a handle that was
// opened before is of no use any more.
func (l *queueLogs) topic(ctx context.Context, log uint32, fresh bool) (*Topic, int, error) {
	at, ok := l.place(log)
	if !ok {
		return nil, 0, fmt.Errorf("log %d: %w", log, ErrNoTopic)
	}
	l.mu.Lock()
	t := l.open[log]
	l.mu.Unlock()
	if t != nil && !fresh && !t.deleted.Load() {
		return t, at.partition, nil
	}
	t, err := l.sys.Topic(ctx, at.topic)
	if err == nil && t.Incarnation() != at.incarnation {
		err = fmt.Errorf("topic %s was deleted, and made anew: %w", at.topic, ErrNoTopic)
	}
	if err != nil {
		return nil, 0, err
	}
	l.mu.Lock()
	l.open[log] = t
	l.mu.Unlock()
	return t, at.partition, nil
}

// forget lets go of what is known of a log that is no more.
func (l *queueLogs) forget(log uint32) {
	l.mu.Lock()
	delete(l.open, log)
	l.mu.Unlock()
	l.sys.pages.forget(log)
}

// fetchBytes is how much of a log is read at once to find single messages: a chunk of a
// queue, at 100 bytes a message, and some more.
const fetchBytes = 1 << 20

// fetchPages calls f with the pages of a log that have the offsets from first to before
// next, in order, as far as there are any: compaction leaves gaps, and what a power cut
// took from the end of a log that is not synced is missing. What is in memory is not read.
//
// It is an *OffsetError that says so where the log begins behind first, and an ErrNoTopic
// if there is no such log any more. What f has seen by then is right.
func (s *System) fetchPages(ctx context.Context, log uint32, first, next uint64, f func(*page) error) error {
	r := logFetch{logs: &s.queueLogs, log: log}
	for at := first; at < next; {
		p := s.pages.find(log, at)
		if p == nil {
			var err error
			if p, err = r.read(ctx, at); err != nil {
				return fmt.Errorf("read log %d from %d to %d: %w", log, first, next, err)
			}
		}
		if p == nil || p.base >= next {
			return nil
		}
		if err := f(p); err != nil {
			return err
		}
		at = p.end
	}
	return nil
}

// logFetch reads pages of one log, one after the other.
type logFetch struct {
	logs   *queueLogs
	log    uint32
	topic  *Topic
	ref    *partitionRef
	index  int
	bounds Bounds
	seq    uint64 // where the batch behind the last one read is; 0: not known
	clean  uint64 // and in which compacted log
	behind uint64 // the offset that it begins with
	blocks []block
}

// read returns the page that has an offset, or the next one there is; nil at the end of
// the log.
func (r *logFetch) read(ctx context.Context, at uint64) (*page, error) {
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	for {
		for len(r.blocks) > 0 {
			p, err := r.take(at)
			if p != nil || err != nil {
				return p, err
			}
		}
		if at >= r.bounds.Next {
			return nil, nil
		}
		if err := r.fill(ctx, at); err != nil {
			return nil, err
		}
	}
}

func (r *logFetch) open(ctx context.Context) (err error) {
	for try := 0; r.topic == nil; try++ {
		t, partition, err := r.logs.topic(ctx, r.log, try > 0)
		if err != nil {
			return err
		}
		if r.bounds, err = t.Bounds(ctx, partition); err == nil {
			r.ref, err = t.partition(partition)
		}
		switch {
		case err == nil:
			r.topic, r.index = t, partition
		case try > 0 || ctx.Err() != nil:
			return err
		}
	}
	return nil
}

// fill asks the partition for what is at an offset. It never asks for what is not there
// yet: that would wait for it.
func (r *logFetch) fill(ctx context.Context, at uint64) error {
	answer := make(chan readReply, 1)
	ask := read{offset: at, bytesMax: fetchBytes, answer: answer}
	if r.seq != 0 && r.behind == at {
		ask.seq, ask.log = r.seq, r.clean
	}
	r.logs.sys.Send(r.ref.pid.Load(), ask)
	select {
	case reply := <-answer:
		r.blocks = reply.blocks
		return r.topic.gone(reply.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take makes a page of the next block; nil if it ends in front of the offset.
func (r *logFetch) take(at uint64) (*page, error) {
	b := r.blocks[0]
	r.blocks = r.blocks[1:]
	p, err := newPage(r.log, b.data)
	if err != nil {
		return nil, &CorruptError{r.topic.name, r.index, at, b.seq, err}
	}
	r.seq, r.clean, r.behind = b.seq+1, b.log, p.end
	if p.end <= at {
		return nil, nil
	}
	if p.base > at && p.sparse == nil && !b.gap {
		return nil, &OffsetError{r.topic.name, r.index, at, p.base, r.bounds.Next}
	}
	r.logs.sys.pages.add(p)
	return p, nil
}
