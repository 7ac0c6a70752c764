package actor

import (
	"sync"
	"time"

	"github.com/troupestream/troupe/internal/telemetry"
)

// receipt is what was read of a partition, and is not settled until a checkpoint
// that covers it is complete.
type receipt struct {
	number  uint64 // of that checkpoint
	began   time.Time
	records int
	links   telemetry.Links
}

// settlements are the receipts of an attempt behind the barriers of checkpoints.
// The sources bring them and the coordinator redeems them, since a source may be
// gone before it hears that the last checkpoint is complete.
type settlements struct {
	mu       sync.Mutex
	receipts map[*observed]receipt
}

// await hands in what was read in front of a checkpoint's barrier. What is still
// there from a checkpoint that was given up is covered by this one, too.
func (s *settlements) await(number uint64, now time.Time, o *observed) {
	if o.open.records == 0 || !o.settles() {
		return
	}
	r := o.open
	r.number, r.began = number, now
	o.open = receipt{}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.receipts[o]; ok {
		r.began, r.records = old.began, r.records+old.records
		old.links.Merge(&r.links)
		r.links = old.links
	}
	if s.receipts == nil {
		s.receipts = map[*observed]receipt{}
	}
	s.receipts[o] = r
}

// settled ends what a complete checkpoint covers.
func (s *settlements) settled(number uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o, r := range s.receipts {
		if r.number <= number {
			delete(s.receipts, o)
			o.meter.Settled(r.began, now)
			o.settle.Past(r.records, &r.links, r.began, now)
		}
	}
}
