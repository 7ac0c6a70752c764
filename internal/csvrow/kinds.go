package csvrow

import (
	"encoding"
	"reflect"
	"strconv"
	"time"
	"unsafe"
)

// basic returns the kind of strings, booleans and numbers, named types too:
// memory of one kind is laid out alike whatever its type is called.
func basic(k reflect.Kind) *kind {
	switch k {
	case reflect.String:
		return &kind{"a text", parseString, formatString}
	case reflect.Bool:
		return &kind{"a boolean (true or false)", parseBool, formatBool}
	case reflect.Int:
		return integer[int]()
	case reflect.Int8:
		return integer[int8]()
	case reflect.Int16:
		return integer[int16]()
	case reflect.Int32:
		return integer[int32]()
	case reflect.Int64:
		return integer[int64]()
	case reflect.Uint:
		return unsigned[uint]()
	case reflect.Uint8:
		return unsigned[uint8]()
	case reflect.Uint16:
		return unsigned[uint16]()
	case reflect.Uint32:
		return unsigned[uint32]()
	case reflect.Uint64:
		return unsigned[uint64]()
	case reflect.Float32:
		return float[float32]()
	case reflect.Float64:
		return float[float64]()
	default:
		return nil
	}
}

func parseString(p unsafe.Pointer, c []byte) error {
	*(*string)(p) = string(c)
	return nil
}

func formatString(p unsafe.Pointer, dst []byte) ([]byte, error) {
	return append(dst, *(*string)(p)...), nil
}

func parseBool(p unsafe.Pointer, c []byte) (err error) {
	*(*bool)(p), err = strconv.ParseBool(string(c))
	return err
}

func formatBool(p unsafe.Pointer, dst []byte) ([]byte, error) {
	return strconv.AppendBool(dst, *(*bool)(p)), nil
}

// The strings below do not escape into strconv, so the conversions do not allocate.

func integer[N int | int8 | int16 | int32 | int64]() *kind {
	bits := int(unsafe.Sizeof(N(0))) * 8
	return &kind{
		what: "an integer of " + strconv.Itoa(bits) + " bits",
		parse: func(p unsafe.Pointer, c []byte) error {
			n, err := strconv.ParseInt(unsafe.String(unsafe.SliceData(c), len(c)), 10, bits)
			*(*N)(p) = N(n)
			return detach(err)
		},
		format: func(p unsafe.Pointer, dst []byte) ([]byte, error) {
			return strconv.AppendInt(dst, int64(*(*N)(p)), 10), nil
		},
	}
}

func unsigned[N uint | uint8 | uint16 | uint32 | uint64]() *kind {
	bits := int(unsafe.Sizeof(N(0))) * 8
	return &kind{
		what: "an integer of " + strconv.Itoa(bits) + " bits without a sign",
		parse: func(p unsafe.Pointer, c []byte) error {
			n, err := strconv.ParseUint(unsafe.String(unsafe.SliceData(c), len(c)), 10, bits)
			*(*N)(p) = N(n)
			return detach(err)
		},
		format: func(p unsafe.Pointer, dst []byte) ([]byte, error) {
			return strconv.AppendUint(dst, uint64(*(*N)(p)), 10), nil
		},
	}
}

func float[N float32 | float64]() *kind {
	bits := int(unsafe.Sizeof(N(0))) * 8
	return &kind{
		what: "a number",
		parse: func(p unsafe.Pointer, c []byte) error {
			n, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(c), len(c)), bits)
			*(*N)(p) = N(n)
			return detach(err)
		},
		format: func(p unsafe.Pointer, dst []byte) ([]byte, error) {
			return strconv.AppendFloat(dst, float64(*(*N)(p)), 'g', -1, bits), nil
		},
	}
}

// detach keeps of a strconv error only its reason: the text in it may be
// memory that the next row overwrites.
func detach(err error) error {
	if e, ok := err.(*strconv.NumError); ok {
		return e.Err
	}
	return err
}

var duration = &kind{
	what: `a duration (as in "1m30s")`,
	parse: func(p unsafe.Pointer, c []byte) error {
		d, err := time.ParseDuration(string(c))
		*(*time.Duration)(p) = d
		return err
	},
	format: func(p unsafe.Pointer, dst []byte) ([]byte, error) {
		return append(dst, (*(*time.Duration)(p)).String()...), nil
	},
}

// text is the kind of types that know their text themselves, time.Time among them.
func text(t reflect.Type) *kind {
	return &kind{
		what: "a " + t.String(),
		parse: func(p unsafe.Pointer, c []byte) error {
			return reflect.NewAt(t, p).Interface().(encoding.TextUnmarshaler).UnmarshalText(c)
		},
		format: func(p unsafe.Pointer, dst []byte) ([]byte, error) {
			b, err := reflect.NewAt(t, p).Interface().(encoding.TextMarshaler).MarshalText()
			return append(dst, b...), err
		},
	}
}

func pointer(elem reflect.Type, k *kind) *kind {
	return &kind{
		what: k.what,
		parse: func(p unsafe.Pointer, c []byte) error {
			v := reflect.New(elem)
			if err := k.parse(v.UnsafePointer(), c); err != nil {
				return err
			}
			*(*unsafe.Pointer)(p) = v.UnsafePointer()
			return nil
		},
		format: func(p unsafe.Pointer, dst []byte) ([]byte, error) {
			if v := *(*unsafe.Pointer)(p); v != nil {
				return k.format(v, dst)
			}
			return dst, nil
		},
	}
}
