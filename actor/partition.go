package actor

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
)

// partition is the actor that owns one partition of a topic.
//
// Owns: the log of the partition, as its only writer.
// Receives: order (in batches), read and unread, askBounds, askOffsetAt,
// askTrim, askCompact, drain; and from its own I/O opened, flown, trimLocated,
// trimmed, compacted.
// Sends: acknowledgements to producers, batches to readers, answers to asks.
// Keeps: the state of the log (logState), appends that wait for their turn, the
// newest batches, reads that wait at the end.
// Has under way: at most one append. While it is, the next batch collects. Besides,
// at most one compaction.
// Dies: when another owner has fenced it (all are told ErrFenced); when its log
// is gone; after drain. A panic restarts it: it reads its log again.
type partition struct {
	sys    *System
	config *partitionConfig
	self   *pactor.PID
	run    uint64 // this incarnation
	nonce  []byte // what its markers say

	phase   phase
	openLog            // when ready
	parked  []sentWith // requests that wait for it to be ready

	queue      []*order
	queueBytes int
	plan       batchPlan
	flight     *flight // the append under way
	trims      []*trim // located, and waiting for their snapshot
	draining   bool

	cache   tailCache
	index   sparseIndex
	waiters []read // at the end of the log

	clock     *time.Timer // for the next look at what is to be dropped
	retaining bool        // such a look is under way

	compacting      *compacting                                  // the run under way; nil: none
	compactions     uint64                                       // runs so far
	compactAsked    []*pactor.PID                                // who wait for the next run
	compactAfter    time.Time                                    // not before: the last one has failed
	compactFailures int                                          // in a row
	compactError    error                                        // of the last run
	compactLooked   Compaction                                   // settings with which there was nothing to do, and nothing appended since
	made            *madeLog                                     // waits to be put in force
	moves           atomic.Uint64                                // how often entries were dropped: see view
	dropHead        bool                                         // the head still has entries that were compacted
	replaced        []func(context.Context, storage.Store) error // delete logs that are not in force
}

type phase uint8

const (
	phaseClosed phase = iota // nothing tried yet, or the last try failed
	phaseOpening
	phaseReady
)

// sentWith is a request and who sent it.
type sentWith struct {
	message any
	sender  *pactor.PID
}

// partitionConfig says which partition it is.
type partitionConfig struct {
	topic       string
	incarnation uint64
	index       int
	log         string
	durability  storage.Durability
	limits      PartitionLimits
	settings    *atomic.Pointer[TopicConfig] // what can be altered is looked up when it is needed
	held        *atomic.Bool                 // queues read it
}

func (c *partitionConfig) String() string {
	return "topic " + c.topic + ", partition " + strconv.Itoa(c.index)
}

// PartitionLimits bound what one partition holds in memory and in one batch.
type PartitionLimits struct {
	BatchBytes      int // records in one batch, unless one append alone is larger; default 1 MiB
	BatchSections   int // appends in one batch; default 16,384
	SectionBytes    int // one append; default 4 MiB
	QueueBytes      int // appends that wait; default 32 MiB
	CacheBytes      int // newest batches kept for readers; default 8 MiB
	Producers       int // idempotent producers remembered; the one that appended longest ago is forgotten first; default 4,096
	SnapshotEntries int // entries after which the state is saved; default 4,096
	SnapshotBytes   int // bytes after which the state is saved; default 64 MiB
	ReadBytes       int // one read from the store; default 4 MiB
	IndexPoints     int // batches whose place is remembered; default 1,024
	// RetentionEvery is how often it looks for records to drop; default
	// DefaultRetentionEvery.
	RetentionEvery  time.Duration
	CompactKeyBytes int // keys that one run of a compaction holds, at 64 bytes each; with more it takes several; default 64 MiB
	CompactBytes    int // less is not worth a compaction, unless its MaxCompactionLag has passed; default 1 MiB
	KeyIndexBytes   int // keys that a KeyIndex knows, at 64 bytes each; default 64 MiB
}

// DefaultPartitionLimits returns the defaults.
func DefaultPartitionLimits() PartitionLimits {
	return PartitionLimits{
		BatchBytes: 1 << 20, BatchSections: 16_384, SectionBytes: 4 << 20, QueueBytes: 32 << 20,
		CacheBytes: 8 << 20, Producers: 4_096, SnapshotEntries: 4_096, SnapshotBytes: 64 << 20,
		ReadBytes: 4 << 20, IndexPoints: 1_024, RetentionEvery: DefaultRetentionEvery,
		CompactKeyBytes: 64 << 20, CompactBytes: 1 << 20, KeyIndexBytes: 64 << 20,
	}
}

// share is what an append costs at the partition's gate: at least so much that
// the number of those that wait is bounded, too.
func (l *PartitionLimits) share(s codec.Section) int {
	return max(len(s.Records)+orderOverhead, l.QueueBytes/DefaultMailboxMessages)
}

var partitionRuns atomic.Uint64

func newPartition(sys *System, config *partitionConfig) *partition {
	run := partitionRuns.Add(1)
	l := &config.limits
	return &partition{
		sys:    sys,
		config: config,
		run:    run,
		nonce:  []byte(sys.actors.ID + "/" + strconv.FormatUint(run, 10)),
		plan:   batchPlan{limits: batchLimits{l.BatchBytes, l.BatchSections, codec.DefaultLimits().BatchRecords}},
		cache:  tailCache{max: l.CacheBytes},
		index:  sparseIndex{max: l.IndexPoints},
	}
}

// spawnPartition starts the actor. Its mailbox takes as much as its queue.
func (s *System) spawnPartition(c *partitionConfig) (*pactor.PID, error) {
	name := fmt.Sprintf("topic/%s@%d/%d", c.topic, c.incarnation, c.index) // so that handles of the one before do not reach it
	return s.Spawn(name, func() pactor.Actor { return newPartition(s, c) },
		WithBatches(0), WithMailbox(DefaultMailboxMessages, int64(c.limits.QueueBytes)), asService(rankLog))
}

// Receive implements pactor.Actor.
func (p *partition) Receive(ctx pactor.Context) {
	switch m := ctx.Message().(type) {
	case *Batch:
		for _, o := range m.Messages {
			p.enqueue(o.(*order))
		}
		p.advance()
	case flown:
		p.landed(m)
	case opened:
		p.ready(m)
	case read, unread, askBounds, askInfo, askOffsetAt, askTrim, askProducer, askCompact:
		p.request(sentWith{m, ctx.Sender()})
	case trimLocated:
		p.trimFound(m)
	case trimmed:
		p.trimDone(m)
	case compacted:
		p.runEnded(m)
	case drain:
		p.draining = true
		p.advance()
	case retain:
		p.scheduleRetain()
		p.retain()
		p.compactDue()
		p.dropReplaced(true)
	case *pactor.Started:
		p.self = ctx.Self()
		p.scheduleRetain()
	case *pactor.Restarting:
		p.abandon(fmt.Errorf("%s: it failed and starts again: %w", p.config, ErrUnknown))
		if p.draining {
			p.sys.Send(p.self, drain{})
		}
	case *pactor.Stopping:
		p.abandon(fmt.Errorf("%s: %w", p.config, ErrStopped))
	}
}

// request handles a request now, or once the log is open.
func (p *partition) request(r sentWith) {
	if m, ok := r.message.(unread); ok {
		p.withdraw(m)
		return
	}
	if p.phase != phaseReady {
		p.parked = append(p.parked, r)
		p.open()
		return
	}
	switch m := r.message.(type) {
	case read:
		p.read(m)
	case askBounds:
		p.sys.Send(r.sender, p.bounds())
	case askInfo:
		p.info(r.sender)
	case askOffsetAt:
		p.offsetAt(m, r.sender)
	case askTrim:
		p.trim(m, r.sender)
	case askProducer:
		p.sys.Send(r.sender, p.state.stand(m.id))
	case askCompact:
		p.compactNow(r.sender)
	}
}

func (p *partition) bounds() Bounds { return Bounds{First: p.state.low, Next: p.state.next} }

func (p *partition) info(sender *pactor.PID) {
	info := PartitionInfo{Partition: p.config.index, Bounds: p.bounds(), Compaction: p.compactionInfo()}
	c := p.compactor("", false)
	p.answerLater(sender, c.view, func(ctx context.Context) (any, error) {
		b, err := c.head.log.Bounds(ctx)
		if err == nil {
			err = info.Compaction.measure(ctx, c)
		}
		info.Bytes = b.Bytes + info.Compaction.CleanBytes
		return info, err
	})
}

// open begins to open the log, unless that is under way.
func (p *partition) open() {
	if p.phase == phaseOpening {
		return
	}
	p.phase = phaseOpening
	former := p.closeLogs()
	p.background(func(ctx context.Context) any {
		former() // they are replaced by new handles; nothing waits for them
		o, err := openPartition(ctx, p.sys.store, p.config, p.nonce)
		return opened{p.run, o, err}
	}, func(err error) { p.ready(opened{run: p.run, err: err}) })
}

// ready takes over what was opened, and handles what had to wait.
func (p *partition) ready(m opened) {
	if m.run != p.run {
		return
	}
	parked := p.parked
	p.parked = nil
	if m.err != nil {
		p.notReady(m.err, parked)
		return
	}
	p.phase, p.openLog = phaseReady, *m.openLog
	p.plan.keys = p.keys
	p.replaced, p.dropHead, p.compactLooked = m.leftBehind, m.halfDropped, Compaction{}
	p.sys.log.Debug("partition opened", "topic", p.config.topic, "partition", p.config.index,
		"next", p.state.next, "epoch", p.epoch, "entries_read", p.unsaved.entries)
	if p.epoch == 0 { // there is no space for our marker: read only
		p.refuseQueue(ErrFull)
		p.trimSaved(ErrFull, len(p.trims))
	}
	for _, r := range parked {
		p.request(r)
	}
	p.advance()
}

// notReady answers all who wait. The next request tries to open the log again.
func (p *partition) notReady(err error, parked []sentWith) {
	p.phase = phaseClosed
	err = fmt.Errorf("open %s: %w", p.config, err)
	p.sys.log.Error("a partition cannot be opened", "topic", p.config.topic, "partition", p.config.index, "err", err)
	p.refuseQueue(err)
	for _, r := range parked {
		p.fail(r, err)
	}
	if p.draining || classify(err) == logGone {
		p.die(err)
	}
}

func (p *partition) fail(r sentWith, err error) {
	if m, ok := r.message.(read); ok {
		m.reply(readReply{err: err})
		return
	}
	p.sys.Send(r.sender, err)
}

// background runs I/O and sends what it returns to this actor. When the system
// is closing nothing can be run: then refused is called.
func (p *partition) background(io func(context.Context) any, refused func(error)) {
	sys, self := p.sys, p.self
	if !sys.Go(func(ctx context.Context) { sys.Send(self, io(ctx)) }) {
		refused(errSystemClosed)
	}
}

// die answers everybody and stops the actor.
func (p *partition) die(err error) {
	p.abandon(err)
	p.sys.Stop(p.self)
}

// abandon answers everybody who still waits, because this incarnation ends. What
// is under way is left alone: its outcome is not known, and its goroutine still
// reads the records.
func (p *partition) abandon(err error) {
	p.clock.Stop()
	if p.flight != nil && p.flight.kind == storage.Data {
		p.plan.refuseAll(fmt.Errorf("%w: an append was under way: %w", err, ErrUnknown))
	}
	p.refuseQueue(err)
	for _, r := range p.parked {
		p.fail(r, err)
	}
	for _, w := range p.waiters {
		w.reply(readReply{err: err})
	}
	for _, t := range p.trims {
		p.answer(t, err)
	}
	p.parked, p.waiters, p.trims = nil, nil, nil
	p.stopCompacting(err)
	closeLogs := p.closeLogs()
	p.log, p.clean = nil, nil
	p.sys.Go(func(context.Context) { closeLogs() })
}

// closeLogs returns what closes the handles that there are.
func (p *partition) closeLogs() func() {
	log, clean := p.log, p.clean
	return func() {
		if log != nil {
			log.Close()
		}
		if clean != nil {
			clean.log.Close()
		}
	}
}
