package actor

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/troupestream/troupe/internal/dataflow"
)

// fetch reads the range into the window. What may pass is tried again.
func (l *replayLane) fetch() error {
	pause := consumerRetry
	for again := false; ; again = true {
		var err error
		if again {
			err = l.reopen()
		}
		began := l.at
		if err == nil {
			err = l.follow()
		}
		if err == nil {
			l.reached()
			return nil
		}
		if l.replay.ctx.Err() != nil || lasting(err) {
			return err
		}
		if pause = min(2*pause, consumerRetryMax); l.at > began {
			pause = consumerRetry
		}
		l.replay.consumer.sys.log.Warn("a replay cannot read a partition, and tries again",
			"topic", l.Topic, "partition", l.Partition, "error", err)
		if err := sleep(l.replay.ctx, pause); err != nil {
			return err
		}
	}
}

// lasting says whether an error would be the same the next time.
func lasting(err error) bool {
	var corrupt *CorruptError
	var panicked *dataflow.Panic
	return errors.As(err, &corrupt) || errors.As(err, &panicked) || errors.Is(err, ErrNoTopic) || errors.Is(err, errMadeAnew)
}

// errMadeAnew: the topic has other records than those that were asked for.
var errMadeAnew = errors.New("the topic was deleted meanwhile, and made anew")

// reopen opens the topic anew: its partitions may have to be started.
func (l *replayLane) reopen() error {
	t, err := l.replay.consumer.sys.Topic(l.replay.ctx, l.Topic)
	if err == nil && t.Incarnation() != l.topic.Incarnation() {
		err = fmt.Errorf("topic %s: %w", l.Topic, errMadeAnew)
	}
	if err == nil {
		l.topic = t
	}
	return err
}

// follow reads from where the lane stands to the end of the range.
func (l *replayLane) follow() error {
	if l.at >= l.to {
		return nil
	}
	reader, err := l.topic.OpenReader(l.replay.ctx, l.Partition, FromBeginning())
	if err != nil {
		return err
	}
	defer reader.Close()
	reader.Seek(max(l.at, reader.Offset())) // what lies in front of the oldest was trimmed
	for reader.Offset() < l.to {
		batch, err := reader.Next(l.replay.ctx)
		switch {
		case errors.Is(err, ErrOffsetOutOfRange):
			err = l.relocate(reader, err)
		case err == nil:
			err = l.takeIn(batch)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// relocate moves the reader on when retention has overtaken it. An offset beyond the end
// is another matter: then the topic was made anew, which shows when it is opened again.
func (l *replayLane) relocate(reader *Reader, cause error) error {
	b, err := l.topic.Bounds(l.replay.ctx, l.Partition)
	switch {
	case err != nil:
		return err
	case b.First <= reader.Offset():
		return cause
	}
	reader.Seek(b.First)
	return nil
}

// takeIn adds the records of a batch to the window, as there is room for them.
func (l *replayLane) takeIn(batch *RecordBatch) error {
	for batch.Left() > 0 && batch.Offset() < l.to {
		if err := l.await(l.replay.ctx, l.roomy); err != nil {
			return err
		}
		l.mu.Lock()
		records, bytes := l.window.Room(), l.window.RoomBytes()
		l.mu.Unlock()
		var c chosen
		err := l.choose(&c, batch, records, bytes)
		l.add(&c)
		if err != nil {
			return err
		}
	}
	return nil
}

// roomy says whether it pays to read on: record by record it does not.
func (l *replayLane) roomy() bool {
	records, bytes, held := l.window.Room(), l.window.RoomBytes(), l.window.Len()
	return records > 0 && (held == 0 || records > held/4 && bytes > l.window.Bytes()/4)
}

// chosen is what was chosen of a batch.
type chosen struct {
	deliveries []Delivery
	headers    []Header
	counts     ReplayCounts
}

// choose makes deliveries of the next records of a batch that match, up to n and about
// so many bytes.
func (l *replayLane) choose(c *chosen, batch *RecordBatch, n, bytes int) error {
	var r Record
	for len(c.deliveries) < n && bytes > 0 && batch.Left() > 0 && batch.Offset() < l.to {
		offset := batch.Offset()
		if !batch.Next(&r) {
			return &CorruptError{l.Topic, l.Partition, offset, 0, batch.Err()}
		}
		matches, err := l.matches(&r)
		if err != nil {
			return fmt.Errorf("topic %s, partition %d, offset %d: Match: %w", l.Topic, l.Partition, offset, err)
		}
		c.counts.Gone += offset - l.at
		c.counts.Read++
		l.at = offset + 1
		if !matches {
			continue
		}
		if _, parked := l.parked[offset]; parked {
			c.counts.Parked++
			continue
		}
		d := c.delivery(l, &r, offset)
		d.AppendTime = batch.Appended()
		bytes -= d.size()
	}
	return nil
}

// matches asks a function of the user's.
func (l *replayLane) matches(r *Record) (is bool, err error) {
	if l.replay.match == nil {
		return true, nil
	}
	defer dataflow.Recovered(&err)
	return l.replay.match(r), nil
}

func (c *chosen) delivery(l *replayLane, r *Record, offset uint64) *Delivery {
	d := Delivery{Record: *r, TopicPartition: l.TopicPartition, Offset: offset, at: offset, Attempt: 1, here: 1, Cause: Replay, replay: l}
	if d.Headers = nil; len(r.Headers) > 0 {
		from := len(c.headers)
		c.headers = append(c.headers, r.Headers...)
		d.Headers = c.headers[from:len(c.headers):len(c.headers)]
	}
	if l.replay.match != nil {
		setApart(&d.Record)
	}
	c.deliveries = append(c.deliveries, d)
	return &c.deliveries[len(c.deliveries)-1]
}

// setApart has a record refer to nothing of its batch: of that, few may match, and what
// waits would hold all of it, which no limit counts.
func setApart(r *Record) {
	r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	for i := range r.Headers {
		h := &r.Headers[i]
		h.Key, h.Value = strings.Clone(h.Key), bytes.Clone(h.Value)
	}
}

// add takes what was chosen into the window.
func (l *replayLane) add(c *chosen) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.add(c.counts)
	for i := range c.deliveries {
		d := &c.deliveries[i]
		l.window.Add(d.at, d.Key, d.size(), d)
	}
	l.window.Pass(l.at)
	l.handOut()
}

// reached notes that nothing is left to be read.
func (l *replayLane) reached() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Gone += l.to - l.at
	l.window.Pass(l.to)
}
