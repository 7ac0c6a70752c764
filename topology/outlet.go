package topology

import "github.com/troupestream/troupe/internal/dataflow"

// outlet is an output of an operator that gives some records of its input, or
// several for one. It remembers the row that each value came from, and fills
// in the other columns in one go when it is flushed: that is cheaper than
// record by record.
type outlet[T any] struct {
	port   dataflow.Port[T]
	values []T
	rows   []int32
	n      int // values so far
	batch  dataflow.Batch[T]
}

// add adds a value. The slices are kept at their full length and indexed,
// which spares the writing back of their headers for each value.
func (o *outlet[T]) add(v T, row int) {
	if o.n == len(o.values) {
		o.grow()
	}
	o.values[o.n], o.rows[o.n] = v, int32(row)
	o.n++
}

func (o *outlet[T]) grow() {
	n := max(64, 2*o.n)
	values, rows := make([]T, n), make([]int32, n)
	copy(values, o.values)
	copy(rows, o.rows)
	o.values, o.rows = values, rows
}

func (o *outlet[T]) len() int { return o.n }

// flush hands on what was added since the last flush.
func (o *outlet[T]) flush(in *dataflow.Columns, m *dataflow.Metrics) error {
	if o.n == 0 {
		return nil
	}
	m.Out.Add(int64(o.n))
	o.batch.Values = o.values[:o.n]
	o.batch.Gather(in, o.rows[:o.n])
	err := o.port.Receive(&o.batch)
	clear(o.values[:o.n])
	o.n = 0
	return err
}
