// Package checkpoint is the logic of checkpoints, without I/O and clocks: how a
// task aligns barriers, how the coordinator follows a checkpoint to its end,
// and what the manifest of a complete one says.
//
// The protocol is Chandy and Lamport's snapshot ("Distributed Snapshots",
// 1985) as Flink uses it ("Lightweight Asynchronous Snapshots for Distributed
// Dataflows", Carbone et al., 2015): barriers travel with the data, and a task
// takes its snapshot when it has one from every input.
package checkpoint

// Aligner follows the barriers that come in by the channels of one task.
type Aligner struct {
	exactly bool
	current uint64 // the checkpoint whose barriers are being gathered; 0: none
	last    uint64 // the newest checkpoint that was gathered or given up
	arrived []bool
	missing int
}

// NewAligner returns an aligner for n channels. With exactly, a channel whose
// barrier has arrived is blocked until those of the others have; without, its
// records are processed meanwhile, and may be processed again after a failure.
func NewAligner(n int, exactly bool) *Aligner {
	return &Aligner{exactly: exactly, arrived: make([]bool, n)}
}

// Barrier notes a barrier. It returns true when it was the last one missing:
// the task takes its snapshot now. Barriers of a checkpoint older than the
// newest known one are ignored; a newer one ends the wait for an older, which
// can no longer complete.
func (a *Aligner) Barrier(channel int, checkpoint uint64) (complete bool) {
	if checkpoint <= a.last || checkpoint < a.current {
		return false
	}
	if checkpoint > a.current {
		a.begin(checkpoint)
	}
	if !a.arrived[channel] {
		a.arrived[channel] = true
		a.missing--
	}
	if a.missing > 0 {
		return false
	}
	a.end()
	return true
}

// Abort gives up a checkpoint: its channels are no longer blocked.
func (a *Aligner) Abort(checkpoint uint64) {
	if a.current == checkpoint {
		a.end()
	}
	a.last = max(a.last, checkpoint)
}

// Blocked says whether the channel has to wait for the others.
func (a *Aligner) Blocked(channel int) bool {
	return a.exactly && a.current != 0 && a.arrived[channel]
}

// Aligning returns the checkpoint whose barriers are being gathered, or 0.
func (a *Aligner) Aligning() uint64 { return a.current }

func (a *Aligner) begin(checkpoint uint64) {
	a.current = checkpoint
	a.missing = len(a.arrived)
	clear(a.arrived)
}

func (a *Aligner) end() {
	a.last, a.current = a.current, 0
}
