package actor

import (
	"context"
	"errors"
	"fmt"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/storage"
)

// Compaction as the partition sees it. A run in the background makes a compacted
// log of the one in force and the closed part of the head. Nothing depends on it
// until the partition puts it in force: that is one snapshot of its state, appended
// as every entry is, so an owner that was replaced cannot do it. Only then what it
// replaces is dropped: first the entries of the head, and the log before it once
// nobody reads it. Whatever is interrupted leaves one or the other in force, and
// perhaps logs that are not, which the next owner deletes.

// compacting is a run that is under way.
type compacting struct {
	stop  context.CancelFunc
	asked []*pactor.PID // who wait for it
}

// compacted is how a run has ended.
type compacted struct {
	run  uint64
	made *cleanLog // nil: there was nothing to do
	more bool
	err  error
}

// IgnoreDeadLetterLogging: the next owner deletes what was made.
func (compacted) IgnoreDeadLetterLogging() {}

// askCompact asks for a run, whether or not it is worth it, and is answered with a
// CompactionInfo when what it made is in force.
type askCompact struct{}

// Pauses after a run that has failed double from the first to the longest.
const (
	compactPauseFirst = time.Minute
	compactPauseMax   = time.Hour
)

// compactDue begins a run unless one is under way. Whether it is worth it shows in
// the background.
func (p *partition) compactDue() {
	s := p.config.settings.Load()
	if !s.Compaction.Enabled || p.draining || p.compacting != nil || p.made != nil || time.Now().Before(p.compactAfter) {
		return
	}
	if p.phase != phaseReady {
		p.open()
		return
	}
	if p.epoch != 0 && p.mayBeDue(&s.Compaction) {
		p.compact(nil)
		p.compactLooked = s.Compaction
	}
}

// mayBeDue spares a look at the store where nothing can have changed since the last.
func (p *partition) mayBeDue(s *Compaction) bool {
	return p.compactLooked != *s || s.MinCompactionLag > 0 || s.MaxCompactionLag > 0 ||
		p.clean != nil && p.clean.tombstones > 0 && p.clean.expires(s.DeleteRetention) <= time.Now().UnixMilli()
}

// compactNow is for those who ask.
func (p *partition) compactNow(sender *pactor.PID) {
	switch s := p.config.settings.Load(); {
	case !s.Compaction.Enabled:
		p.sys.Send(sender, fmt.Errorf("compact %s: its topic is not compacted: set its Compaction first", p.config))
	case p.draining:
		p.sys.Send(sender, fmt.Errorf("compact %s: %w", p.config, ErrStopped))
	case p.epoch == 0:
		p.sys.Send(sender, fmt.Errorf("compact %s: %w", p.config, ErrFull))
	case p.compacting != nil || p.made != nil:
		p.compactAsked = append(p.compactAsked, sender) // for the next
	default:
		p.compact([]*pactor.PID{sender})
	}
}

func (p *partition) compact(asked []*pactor.PID) {
	ctx, stop := context.WithCancel(context.Background())
	p.compacting = &compacting{stop, asked}
	p.compactions++
	c := p.compactor(cleanedName(p.config.log, p.epoch, p.compactions), len(asked) > 0)
	run := p.run
	p.background(func(outer context.Context) any {
		defer c.release()
		defer stop()
		defer context.AfterFunc(outer, stop)()
		made, more, err := c.run(ctx)
		return compacted{run, made, more, err}
	}, func(err error) {
		c.release()
		stop()
		p.runEnded(compacted{run: run, err: err})
	})
}

// compactor is for a view of now, which is to be released.
func (p *partition) compactor(name string, forced bool) *compactor {
	s := p.config.settings.Load()
	return &compactor{view: p.view(), sys: p.sys, config: p.config, name: name, epoch: p.epoch,
		settings: s.Compaction, keep: s.Retention, now: time.Now(), held: p.heldFrom(), forced: forced}
}

// runEnded takes in what a run has made. It is put in force with the next snapshot,
// which is made at once.
func (p *partition) runEnded(m compacted) {
	if m.run != p.run || p.compacting == nil {
		p.drop(m.made)
		return
	}
	asked := p.compacting.asked
	p.compacting = nil
	switch {
	case m.err != nil:
		p.compactFailed(m.err, asked)
	case m.made == nil:
		p.compactFailures, p.compactError = 0, nil
		p.tellCompacted(asked)
	default:
		p.made = &madeLog{m.made, m.made.low.Load(), m.more, asked}
		p.advance()
	}
}

// madeLog is a compacted log that waits to be put in force.
type madeLog struct {
	*cleanLog
	from  uint64 // what lies below had been trimmed when it was begun
	more  bool
	asked []*pactor.PID
}

// told is what there is to say of it when it has come into force.
func (m *madeLog) told(c *partitionConfig) Compacted {
	return Compacted{Topic: c.topic, Partition: c.index, RecordsBefore: m.report.records, RecordsAfter: m.records,
		BytesBefore: m.report.bytesBefore, BytesAfter: m.report.bytesAfter, Tombstones: m.tombstones,
		Took: time.Duration(m.report.tookMillis) * time.Millisecond}
}

func (p *partition) compactFailed(err error, asked []*pactor.PID) {
	if !errors.Is(err, ErrClosed) && !errors.Is(err, context.Canceled) {
		p.sys.onCompact(Compacted{Topic: p.config.topic, Partition: p.config.index, Err: err})
		p.sys.log.Warn("a partition could not be compacted; that is tried again", "topic", p.config.topic,
			"partition", p.config.index, "error", err)
	}
	p.compactError, p.compactLooked = err, Compaction{}
	p.compactAfter = time.Now().Add(min(compactPauseFirst<<min(p.compactFailures, 16), compactPauseMax))
	p.compactFailures++
	for _, pid := range asked {
		p.sys.Send(pid, fmt.Errorf("compact %s: %w", p.config, err))
	}
	p.compactAgain(false)
}

// tellCompacted answers those who asked for a run, and begins another if it is
// wanted.
func (p *partition) tellCompacted(asked []*pactor.PID) {
	for _, pid := range asked {
		p.compaction(pid)
	}
	p.compactAgain(false)
}

func (p *partition) compactAgain(more bool) {
	asked := p.compactAsked
	if p.compactAsked = nil; (more || len(asked) > 0) && p.phase == phaseReady && !p.draining {
		p.compact(asked)
		return
	}
	for _, pid := range asked {
		p.sys.Send(pid, fmt.Errorf("compact %s: %w", p.config, ErrStopped))
	}
}

// nextClean is the compacted log that the next snapshot puts in force, or leaves so.
func (p *partition) nextClean() *cleanLog {
	c := p.clean
	if p.made != nil {
		c = p.made.cleanLog
		c.since = time.Now().UnixMilli()
	}
	if c != nil && c.end <= p.state.low {
		return nil // all of it was trimmed
	}
	return c
}

// putInForce goes over to the compacted log that the snapshot at hand names.
func (p *partition) putInForce(c *cleanLog) {
	if former := p.clean; former != c {
		p.clean, p.state.cleaned = c, nil
		p.drop(former)
	}
	if p.clean == nil {
		p.settleMade(nil)
		return
	}
	c.low.Store(p.state.low)
	p.state.cleaned = c.cleaned
	if m := p.made; m != nil && m.cleanLog == c && m.from < p.state.low {
		p.trimMade()
	}
	if c.head > p.first {
		p.first = c.head
		p.index.trim(p.first)
		p.cache.trim(c.end) // or readers would see what has gone, later than they may
		p.dropHead = true
		p.dropReplaced(p.config.durability != storage.Interval)
	}
	p.settleMade(c)
}

// settleMade is done with the log that waited, if the snapshot was about it.
func (p *partition) settleMade(inForce *cleanLog) {
	m := p.made
	switch {
	case m == nil:
	case m.cleanLog == inForce:
		p.made = nil
		p.compactFailures, p.compactError = 0, nil
		p.sys.onCompact(m.told(p.config))
		p.sys.log.Debug("partition compacted", "topic", p.config.topic, "partition", p.config.index, "up_to", m.end,
			"records_before", m.report.records, "records", m.records, "bytes_before", m.report.bytesBefore, "bytes", m.report.bytesAfter)
		if m.more && len(m.asked) > 0 {
			p.compactAsked = append(p.compactAsked, m.asked...)
		} else {
			for _, pid := range m.asked {
				p.compaction(pid)
			}
		}
		p.compactAgain(m.more)
	case m.end <= p.state.low: // it was trimmed while it was made
		p.made = nil
		p.drop(m.cleanLog)
		p.tellCompacted(m.asked)
	}
}

// trimMade drops of a log that has come into force what was trimmed while it was
// made. Nobody sees it, but it takes space.
func (p *partition) trimMade() {
	low, v, sys, name := p.state.low, p.view(), p.sys, p.config.String()
	if !sys.Go(func(ctx context.Context) {
		defer v.release()
		if err := v.trimClean(ctx, low); err != nil && ctx.Err() == nil {
			sys.log.Warn("what was trimmed of a partition could not be dropped; the next compaction does", "partition", name, "error", err)
		}
	}) {
		v.release()
	}
}

// notInForce gives a log up that could not be put in force: there is no space.
func (p *partition) notInForce(err error) {
	if m := p.made; m != nil {
		p.made = nil
		p.drop(m.cleanLog)
		p.compactFailed(err, m.asked)
	}
}

// drop deletes a compacted log that is not in force, now or when that is safe.
func (p *partition) drop(c *cleanLog) {
	if c != nil {
		p.replaced = append(p.replaced, c.remove)
		p.dropReplaced(p.config.durability != storage.Interval)
	}
}

// dropReplaced drops what a compacted log has replaced. Where snapshots are synced
// at intervals only, that waits for the next look: by then the one that says so is
// on disk.
func (p *partition) dropReplaced(now bool) {
	if !now || p.phase != phaseReady {
		return
	}
	log, first, dropHead, replaced := p.log, p.first, p.dropHead, p.replaced
	if p.dropHead, p.replaced = false, nil; !dropHead && len(replaced) == 0 {
		return
	}
	p.moves.Add(1)
	sys, config := p.sys, p.config
	sys.Go(func(ctx context.Context) {
		var err error
		if dropHead {
			err = log.Trim(ctx, first)
		}
		for _, remove := range replaced {
			if e := remove(ctx, sys.store); !errors.Is(e, storage.ErrNotFound) {
				err = errors.Join(err, e)
			}
		}
		if err != nil && ctx.Err() == nil {
			sys.log.Warn("what compaction has replaced could not be deleted; that is tried again when the partition is opened the next time",
				"topic", config.topic, "partition", config.index, "error", err)
		}
	})
}

// compaction sends a CompactionInfo.
func (p *partition) compaction(to *pactor.PID) {
	info, c := p.compactionInfo(), p.compactor("", false)
	p.answerLater(to, c.view, func(ctx context.Context) (any, error) {
		err := info.measure(ctx, c)
		return info, err
	})
}

// compactionInfo is what is known without a look at the store.
func (p *partition) compactionInfo() CompactionInfo {
	var info CompactionInfo
	if !p.config.settings.Load().Compaction.Enabled && p.clean == nil {
		return info
	}
	info.Clean, info.Running = p.state.low, p.compacting != nil || p.made != nil
	if p.compactError != nil {
		info.Failed = p.compactError.Error()
	}
	if c := p.clean; c != nil {
		info.Clean, info.Records, info.Tombstones = max(c.end, p.state.low), c.records, c.tombstones
		info.LastRun, info.Took = time.UnixMilli(c.since), time.Duration(c.report.tookMillis)*time.Millisecond
		info.RecordsBefore, info.BytesBefore, info.BytesAfter = c.report.records, c.report.bytesBefore, c.report.bytesAfter
	}
	return info
}

func (i *CompactionInfo) measure(ctx context.Context, c *compactor) error {
	if !c.settings.Enabled && c.clean == nil {
		return nil
	}
	m, err := c.measure(ctx)
	if i.CleanBytes = m.clean; c.settings.Enabled {
		i.DirtyBytes, i.DirtyRatio = m.dirty, m.ratio()
	}
	return err
}

// stopCompacting ends a run with its incarnation.
func (p *partition) stopCompacting(err error) {
	var asked []*pactor.PID
	if p.compacting != nil {
		p.compacting.stop()
		asked = p.compacting.asked
	}
	if p.made != nil {
		asked = append(asked, p.made.asked...)
	}
	for _, pid := range append(asked, p.compactAsked...) {
		p.sys.Send(pid, fmt.Errorf("compact %s: %w", p.config, err))
	}
	p.compacting, p.made, p.compactAsked = nil, nil, nil
}

// leftBehind lists the compacted logs of former owners that are not in force. The
// marker of their successor has been stored: they can never be put in force.
func leftBehind(ctx context.Context, store storage.Store, log string, epoch uint64, inForce *cleaned) ([]string, error) {
	all, err := store.Logs(ctx, cleanedPrefix(log))
	if err != nil {
		return nil, err
	}
	var left []string
	for _, name := range all {
		by, ok := cleanedEpoch(log, name)
		if ok && by < epoch && (inForce == nil || inForce.log != name) {
			left = append(left, name)
		}
	}
	return left, nil
}
