package sources

import (
	"errors"
	"fmt"

	"github.com/troupestream/troupe/internal/csvrow"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

// CSV reads files of comma-separated values (RFC 4180) into structs. The path
// may be a pattern, as in "orders/*.csv": then every file that matches is a
// split.
//
// Each file begins with a header. A column goes into the exported field whose
// csv tag, or else whose name, is the column's name:
//
//	type Order struct {
//		ID     string        `csv:"order_id"`
//		Amount int64         `csv:"amount"`
//		Coupon string        `csv:"coupon,optional"` // the column may be missing, a cell empty
//		Paid   *time.Time    `csv:"paid"`            // nil when the cell is empty
//		Notes  string        `csv:"-"`               // no column
//	}
//
// Strings, booleans, numbers, time.Time (RFC 3339), time.Duration, types that
// marshal to text, and pointers to these are known. A header with an unknown or
// missing column, and a type that no cell can hold, are errors when the file is
// opened. A row that is malformed, has too few or too many cells, or a cell
// that is no value of its field, is an error of that record which names file,
// line and column. Blank lines are left out.
func CSV[T any](path string, opts ...CSVOption) topology.Source[T] {
	s := &fileSource[T]{pattern: path, rows: true, options: defaultFileOptions(), newParser: newCSVParser[T]}
	for _, opt := range opts {
		opt.csv(&s.options)
	}
	return s
}

func newCSVParser[T any](o *fileOptions) (parser[T], error) {
	plan, err := csvrow.NewPlan[T]()
	if err != nil {
		return parser[T]{}, err
	}
	c := &csvParser[T]{plan: plan, row: csvrow.Row{Comma: byte(o.comma)}, extra: o.ignoreExtra}
	return parser[T]{header: c.header, parse: c.parse}, nil
}

type csvParser[T any] struct {
	plan  *csvrow.Plan[T]
	row   csvrow.Row
	extra bool
}

func (c *csvParser[T]) header(data []byte) error {
	if err := c.row.Split(data); err != nil {
		return err
	}
	return c.plan.Bind(&c.row, c.extra)
}

func (c *csvParser[T]) parse(rec record) (v T, ok bool, err error) {
	defer dataflow.Recovered(&err) // of a field's own UnmarshalText
	if len(rec.data) == 0 {
		return v, false, nil
	}
	if err := c.row.Split(rec.data); err != nil {
		var syntax *csvrow.SyntaxError
		if errors.As(err, &syntax) {
			return v, false, &flaw{line: syntax.Line, column: syntax.Column, err: err}
		}
		return v, false, err
	}
	if err := c.plan.Parse(&c.row, &v); err != nil {
		return v, false, c.locate(err)
	}
	return v, true, nil
}

func (c *csvParser[T]) locate(err error) error {
	var cell *csvrow.CellError
	if !errors.As(err, &cell) {
		return fmt.Errorf("%w; quote cells that contain %q", err, c.row.Comma)
	}
	line, column := c.row.Pos(cell.Cell)
	return &flaw{line: line, column: column, err: err}
}
