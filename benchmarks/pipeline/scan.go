package pipeline

import "unsafe"

// Event is a parsed record.
type Event struct {
	ID     int64
	Amount int64
	User   string // points into the record
}

// Kept is the job's filter.
func (e *Event) Kept() bool { return e.Amount%2 == 0 }

// Scan parses a flat JSON object of numbers and strings without escapes. It
// finds the fields by name, in any order and at any offset, and skips those it
// does not know. false: the record is not of this kind. The event's user points
// into the record, which must not change while the event is used.
func Scan(b []byte) (e Event, ok bool) {
	if len(b) < 2 || b[0] != '{' {
		return e, false
	}
	for i := 1; ; i++ { // each turn is one `"name":value` and what separates it from the next
		name, at := text(b, i)
		if at < 0 || at >= len(b) || b[at] != ':' {
			return e, false
		}
		if i = e.set(b, name, at+1); i < 0 || i >= len(b) {
			return e, false
		}
		if b[i] != ',' {
			return e, b[i] == '}' && i+1 == len(b)
		}
	}
}

// set reads the value at i and returns the index behind it, or -1.
func (e *Event) set(b []byte, name []byte, i int) int {
	if i < len(b) && b[i] == '"' {
		value, end := text(b, i)
		if end >= 0 && len(value) > 0 && string(name) == "user" {
			e.User = unsafe.String(&value[0], len(value))
		}
		return end
	}
	value, end := number(b, i)
	switch string(name) {
	case "id":
		e.ID = value
	case "amount":
		e.Amount = value
	}
	return end
}

// text reads a string in quotes at i and returns the index behind it, or -1.
func text(b []byte, i int) (s []byte, end int) {
	if i >= len(b) || b[i] != '"' {
		return nil, -1
	}
	for end = i + 1; end < len(b); end++ {
		switch b[end] {
		case '"':
			return b[i+1 : end], end + 1
		case '\\':
			return nil, -1
		}
	}
	return nil, -1
}

// number reads an integer at i and returns the index behind it, or -1.
func number(b []byte, i int) (n int64, end int) {
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	for end = i; end < len(b) && b[end]-'0' <= 9; end++ {
		n = n*10 + int64(b[end]-'0')
	}
	if end == i || end-i > 18 {
		return 0, -1 // no digit, or more than fit
	}
	if negative {
		n = -n
	}
	return n, end
}
