package routing

import (
	"fmt"
	"math"
	"strconv"
)

// ValueKind is the type of a Value.
type ValueKind uint8

// The kinds of values. Integers of all widths, and times in whole seconds, are
// Integers; texts and bytes are Texts.
const (
	VoidKind ValueKind = iota
	BoolKind
	IntKind
	FloatKind
	TextKind
)

// Value is the value of a header or of an argument. Two values are equal if and
// only if == says so: types count, so 2, 2.0 and "2" are three different values,
// and floats are equal if their bits are.
type Value struct {
	Kind ValueKind
	Bits uint64 // of a bool, 0 or 1; of an integer, in two's complement; of a float, as in IEEE 754
	Text string // of a text
}

// Void is the value that is none. As an argument of a headers binding it stands
// for any value at all.
func Void() Value { return Value{} }

// Bool is a truth value.
func Bool(b bool) Value {
	if b {
		return Value{Kind: BoolKind, Bits: 1}
	}
	return Value{Kind: BoolKind}
}

// Int is an integer.
func Int(i int64) Value { return Value{Kind: IntKind, Bits: uint64(i)} }

// Float is a floating point number.
func Float(f float64) Value { return Value{Kind: FloatKind, Bits: math.Float64bits(f)} }

// Text is a text, or bytes.
func Text(s string) Value { return Value{Kind: TextKind, Text: s} }

// String is the value for people to read.
func (v Value) String() string {
	switch v.Kind {
	case VoidKind:
		return "void"
	case BoolKind:
		return strconv.FormatBool(v.Bits == 1)
	case IntKind:
		return strconv.FormatInt(int64(v.Bits), 10)
	case FloatKind:
		return strconv.FormatFloat(math.Float64frombits(v.Bits), 'g', -1, 64)
	case TextKind:
		return strconv.Quote(v.Text)
	}
	return fmt.Sprintf("kind %d", v.Kind)
}

// check makes sure that equal values have equal fields.
func (v Value) check() error {
	switch {
	case v.Kind > TextKind:
		return invalid("there is no kind %d of value", v.Kind)
	case v.Kind != TextKind && v.Text != "", v.Kind == TextKind && v.Bits != 0,
		v.Kind == VoidKind && v.Bits != 0, v.Kind == BoolKind && v.Bits > 1:
		return invalid("a value of kind %d has fields of another kind: make values with Void, Bool, Int, Float and Text", v.Kind)
	}
	return nil
}

// Header is a header of a message, or an argument of a binding.
type Header struct {
	Name  string
	Value Value
}

// Float is the number that a value of FloatKind is.
func (v Value) Float() float64 { return math.Float64frombits(v.Bits) }
