package pipeline

import (
	"bytes"
	"unsafe"
)

// Event is a parsed record.
type Event struct {
	ID     int64
	Amount int64
	User   string // points into the record
}

// Kept is the job's filter.
func (e *Event) Kept() bool { return e.Amount%2 == 0 }

// Scan parses a flat JSON object of integers and strings. It finds the fields
// by name, in any order and at any offset, and skips those it does not know.
// false: the record is not of this kind, or it has an escaped quote, or a user
// with escapes. The event's user points into the record, which must not change
// while the event is used.
func Scan(b []byte) (e Event, ok bool) {
	if len(b) < 2 || b[0] != '{' {
		return e, false
	}
	for rest := b[1:]; ; rest = rest[1:] { // each turn is one `"name":value` and the comma behind it
		n := nameEnd(rest)
		if n < 0 {
			return e, false
		}
		name := rest[1:n]
		rest = rest[n+2:]
		if rest[0] == '"' {
			n = e.setText(name, rest)
		} else {
			n = e.setNumber(name, rest)
		}
		if n < 0 || n >= len(rest) {
			return e, false
		}
		if rest = rest[n:]; rest[0] != ',' {
			return e, rest[0] == '}' && len(rest) == 1
		}
	}
}

// nameEnd returns the index of the quote that ends the name at the start of b,
// if a colon and at least one more byte follow, or -1.
func nameEnd(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return -1
	}
	n := 1
	for n < len(b) && b[n] != '"' { // names are short: a call of IndexByte costs more
		n++
	}
	if n+2 >= len(b) || b[n+1] != ':' {
		return -1
	}
	return n
}

// setText reads the string at the start of b and returns its length with its
// quotes, or -1. The first quote ends it unless a backslash stands in front.
func (e *Event) setText(name, b []byte) int {
	n := bytes.IndexByte(b[1:], '"')
	if n < 0 || b[n] == '\\' {
		return -1
	}
	if string(name) == "user" {
		if bytes.IndexByte(b[1:1+n], '\\') >= 0 {
			return -1
		}
		e.User = unsafe.String(&b[1], n)
	}
	return n + 2
}

// setNumber reads the integer at the start of b and returns its length, or -1.
func (e *Event) setNumber(name, b []byte) int {
	value, n := number(b)
	switch string(name) {
	case "id":
		e.ID = value
	case "amount":
		e.Amount = value
	}
	return n
}

func number(b []byte) (value int64, n int) {
	first := 0
	if b[0] == '-' {
		first = 1
	}
	for n = first; n < len(b) && b[n]-'0' <= 9; n++ {
		value = value*10 + int64(b[n]-'0')
	}
	if n == first || n-first > 18 {
		return 0, -1 // no digit, or more than fit
	}
	if first == 1 {
		value = -value
	}
	return value, n
}
