package csvrow

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// Plan maps the columns of a CSV file to the fields of struct T. It is worked
// out once per file, so that rows need no reflection.
type Plan[T any] struct {
	Names  []string // of the columns, in the order of the fields
	fields []field
	order  []int // field of each column of the file, -1: not wanted; set by Bind
}

type field struct {
	name     string
	offset   uintptr
	kind     *kind
	optional bool
}

// kind is how values of one Go type are read from a cell and written to one.
type kind struct {
	what   string // in an error: "… is not <what>"
	parse  func(p unsafe.Pointer, cell []byte) error
	format func(p unsafe.Pointer, dst []byte) ([]byte, error)
}

// NewPlan studies T: its exported fields in order, named by their csv tag or
// else by themselves. The tag "-" leaves a field out; ",optional" lets the
// column be missing or its cells empty. Pointers are optional and nil when the
// cell is empty. Strings, booleans, numbers, times (RFC 3339), durations and
// types that marshal to text are known; everything else is an error.
func NewPlan[T any]() (*Plan[T], error) {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return nil, fmt.Errorf("rows of CSV need a struct with a field per column, and %v is none", t)
	}
	p := &Plan[T]{}
	var errs []error
	for i := range t.NumField() {
		f, err := newField(t.Field(i))
		if err != nil {
			errs = append(errs, fmt.Errorf("field %s of %v: %w", t.Field(i).Name, t, err))
		} else if f != nil {
			p.fields = append(p.fields, *f)
			p.Names = append(p.Names, f.name)
		}
	}
	if err := duplicate(p.Names); err != nil {
		errs = append(errs, fmt.Errorf("%v: %w", t, err))
	}
	if len(p.fields) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%v has no exported field to put a column into", t))
	}
	return p, errors.Join(errs...)
}

func newField(f reflect.StructField) (*field, error) {
	name, option, _ := strings.Cut(f.Tag.Get("csv"), ",")
	if !f.IsExported() && !f.Anonymous || name == "-" {
		return nil, nil
	}
	if f.Anonymous {
		return nil, errors.New(`embedded fields are not supported; name the field, or leave it out with the tag csv:"-"`)
	}
	if option != "" && option != "optional" {
		return nil, fmt.Errorf("the csv tag has the option %q; the only one there is is optional", option)
	}
	k, err := kindOf(f.Type)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = f.Name
	}
	optional := option == "optional" || f.Type.Kind() == reflect.Pointer
	return &field{name: name, offset: f.Offset, kind: k, optional: optional}, nil
}

func duplicate(names []string) error {
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			return fmt.Errorf("column %q is there twice", n)
		}
		seen[n] = true
	}
	return nil
}

// Bind tells the plan the file's columns. Unless extra is set, a column that T
// has no field for is an error, as is a missing one.
func (p *Plan[T]) Bind(header *Row, extra bool) error {
	var errs []error
	names := make([]string, header.Len())
	at := make(map[string]int, len(p.fields))
	for i := range p.fields {
		at[p.fields[i].name] = i
	}
	p.order = p.order[:0]
	bound := make([]bool, len(p.fields))
	for c := range names {
		names[c] = string(header.Cell(c))
		i, known := at[names[c]]
		if !known {
			i = -1
			if !extra {
				errs = append(errs, fmt.Errorf("column %q has no field in %v", names[c], reflect.TypeFor[T]()))
			}
		} else {
			bound[i] = true
		}
		p.order = append(p.order, i)
	}
	for i, f := range p.fields {
		if !bound[i] && !f.optional {
			errs = append(errs, fmt.Errorf("column %q of %v is missing", f.name, reflect.TypeFor[T]()))
		}
	}
	return errors.Join(append(errs, duplicate(names))...)
}

// CellError says which cell of a row does not fit its field.
type CellError struct {
	Cell   int
	Column string
	Err    error
}

func (e *CellError) Error() string { return fmt.Sprintf("column %q: %v", e.Column, e.Err) }

// Unwrap returns the cause.
func (e *CellError) Unwrap() error { return e.Err }

// Parse fills v from a row of the file that Bind was told of.
func (p *Plan[T]) Parse(r *Row, v *T) error {
	if r.Len() != len(p.order) {
		return fmt.Errorf("the row has %d cells and the header %d", r.Len(), len(p.order))
	}
	base := unsafe.Pointer(v)
	for c, i := range p.order {
		if i < 0 {
			continue
		}
		f, cell := &p.fields[i], r.Cell(c)
		if len(cell) == 0 && f.optional {
			continue
		}
		if err := f.kind.parse(unsafe.Add(base, f.offset), cell); err != nil {
			return &CellError{Cell: c, Column: f.name, Err: explain(err, cell, f.kind.what)}
		}
	}
	return nil
}

func explain(err error, cell []byte, what string) error {
	const shown = 40
	if len(cell) > shown {
		cell = append(append([]byte{}, cell[:shown]...), "..."...)
	}
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%q does not fit %s", cell, what)
	}
	if errors.Is(err, strconv.ErrSyntax) {
		return fmt.Errorf("%q is not %s", cell, what)
	}
	return fmt.Errorf("%q is not %s: %w", cell, what, err)
}

// AppendHeader appends the row with the names of the columns.
func (p *Plan[T]) AppendHeader(dst []byte, comma byte) []byte {
	for i, n := range p.Names {
		if i > 0 {
			dst = append(dst, comma)
		}
		dst = AppendCell(dst, comma, []byte(n))
	}
	return append(dst, '\n')
}

// Writer renders values as rows.
type Writer[T any] struct {
	Plan  *Plan[T]
	Comma byte
	cell  []byte
}

// Append appends v as a row, with its newline. On error dst is returned unchanged.
func (w *Writer[T]) Append(dst []byte, v *T) ([]byte, error) {
	start, base := len(dst), unsafe.Pointer(v)
	for i := range w.Plan.fields {
		f := &w.Plan.fields[i]
		if i > 0 {
			dst = append(dst, w.Comma)
		}
		var err error
		if w.cell, err = f.kind.format(unsafe.Add(base, f.offset), w.cell[:0]); err != nil {
			return dst[:start], fmt.Errorf("column %q: %w", f.name, err)
		}
		dst = AppendCell(dst, w.Comma, w.cell)
	}
	if len(dst) == start {
		dst = append(dst, `""`...) // an empty line would be no row
	}
	return append(dst, '\n'), nil
}

var (
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func kindOf(t reflect.Type) (*kind, error) {
	if t.Kind() == reflect.Pointer {
		elem, err := kindOf(t.Elem())
		if err != nil || t.Elem().Kind() == reflect.Pointer {
			return nil, unsupported(t)
		}
		return pointer(t.Elem(), elem), nil
	}
	if t == reflect.TypeFor[time.Duration]() {
		return duration, nil
	}
	if t.Implements(textMarshaler) && reflect.PointerTo(t).Implements(textUnmarshaler) {
		return text(t), nil
	}
	if k := basic(t.Kind()); k != nil {
		return k, nil
	}
	return nil, unsupported(t)
}

func unsupported(t reflect.Type) error {
	return fmt.Errorf("a cell cannot hold a %v; use a string, a boolean, a number, a time, or a type that marshals to text", t)
}
