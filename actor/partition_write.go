package actor

import (
	"context"
	"fmt"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
)

// flight is the one append that is under way. The goroutine that carries it out
// has it to itself until it sends it back.
type flight struct {
	kind     storage.Kind
	expect   uint64 // sequence of the last entry before it
	info     codec.BatchInfo
	sections []codec.Section
	data     []byte
	began    time.Time
	stamps   bool      // its records get the append time
	trims    int       // of the partition's: how many a snapshot covers
	clean    *cleanLog // of a snapshot: the compacted log that it puts in force, or leaves so

	outcome outcome // isStored, notStored, ownerChanged or logGone
	marker  uint64  // sequence of the marker that took its place; 0: none
	err     error
}

// enqueue takes an append in, or refuses it.
func (p *partition) enqueue(o *order) {
	switch err := checkOrder(&o.section, &p.config.limits); {
	case err != nil:
		o.Refused(fmt.Errorf("%s: %w", p.config, err))
	case p.draining:
		o.Refused(fmt.Errorf("%s: %w", p.config, ErrStopped))
	case p.queueBytes+o.MailboxBytes() > p.config.limits.QueueBytes:
		o.Refused(fmt.Errorf("%s: %w: %d bytes, the limit QueueBytes is %d",
			p.config, ErrBackpressure, p.queueBytes, p.config.limits.QueueBytes))
	default:
		p.queue = append(p.queue, o)
		p.queueBytes += o.MailboxBytes()
	}
}

func (p *partition) refuseQueue(err error) {
	refuseOrders(p.queue, fmt.Errorf("%s: %w", p.config, err))
	clear(p.queue)
	p.queue, p.queueBytes = p.queue[:0], 0
}

// advance begins the next append, if one is wanted and none is under way.
func (p *partition) advance() {
	if p.flight != nil {
		return
	}
	if p.phase != phaseReady {
		if len(p.queue) > 0 {
			p.open()
		} else if p.draining && p.phase == phaseClosed {
			p.sys.Stop(p.self)
		}
		return
	}
	switch {
	case p.epoch == 0 && len(p.queue)+len(p.trims) > 0:
		p.open() // perhaps there is space for our marker now
	case len(p.trims) > 0, p.made != nil, p.snapshotDue():
		p.launchSnapshot()
	case len(p.queue) > 0:
		p.launchBatch()
	case p.draining && p.unsaved.entries > 1 && p.epoch != 0: // more than our own marker
		p.launchSnapshot()
	case p.draining:
		p.sys.Stop(p.self)
	}
}

func (p *partition) snapshotDue() bool {
	l := &p.config.limits
	return p.epoch != 0 && (p.unsaved.entries >= l.SnapshotEntries || p.unsaved.bytes >= l.SnapshotBytes)
}

func (p *partition) launchSnapshot() {
	for _, t := range p.trims {
		p.state.low = max(p.state.low, t.low)
	}
	f := &flight{kind: storage.State, clean: p.nextClean(), trims: len(p.trims)}
	f.data = p.state.snapshotWith(describe(f.clean))
	p.launch(f)
}

// launchBatch makes one batch of what waits.
func (p *partition) launchBatch() {
	p.queue = p.plan.fill(p.state, p.queue)
	p.queueBytes -= p.plan.taken
	if len(p.plan.orders) == 0 {
		p.advance()
		return
	}
	settings := p.config.settings.Load()
	p.launch(&flight{
		kind:     storage.Data,
		sections: p.plan.sections,
		stamps:   settings.Timestamps == LogAppendTime,
		info: codec.BatchInfo{
			BaseOffset:  p.state.next,
			Epoch:       p.epoch,
			AppendTime:  max(time.Now().UnixMilli(), p.state.appendTime),
			Compression: settings.Compression,
		},
	})
}

func (p *partition) launch(f *flight) {
	f.expect, f.began = p.state.covers, time.Now()
	p.flight = f
	log, nonce := p.log, p.nonce
	p.background(func(ctx context.Context) any {
		f.fly(ctx, log, nonce)
		return flown{p.run, f}
	}, func(err error) {
		f.outcome, f.err = logGone, err
		p.landed(flown{p.run, f})
	})
}

// fly encodes and appends, and does not return before it knows the outcome.
func (f *flight) fly(ctx context.Context, log storage.Log, nonce []byte) {
	if f.kind == storage.Data {
		if f.err = f.encode(); f.err != nil {
			f.outcome = notStored
			return
		}
	}
	_, f.err = log.Append(ctx, f.kind, f.data, f.expect)
	if f.outcome = classify(f.err); f.outcome == outcomeOpen {
		f.settle(ctx, log, nonce)
	}
}

// batchHead is room for the head of most batches. AppendBatch makes that for the
// records.
const batchHead = 256

func (f *flight) encode() (err error) {
	if f.stamps {
		if err := f.appendTimes(); err != nil {
			return err
		}
	}
	f.data, err = codec.AppendBatch(make([]byte, 0, batchHead), &f.info, f.sections)
	return err
}

// landed takes the outcome of an append in, answers all it concerns, and goes on.
func (p *partition) landed(m flown) {
	if m.run != p.run || p.flight != m.flight {
		return
	}
	f := p.flight
	p.flight = nil
	if f.marker != 0 { // the append was lost, and our marker took its place
		p.epoch = f.marker
		p.state.applyMarker(f.marker)
		p.unsaved.entries++
	}
	switch f.outcome {
	case isStored:
		p.stored(f)
	case notStored:
		p.notStored(f)
	default:
		p.flight = f // its orders are still to be answered
		p.lost(f)
		return
	}
	p.advance()
}

func (p *partition) stored(f *flight) {
	seq := f.expect + 1
	if f.kind == storage.State {
		p.state.applyMarker(seq)
		p.stateSeq, p.unsaved = seq, saving{}
		p.putInForce(f.clean)
		p.trimSaved(nil, f.trims)
		return
	}
	// It cannot fail: the batch was made from this very state.
	if err := p.state.applyBatch(seq, &f.info); err != nil {
		panic(err)
	}
	p.unsaved.entries++
	p.unsaved.bytes += len(f.data)
	p.compactLooked = Compaction{}
	if p.keys != nil {
		p.keys.low = p.state.low
		p.keys.noteSections(f.sections, f.info.BaseOffset)
	}
	p.plan.settleAt(f.info.BaseOffset)
	p.plan.reset()
	p.publish(block{seq: seq, base: f.info.BaseOffset, end: p.state.next, data: f.data}, f.info.AppendTime)
	p.sys.onAppend(Appended{Topic: p.config.topic, Partition: p.config.index, Records: f.info.Count,
		Bytes: len(f.data), EndOffset: p.state.next, Took: time.Since(f.began)})
}

// notStored goes on after an append that failed for certain. One that was lost
// on the way is simply made again.
func (p *partition) notStored(f *flight) {
	switch {
	case f.kind == storage.State && f.err != nil:
		p.snapshotFailed(f.err, f.trims)
	case f.kind == storage.Data && f.err != nil:
		p.plan.refuseAll(fmt.Errorf("append to %s: %w", p.config, f.err))
		p.plan.reset()
	case f.kind == storage.Data:
		var bytes int
		p.queue, bytes = p.plan.giveBack(p.queue)
		p.queueBytes += bytes
	}
}

// snapshotFailed puts the snapshot off: there is no space. Appends fail for the
// same reason and say so; trims may still drop what the last snapshot covers.
func (p *partition) snapshotFailed(err error, n int) {
	p.sys.log.Warn("the state of a partition was not saved", "topic", p.config.topic,
		"partition", p.config.index, "err", err)
	p.unsaved = saving{entries: 1}
	p.notInForce(err)
	p.trimSaved(err, n)
}

// lost ends an owner that can never write again.
func (p *partition) lost(f *flight) {
	if f.outcome == ownerChanged {
		p.plan.refuseAll(fmt.Errorf("append to %s: %w", p.config, ErrFenced))
		p.sys.log.Warn("a partition has another owner", "topic", p.config.topic, "partition", p.config.index)
		p.die(fmt.Errorf("%s: %w", p.config, ErrFenced))
		return
	}
	p.die(fmt.Errorf("%s: %w", p.config, f.err))
}
