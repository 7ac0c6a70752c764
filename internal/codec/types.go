package codec

import (
	"encoding"
	"fmt"
	"reflect"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// CheckType reports why For[T] could not bring values of T back as they were:
// a field that is not exported would be lost, an interface has no type to
// decode into, a channel or a function has no bytes. The error is an ErrType
// and says which field and what to do. Types that have their own form
// (EncodeMsgpack and DecodeMsgpack, or MarshalBinary and UnmarshalBinary, or
// MarshalText and UnmarshalText) are taken at their word.
func CheckType[T any]() error {
	_, err := inspect(reflect.TypeFor[T]())
	return err
}

// shape is what the codec must know about a type.
type shape struct {
	maps      bool    // holds maps, whose order must be settled
	times     bool    // holds times, whose location must be settled
	itemBytes uintptr // largest thing that one encoded value can make it allocate
	seen      map[reflect.Type]bool
}

func inspect(t reflect.Type) (shape, error) {
	s := shape{itemBytes: 16, seen: map[reflect.Type]bool{}}
	err := s.walk(t, t.String())
	return s, err
}

var timeType = reflect.TypeFor[time.Time]()

func (s *shape) walk(t reflect.Type, path string) error {
	if s.seen[t] {
		return nil
	}
	s.seen[t] = true
	if t == timeType {
		s.times = true
		return nil
	}
	if hasOwnForm(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.walkStruct(t, path)
	case reflect.Map:
		s.maps = true
		s.itemBytes = max(s.itemBytes, t.Key().Size()+t.Elem().Size())
		if err := s.walk(t.Key(), path+"'s key"); err != nil {
			return err
		}
		return s.walk(t.Elem(), path+"[]")
	case reflect.Slice, reflect.Pointer:
		s.itemBytes = max(s.itemBytes, t.Elem().Size())
		return s.walk(t.Elem(), path+"[]")
	case reflect.Array:
		return s.walk(t.Elem(), path+"[]")
	case reflect.Interface:
		return refuse(path, t, "an interface does not say what type to decode into: use a concrete type, or bring a codec")
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Uintptr, reflect.Complex64, reflect.Complex128:
		return refuse(path, t, "it has no binary form: leave it out with the tag `msgpack:\"-\"`, or bring a codec")
	}
	return nil
}

func (s *shape) walkStruct(t reflect.Type, path string) error {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("msgpack") == "-" || f.Name == "_" || f.Name == "_msgpack" {
			continue
		}
		at := path + "." + f.Name
		if !f.IsExported() && !(f.Anonymous && f.Type.Kind() == reflect.Struct) {
			return refuse(at, f.Type, "the field is not exported and would be lost: export it, leave it out with the tag `msgpack:\"-\"`, or bring a codec")
		}
		if err := s.walk(f.Type, at); err != nil {
			return err
		}
	}
	return nil
}

func refuse(path string, t reflect.Type, why string) error {
	return fmt.Errorf("%w: %s (%s): %s", ErrType, path, t, why)
}

// ownForms are the pairs of interfaces by which a type writes and reads itself.
var ownForms = [][2]reflect.Type{
	{reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder]()},
	{reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.Unmarshaler]()},
	{reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler]()},
	{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()},
}

func hasOwnForm(t reflect.Type) bool {
	if t == timeType || t.Kind() == reflect.Interface {
		return false
	}
	p := reflect.PointerTo(t)
	for _, form := range ownForms {
		if p.Implements(form[0]) && p.Implements(form[1]) {
			return true
		}
	}
	return false
}
