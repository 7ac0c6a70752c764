package actor

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How a fetcher tries again what has failed.
const (
	consumerRetry    = 50 * time.Millisecond
	consumerRetryMax = 5 * time.Second
)

// consumerFetch reads a partition into the window of its lane. It belongs to one
// start of the lane, and ends with the context of that.
type consumerFetch struct {
	lane *consumerLane
	run  uint64
	ctx  context.Context

	topic  *Topic
	reader *Reader
	failed bool // the last try: the partition may have to be started
}

// loop reads until the lane is done with it, or cannot go on. What may pass is
// tried again.
func (f *consumerFetch) loop() {
	for pause := consumerRetry; ; pause = min(2*pause, consumerRetryMax) {
		progress, err := f.follow()
		if f.reader != nil {
			f.reader.Close()
			f.reader = nil
		}
		if f.ctx.Err() != nil {
			return
		}
		var corrupt *CorruptError
		noTopic := f.topic == nil && errors.Is(err, ErrNoTopic) // else it may be another by now
		if errors.As(err, &corrupt) || errors.Is(err, ErrNoOffset) || noTopic {
			f.lane.unreadable(err)
			return
		}
		f.failed = true
		f.lane.consumer.sys.log.Warn("a consumer cannot read a partition, and tries again",
			"topic", f.lane.Topic, "partition", f.lane.Partition, "error", err)
		if progress {
			pause = consumerRetry
		}
		if sleep(f.ctx, pause) != nil {
			return
		}
	}
}

// follow reads from where the lane stands. It says whether it got anywhere.
func (f *consumerFetch) follow() (progress bool, err error) {
	if err = f.begin(); err != nil {
		return false, err
	}
	for {
		batch, err := f.reader.Next(f.ctx)
		if errors.Is(err, ErrOffsetOutOfRange) {
			if err = f.relocate(f.reader.Offset()); err != nil {
				return progress, err
			}
			continue
		}
		if err == nil {
			err = f.takeIn(batch)
		}
		if err != nil {
			return progress, err
		}
		progress = true
	}
}

// begin opens the reader where the lane stands; first of all, it finds out where
// that is.
func (f *consumerFetch) begin() (err error) {
	l := f.lane
	if f.topic, err = l.consumer.topic(f.ctx, l.TopicPartition, f.failed); err != nil {
		return err
	}
	if err = l.meets(f.topic); err != nil {
		return err
	}
	at, origin, began := l.standing()
	if !began {
		if at, err = f.locate(origin); err != nil {
			return err
		}
		if err = f.loadParking(); err != nil {
			return err
		}
		if !l.beginAt(f.run, at) {
			return context.Canceled
		}
	}
	f.reader, err = f.topic.OpenReader(f.ctx, l.Partition, FromBeginning())
	if err == nil {
		f.reader.Seek(at)
	}
	return err
}

// locate resolves where to begin.
func (f *consumerFetch) locate(o origin) (uint64, error) {
	b, err := f.topic.Bounds(f.ctx, f.lane.Partition)
	switch {
	case err != nil:
		return 0, err
	case o.seek != nil:
		return o.seek.within(f.ctx, f.topic, f.lane.Partition, b)
	case !o.committed:
		return f.start(b)
	case o.next < b.First || o.next > b.Next:
		return f.missed(o.next, b)
	}
	return o.next, nil
}

func (f *consumerFetch) start(b Bounds) (uint64, error) {
	return f.lane.consumer.options.Start.resolve(f.ctx, f.topic, f.lane.Partition, b)
}

// missed applies the start policy where the wanted offset is not there, and says
// so: records may have been missed.
func (f *consumerFetch) missed(wanted uint64, b Bounds) (uint64, error) {
	at, err := f.start(b)
	if err != nil {
		return 0, err
	}
	l := f.lane
	l.consumer.sys.log.Error("the offset at which a consumer wants to go on is not there: it was trimmed away, or the topic made anew. Records may have been missed",
		"group", l.consumer.options.Group, "topic", l.Topic, "partition", l.Partition, "wanted", wanted, "goes on at", at)
	if told := l.consumer.options.Listener.Missed; told != nil {
		l.consumer.guard(func() { told(l.TopicPartition, wanted, at) })
	}
	return at, nil
}

// relocate moves the reader on when retention has overtaken it.
func (f *consumerFetch) relocate(wanted uint64) error {
	b, err := f.topic.Bounds(f.ctx, f.lane.Partition)
	if err != nil {
		return err
	}
	at, err := f.missed(wanted, b)
	if err != nil {
		return err
	}
	if at == wanted { // to look again at once would be to look for ever
		return fmt.Errorf("%w: there is no record at offset %d, where the partition begins", ErrOffsetOutOfRange, at)
	}
	if !f.lane.pass(f.run, at) {
		return context.Canceled
	}
	f.reader.Seek(at)
	return nil
}

// takeIn adds the records of a batch to the window, as there is room for them.
func (f *consumerFetch) takeIn(batch *RecordBatch) error {
	l := f.lane
	if l.delay > 0 {
		if err := f.waitUntilDue(batch.Info.AppendTime); err != nil {
			return err
		}
	}
	for batch.Left() > 0 {
		records, bytes, err := f.waitForRoom()
		if err == nil && l.delay > 0 {
			records, err = 1, l.consumer.gate.await(f.ctx) // each is a retry
		}
		if err != nil {
			return err
		}
		some := l.deliveries(batch, min(records, batch.Left()), bytes)
		if !l.add(f.run, some) {
			return context.Canceled
		}
		if err := batch.Err(); err != nil {
			return &CorruptError{l.Topic, l.Partition, batch.Offset(), 0, err}
		}
	}
	return nil
}

func (f *consumerFetch) waitForRoom() (records, bytes int, err error) {
	for {
		records, bytes, room := f.lane.hasRoom()
		if room == nil {
			return records, bytes, nil
		}
		select {
		case <-room:
		case <-f.ctx.Done():
			return 0, 0, f.ctx.Err()
		}
	}
}

// deliveries makes up to n records of a batch into deliveries, of about so many
// bytes. They are allocated together.
func (l *consumerLane) deliveries(batch *RecordBatch, n, bytes int) []Delivery {
	all := make([]Delivery, 0, n)
	var r Record
	var headers []Header
	for len(all) < n && bytes > 0 {
		offset := batch.Offset()
		if !batch.Next(&r) {
			break
		}
		d := Delivery{Record: r, TopicPartition: l.TopicPartition, Offset: offset, AppendTime: batch.Appended(), at: offset, Attempt: 1, here: 1, lane: l}
		if d.Headers = nil; len(r.Headers) > 0 {
			from := len(headers)
			headers = append(headers, r.Headers...)
			d.Headers = headers[from:len(headers):len(headers)]
		}
		bytes -= d.size()
		if l.delay > 0 {
			d.comesFrom()
		}
		all = append(all, d)
	}
	return all
}

// add takes records into the window. It returns false when they come from a
// fetcher whose time is over.
func (l *consumerLane) add(run uint64, all []Delivery) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if run != l.run || l.leaving {
		return false
	}
	for i := range all {
		d := &all[i]
		if d.at < l.before.handed {
			if d.Cause = l.before.cause; d.Cause != Replay {
				d.Attempt++
			}
		}
		l.window.Add(d.at, d.Key, d.size(), d)
	}
	l.handOut()
	return true
}

// hasRoom says how many records, of how many bytes, can be taken in. If there is
// no room, wait is closed when there is.
func (l *consumerLane) hasRoom() (records, bytes int, wait <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if records = l.window.Room(); records > 0 {
		return records, l.window.RoomBytes(), nil
	}
	l.starved = make(chan struct{})
	return 0, 0, l.starved
}

// roomy says whether it pays to wake the fetcher: record by record it does not.
func (l *consumerLane) roomy() bool {
	records, bytes := l.window.Room(), l.window.RoomBytes()
	held := l.window.Len()
	return held == 0 || records > held/4 && bytes > l.window.Bytes()/4
}

// standing says where the fetcher has to go on.
func (l *consumerLane) standing() (at uint64, o origin, began bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.window.Next(), l.origin, l.began
}

// beginAt says where the lane begins.
func (l *consumerLane) beginAt(run, at uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if run != l.run || l.leaving {
		return false
	}
	l.window.Restart(at)
	l.began, l.start = true, at
	l.consumer.sys.Send(l.consumer.pid, laneBegan{l})
	l.handOut() // keys that were released
	return true
}

// pass says that the fetcher goes on at another offset than the next.
func (l *consumerLane) pass(run, at uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if run != l.run || l.leaving {
		return false
	}
	if at >= l.window.Next() {
		l.window.Pass(at)
	} else {
		l.window.Restart(at)
	}
	return true
}
