package dataflow

// Totals are what the counters of an operator come to, over all of its tasks.
type Totals struct {
	In, Out     int64 // records
	Late        int64 // behind the watermark
	Future      int64 // too far ahead to move the watermark
	Failures    int64 // calls of user code that panicked, records that could not be read or written
	DeadLetters int64 // records sent to a dead-letter topic
	Skipped     int64 // records passed over as the error policy says
	Expired     int64 // state entries that outlived their time-to-live
	Keys        int64 // with state
}

// AddTo adds the counters of one task to their totals.
func (m *Metrics) AddTo(t *Totals) {
	t.In += m.In.Load()
	t.Out += m.Out.Load()
	t.Late += m.Late.Load()
	t.Future += m.Future.Load()
	t.Failures += m.Failures.Load()
	t.DeadLetters += m.DeadLetters.Load()
	t.Skipped += m.Skipped.Load()
	t.Expired += m.Expired.Load()
	t.Keys += m.Keys.Load()
}
