package ledger

import (
	"cmp"
	"fmt"
	"slices"
)

// place is a position in the logs.
type place struct {
	partition int
	offset    int64
}

func (p place) String() string { return fmt.Sprintf("partition %d, offset %d", p.partition, p.offset) }

func placeOf(e *Entry) place { return place{e.Partition, e.Offset} }

func (c *checker) checkLog() {
	c.checkReaders()
	log := c.mergeReaders()
	there := map[ID]bool{}
	at := map[ID]place{}
	order := map[int]sequencer{}
	epochs := map[int]uint64{}
	for i := range log {
		e := &log[i]
		if first, twice := at[e.ID]; twice {
			c.v.add(DuplicateInLog, "%s is at %v and at %v", e.ID, first, placeOf(e))
			continue
		}
		at[e.ID], there[e.ID] = placeOf(e), true
		c.checkSent("the log", e.ID, nil)
		c.checkEntry(e, order, epochs)
	}
	c.checkAcknowledged(log, at)
	c.checkLost("the log", there, nil)
}

// checkEntry checks an entry against those at lower offsets of its partition.
func (c *checker) checkEntry(e *Entry, order map[int]sequencer, epochs map[int]uint64) {
	if order[e.Partition] == nil {
		order[e.Partition] = sequencer{}
	}
	order[e.Partition].next(c, fmt.Sprintf("partition %d", e.Partition), e.ID, e.Key)
	if e.Epoch == 0 {
		return
	}
	if e.Epoch < epochs[e.Partition] {
		c.v.add(Zombie, "%s at %v was written in epoch %d, after epoch %d had begun", e.ID, placeOf(e), e.Epoch, epochs[e.Partition])
	}
	epochs[e.Partition] = max(epochs[e.Partition], e.Epoch)
}

// checkReaders checks each reader's pass: offsets are dense, so each follows
// the one before.
func (c *checker) checkReaders() {
	type pass struct {
		reader    string
		partition int
	}
	last := map[pass]int64{}
	for i := range c.entries {
		e := &c.entries[i]
		p := pass{e.Reader, e.Partition}
		if before, ok := last[p]; ok && e.Offset != before+1 {
			c.v.add(ReadOrder, "reader %q came from offset %d of partition %d to %d", e.Reader, before, e.Partition, e.Offset)
		}
		last[p] = e.Offset
	}
}

// mergeReaders returns the log in order of offset, as all readers together saw
// it, and reports where they disagree.
func (c *checker) mergeReaders() []Entry {
	seen := map[place]int{}
	var log []Entry
	for _, e := range c.entries {
		i, ok := seen[placeOf(&e)]
		if !ok {
			seen[placeOf(&e)] = len(log)
			log = append(log, e)
		} else if log[i].ID != e.ID {
			c.v.add(InconsistentOffset, "%v is %s to reader %q and %s to reader %q", placeOf(&e), log[i].ID, log[i].Reader, e.ID, e.Reader)
		}
	}
	slices.SortStableFunc(log, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return log
}

// checkAcknowledged compares the offsets that producers were told with the log.
func (c *checker) checkAcknowledged(log []Entry, at map[ID]place) {
	holds := make(map[place]ID, len(log))
	for i := range log {
		holds[placeOf(&log[i])] = log[i].ID
	}
	for _, id := range c.ids {
		for _, s := range c.sent[id].acked {
			told := place{s.Partition, s.Offset}
			if other, ok := holds[told]; ok && other != id {
				c.v.add(InconsistentOffset, "%s was acknowledged at %v, where %s is", id, told, other)
			} else if is, found := at[id]; !ok && found {
				c.v.add(InconsistentOffset, "%s was acknowledged at %v and is at %v", id, told, is)
			}
		}
	}
}
