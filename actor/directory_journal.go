package actor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/storage"
)

// directoryLog is the journal of the directory. Its entries are commands, in JSON; a
// snapshot is a round of entries whose commands make the directory out of an empty one.
const directoryLog = "meta_queues"

// directoryEntry is an entry of the journal.
type directoryEntry struct {
	Commands []storedCommand `json:"commands"`
	// Round is the number of the round that the entry is part of; 0: it is none.
	Round uint64 `json:"round,omitempty"`
	Last  bool   `json:"last,omitempty"` // of the round
}

type storedCommand struct {
	Op      string          `json:"op"`
	Command json.RawMessage `json:"command"`
}

// commandOf makes an empty command, to decode one into.
var commandOf = map[string]func() command{
	declareExchange{}.op(): func() command { return new(declareExchange) },
	deleteExchange{}.op():  func() command { return new(deleteExchange) },
	declareQueue{}.op():    func() command { return new(declareQueue) },
	alterQueue{}.op():      func() command { return new(alterQueue) },
	deleteQueue{}.op():     func() command { return new(deleteQueue) },
	bind{}.op():            func() command { return new(bind) },
	unbind{}.op():          func() command { return new(unbind) },
	bindTopic{}.op():       func() command { return new(bindTopic) },
	unbindTopic{}.op():     func() command { return new(unbindTopic) },
	declareLog{}.op():      func() command { return new(declareLog) },
	renewLog{}.op():        func() command { return new(renewLog) },
	forgetLog{}.op():       func() command { return new(forgetLog) },
	declareFeed{}.op():     func() command { return new(declareFeed) },
	forgetFeed{}.op():      func() command { return new(forgetFeed) },
	orphanLog{}.op():       func() command { return new(orphanLog) },
	setIDs{}.op():          func() command { return new(setIDs) },
}

func encodeCommands(all []command, round uint64, last bool) ([]byte, error) {
	e := directoryEntry{Round: round, Last: last, Commands: make([]storedCommand, len(all))}
	for i, c := range all {
		data, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		e.Commands[i] = storedCommand{c.op(), data}
	}
	return json.Marshal(e)
}

func decodeCommands(data []byte) (all []command, e directoryEntry, err error) {
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, e, fmt.Errorf("the directory of exchanges and queues is damaged: %w: %w", ErrCorrupt, err)
	}
	for _, stored := range e.Commands {
		empty := commandOf[stored.Op]
		if empty == nil {
			return nil, e, fmt.Errorf("the directory of exchanges and queues was written by a newer release (%s): update Troupe", stored.Op)
		}
		c := empty()
		if err := json.Unmarshal(stored.Command, c); err != nil {
			return nil, e, fmt.Errorf("the directory of exchanges and queues is damaged (%s): %w: %w", stored.Op, ErrCorrupt, err)
		}
		all = append(all, c)
	}
	return all, e, nil
}

// restore implements journaled: there are no snapshots but rounds.
func (d *queueDirectory) restore([]byte) error { return nil }

// replay applies an entry. Commands that fail have failed before. A round counts once
// it is complete; one that its writer did not get to the end of is passed over.
func (d *queueDirectory) replay(entry []byte) error {
	all, e, err := decodeCommands(entry)
	if err != nil {
		return err
	}
	if e.Round == 0 || e.Round != d.round {
		d.partial = nil
	}
	d.round = e.Round
	switch {
	case e.Round == 0:
		d.applyAll(all)
	case e.Last:
		all = append(d.partial, all...)
		d.reset()
		d.partial = nil
		d.applyAll(all)
	default:
		d.partial = append(d.partial, all...)
	}
	return nil
}

func (d *queueDirectory) applyAll(all []command) {
	for _, c := range all {
		c.apply(d)
	}
}

// commands make this directory out of an empty one.
func (d *queueDirectory) commands() []command {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := []command{&setIDs{d.next}}
	for _, x := range d.exchanges.all() {
		if x.name != "" && !isPredeclared(x.name) {
			all = append(all, &declareExchange{x.name, x.number, x.config})
		}
	}
	for _, q := range d.byName.all() {
		all = append(all, &declareQueue{q.name, q.id, q.shard, *q.config()})
	}
	for _, x := range d.table.Exchanges() {
		for _, b := range d.table.From(x.Name) {
			all = append(all, &bind{b})
		}
	}
	for b, incarnation := range d.topics {
		all = append(all, &bindTopic{Topic: b.topic, Incarnation: incarnation, Queue: b.queue})
	}
	for _, l := range d.logs.all() {
		all = append(all, &declareLog{l.id, l.topic, l.incarnation, l.partition})
		if l.orphaned.Load() {
			all = append(all, &orphanLog{l.id})
		}
	}
	for _, f := range d.feeds {
		c := &declareFeed{Log: f.log, Shard: f.shard, Queue: f.queue, From: f.from}
		if f.queue != 0 {
			for _, s := range f.spans {
				c.Spans = append(c.Spans, [2]uint64{s.first, s.next})
			}
		}
		all = append(all, c)
	}
	return all
}

// Limits of a round: how many commands are in one entry, and how much the journal
// grows before there is another, at least.
const (
	roundCommands = 512
	roundBytes    = 1 << 20
)

// saveDirectory appends a round, and drops what it makes superfluous. It returns how
// many bytes the round has.
func saveDirectory(ctx context.Context, j *journal, all []command) (size int, err error) {
	first := j.last + 1
	for part := range slices.Chunk(all, roundCommands) {
		all = all[len(part):]
		data, err := encodeCommands(part, first, len(all) == 0)
		if err != nil {
			return 0, err
		}
		if err := store(ctx, j, storage.Data, data); err != nil {
			return 0, err
		}
		size += len(data)
	}
	j.bytes = 0
	return size, j.log.Trim(ctx, first)
}

// openDirectory takes the directory over, and starts its actor. What is not to outlast
// a process is forgotten first, and so is what belongs to topics that are gone.
func openDirectory(ctx context.Context, s *System) (*queueDirectory, error) {
	d := newQueueDirectory(s)
	nonce := fmt.Appendf(nil, "%s/directory/%d", s.actors.ID, partitionRuns.Add(1))
	j, err := openJournal(ctx, s.store, directoryLog, nonce, d)
	if err != nil {
		return nil, err
	}
	d.partial = nil
	for _, q := range d.byName.all() {
		q.admission.wait()
	}
	actor := &directoryActor{d: d, journal: j, next: d.next}
	if d.pid, err = s.Spawn("directory", func() pactor.Actor { return actor }, asService(rankLog)); err != nil {
		j.log.Close()
		return nil, err
	}
	err = d.changeAll(ctx, d.leftOver())
	if err == nil {
		err = d.settleTopics(ctx)
	}
	if err != nil {
		s.Stop(d.pid)
		return nil, err
	}
	d.subscribe(d.changed)
	return d, nil
}

// leftOver are the commands that forget what has ended with an earlier process.
func (d *queueDirectory) leftOver() (all []command) {
	for _, q := range d.byName.all() {
		if q.config().Transient {
			all = append(all, &deleteQueue{Name: q.name, ID: q.id})
		}
	}
	for _, x := range d.exchanges.all() {
		if x.config.Transient {
			all = append(all, &deleteExchange{Name: x.name})
		}
	}
	return all
}
