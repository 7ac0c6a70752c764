// Package csvrow reads and writes single rows of CSV (RFC 4180), and maps them
// to the fields of structs.
package csvrow

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// SyntaxError says where a row is not CSV.
type SyntaxError struct {
	Line   int // of the row, counted from 0
	Column int // byte of the line, counted from 1
	Msg    string
}

func (e *SyntaxError) Error() string { return e.Msg }

// End returns the length of the row that b begins with, including the newline
// that ends it, or -1 when that newline is not in b. A newline inside a quoted
// cell does not end a row; a quote that stands where it should not does not
// begin one, so that it costs its own line only.
//
// searched is what an earlier call returned that saw less of the same row, and
// spares looking at its lines again.
func End(b []byte, comma byte, searched Searched) (n int, s Searched) {
	for {
		i := bytes.IndexByte(b[searched.bytes:], '\n')
		if i < 0 {
			return -1, searched
		}
		line := b[searched.bytes : searched.bytes+i+1]
		searched.bytes += len(line)
		if searched.open = opens(line, comma, searched.open); !searched.open {
			return searched.bytes, searched
		}
	}
}

// Searched is how far End has come: a number of lines, and whether the last of
// them ends inside a quoted cell.
type Searched struct {
	bytes int
	open  bool
}

// Open says whether b, which follows what was searched, ends inside a quoted cell.
func (s Searched) Open(b []byte, comma byte) bool { return opens(b[s.bytes:], comma, s.open) }

// opens says whether a piece of a row ends inside a quoted cell, given whether
// it begins inside one.
func opens(b []byte, comma byte, inside bool) bool {
	if !inside && bytes.IndexByte(b, '"') < 0 {
		return false
	}
	begin := !inside // of a cell
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case inside && c == '"' && i+1 < len(b) && b[i+1] == '"':
			i++ // a quote inside quotes is written twice
		case inside:
			inside, begin = c != '"', false
		case begin && c == '"':
			inside = true
		default:
			begin = c == comma
		}
	}
	return inside
}

// Row is one row, split into its cells. It is used again for the next row.
type Row struct {
	Comma byte // between cells
	cells []cell
	text  []byte // the cells without their quotes
	src   []byte
}

type cell struct{ from, to, at int } // of text; and where it begins in the source

// Len is the number of cells.
func (r *Row) Len() int { return len(r.cells) }

// Cell returns cell i, valid until the next Split.
func (r *Row) Cell(i int) []byte { return r.text[r.cells[i].from:r.cells[i].to] }

// Pos returns where cell i begins: the line of the row, counted from 0, and the
// byte of that line, counted from 1.
func (r *Row) Pos(i int) (line, column int) { return position(r.src, r.cells[i].at) }

func position(src []byte, at int) (line, column int) {
	before := src[:at]
	return bytes.Count(before, []byte{'\n'}), at - bytes.LastIndexByte(before, '\n')
}

// Split splits src, a row without its final newline. The error is a *SyntaxError.
func (r *Row) Split(src []byte) error {
	r.src, r.cells, r.text = src, r.cells[:0], r.text[:0]
	for at := 0; ; at++ {
		from, begin := len(r.text), at
		next, err := r.cell(at)
		if err != nil {
			return err
		}
		at = next
		r.cells = append(r.cells, cell{from, len(r.text), begin})
		if at == len(src) {
			return nil
		}
	}
}

// cell reads the cell at src[at] and returns where it ends: at a comma or the end.
func (r *Row) cell(at int) (int, error) {
	if at < len(r.src) && r.src[at] == '"' {
		return r.quoted(at)
	}
	end := len(r.src)
	if i := bytes.IndexByte(r.src[at:], r.Comma); i >= 0 {
		end = at + i
	}
	if i := bytes.IndexByte(r.src[at:end], '"'); i >= 0 {
		return 0, r.fail(at+i, `a quote (") stands inside a cell that does not begin with one; quote the cell and write the quote twice`)
	}
	r.text = append(r.text, r.src[at:end]...)
	return end, nil
}

func (r *Row) quoted(open int) (int, error) {
	at := open + 1
	for {
		i := bytes.IndexByte(r.src[at:], '"')
		if i < 0 {
			return 0, r.fail(open, "the quoted cell that begins here does not end")
		}
		r.text = append(r.text, r.src[at:at+i]...)
		at += i + 1
		switch {
		case at == len(r.src) || r.src[at] == r.Comma:
			return at, nil
		case r.src[at] != '"':
			return 0, r.fail(at, fmt.Sprintf("a quoted cell is followed by %q, not by %q or the end of the row", r.src[at], r.Comma))
		}
		r.text = append(r.text, '"')
		at++
	}
}

func (r *Row) fail(at int, msg string) error {
	line, column := position(r.src, at)
	return &SyntaxError{Line: line, Column: column, Msg: msg}
}

// AppendCell appends one cell to a row, quoted when it must be.
func AppendCell(dst []byte, comma byte, s []byte) []byte {
	if !needsQuotes(comma, s) {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for {
		i := bytes.IndexByte(s, '"')
		if i < 0 {
			return append(append(dst, s...), '"')
		}
		dst = append(append(dst, s[:i+1]...), '"')
		s = s[i+1:]
	}
}

// needsQuotes also quotes what other readers trim or take for a comment.
func needsQuotes(comma byte, s []byte) bool {
	if len(s) == 0 {
		return false
	}
	return s[0] == ' ' || s[0] == '\t' || s[0] == '#' || s[len(s)-1] == ' ' || s[len(s)-1] == '\t' ||
		bytes.IndexByte(s, comma) >= 0 || bytes.IndexByte(s, '"') >= 0 ||
		bytes.IndexByte(s, '\n') >= 0 || bytes.IndexByte(s, '\r') >= 0
}

// CheckComma refuses what cannot stand between cells.
func CheckComma(c rune) error {
	if c >= utf8.RuneSelf || c < ' ' && c != '\t' || c == '"' || c == 0x7f {
		return fmt.Errorf("%q cannot separate the cells of a CSV file; use a printable ASCII character other than the quote, or a tab", c)
	}
	return nil
}
