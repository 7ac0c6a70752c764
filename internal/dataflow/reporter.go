package dataflow

import "context"

// Reporter is a source that tells others how far a job has come. Others than
// Troupe's own cannot be taken for one, since the type of the positions is internal.
type Reporter interface {
	// Report is given the positions of a complete checkpoint. Calls come one at a
	// time, in the order of the checkpoints; some may be left out. What fails is
	// reported again with the next one.
	Report(ctx context.Context, p Positions) error
}

// Positions are those of the splits of a source, by their ids.
type Positions map[string][]byte

// ReporterOf returns the Reporter that a driver's source is; nil if it is none.
func ReporterOf(d SourceDriver) Reporter {
	if r, ok := d.(interface{ Reporter() Reporter }); ok {
		return r.Reporter()
	}
	return nil
}
