package actor

import (
	"time"

	"github.com/troupestream/troupe/internal/checkpoint"
)

// alignment follows the barriers of one task, and how long the first of a
// checkpoint waits for the last.
type alignment struct {
	*checkpoint.Aligner
	attempt *attempt
	began   time.Time
}

func newAlignment(a *attempt, channels int) alignment {
	return alignment{Aligner: checkpoint.NewAligner(channels, a.spec.ExactlyOnce), attempt: a}
}

// barrier notes a barrier and says whether it was the last one missing.
func (al *alignment) barrier(channel int, number uint64) (complete bool) {
	before := al.Aligning()
	complete = al.Barrier(channel, number)
	if al.Aligning() != before && al.Aligning() != 0 {
		al.began = al.attempt.now()
	}
	if complete && before == number {
		al.attempt.spec.Observer.Aligned(al.attempt.now().Sub(al.began))
	}
	return complete
}
