package topology

import (
	"fmt"

	"github.com/troupestream/troupe/internal/codec"
)

// encoder returns how records of a type are rendered for dead letters: strings
// and bytes as they are, what can be stored as it is stored, and the rest, of
// which no exact form exists, as fmt prints it.
func encoder[T any]() func(T) []byte {
	switch f := any(new(func(T) []byte)).(type) {
	case *func(string) []byte:
		*f = func(v string) []byte { return []byte(v) }
		return any(*f).(func(T) []byte)
	case *func([]byte) []byte:
		*f = func(v []byte) []byte { return append([]byte{}, v...) }
		return any(*f).(func(T) []byte)
	}
	c := codec.For[T]()
	return func(v T) []byte {
		b, err := c.Append(nil, v)
		if err != nil {
			b = fmt.Appendf(nil, "%+v", v)
		}
		return b
	}
}
