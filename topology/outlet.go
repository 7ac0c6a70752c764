package topology

import "github.com/troupestream/troupe/internal/dataflow"

// outlet is an output of an operator that gives some records of its input, or
// several for one. It remembers the row that each value came from, and fills
// in the other columns in one go when it is flushed: that is cheaper than
// record by record.
type outlet[T any] struct {
	port  dataflow.Port[T]
	batch dataflow.Batch[T]
	rows  []int32
}

func (o *outlet[T]) add(v T, row int) {
	o.batch.Values = append(o.batch.Values, v)
	o.rows = append(o.rows, int32(row))
}

func (o *outlet[T]) len() int { return len(o.rows) }

// flush hands on what was added since the last flush.
func (o *outlet[T]) flush(in *dataflow.Columns, m *dataflow.Metrics) error {
	if len(o.rows) == 0 {
		return nil
	}
	m.Out.Add(int64(len(o.rows)))
	o.batch.Gather(in, o.rows)
	err := o.port.Receive(&o.batch)
	o.batch.Reset()
	o.rows = o.rows[:0]
	return err
}
