package codec

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a Form. What lies deeper, or comes behind so many, is left open.
const (
	formDepth = 24
	formParts = 1000
)

// formOpen is the kind of what is not described: it goes with everything.
const formOpen = "open"

// Form describes what For stores of a type: enough to say whether what was stored of
// one type can be read as another. It is plain data, to be stored itself.
type Form struct {
	// Kind is bool, string, bytes, time, int8 to int64, uint8 to uint64, float32,
	// float64, pointer, list, array, map, struct, tuple (a struct stored by
	// position), own (the type writes itself) or
	// open (not described).
	Kind   string           `json:"kind"`
	Name   string           `json:"name,omitempty"` // of the Go type, of own
	Len    int              `json:"len,omitempty"`  // of an array, also one of bytes
	Fields map[string]*Form `json:"fields,omitempty"`
	Key    *Form            `json:"key,omitempty"`
	Elem   *Form            `json:"elem,omitempty"`
}

// FormOf describes T.
func FormOf[T any]() *Form {
	return (&former{within: map[reflect.Type]bool{}}).of(reflect.TypeFor[T]())
}

type former struct {
	within map[reflect.Type]bool // types that the one at hand is part of
	parts  int
}

func (d *former) of(t reflect.Type) *Form {
	d.parts++
	if d.within[t] || len(d.within) >= formDepth || d.parts > formParts {
		return &Form{Kind: formOpen}
	}
	if t == timeType {
		return &Form{Kind: "time"}
	}
	if hasOwnForm(t) {
		return &Form{Kind: "own", Name: t.String()}
	}
	d.within[t] = true
	defer delete(d.within, t)
	switch t.Kind() {
	case reflect.Int, reflect.Uint:
		return &Form{Kind: t.Kind().String() + strconv.Itoa(strconv.IntSize)}
	case reflect.Pointer:
		return &Form{Kind: "pointer", Elem: d.of(t.Elem())}
	case reflect.Slice, reflect.Array:
		return d.list(t)
	case reflect.Map:
		return &Form{Kind: "map", Key: d.of(t.Key()), Elem: d.of(t.Elem())}
	case reflect.Struct:
		f := &Form{Kind: "struct", Fields: map[string]*Form{}}
		if m, ok := t.FieldByName("_msgpack"); ok && strings.Contains(m.Tag.Get("msgpack"), "array") {
			f.Kind = "tuple"
		}
		d.fields(t, f.Fields)
		return f
	default:
		return &Form{Kind: t.Kind().String()}
	}
}

func (d *former) list(t reflect.Type) *Form {
	f := &Form{Kind: "list"}
	if t.Kind() == reflect.Array {
		f.Kind, f.Len = "array", t.Len()
	}
	if t.Elem().Kind() == reflect.Uint8 {
		f.Kind = "bytes"
		return f
	}
	f.Elem = d.of(t.Elem())
	return f
}

// fields adds the fields of a struct by the names they are stored by. Those of an
// embedded one are stored as if they were its own.
func (d *former) fields(t reflect.Type, into map[string]*Form) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("msgpack"), ",")
		if name == "-" || f.Name == "_" || f.Name == "_msgpack" {
			continue
		}
		embedded := f.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		plain := embedded.Kind() == reflect.Struct && embedded != timeType && !hasOwnForm(embedded) && !d.within[embedded]
		if name == "" && f.Anonymous && plain && options != "noinline" {
			inner := map[string]*Form{}
			d.within[embedded] = true
			d.fields(embedded, inner)
			delete(d.within, embedded)
			for name, form := range inner {
				if into[name] == nil {
					into[name] = form
				}
			}
			continue
		}
		into[cmp.Or(name, f.Name)] = d.of(f.Type)
	}
}

// Into says why what was stored of f could not be read as to without losing
// something; "" when it can. Fields may come and go, numbers of one kind may become
// wider, and what is no pointer may become one.
func (f *Form) Into(to *Form) string {
	path, why := f.into(to)
	if why != "" && path != "" {
		return fmt.Sprintf("%s %s", strings.TrimPrefix(path, "."), why)
	}
	return why
}

func (f *Form) into(to *Form) (path, why string) {
	switch {
	case f == nil || to == nil || f.Kind == formOpen || to.Kind == formOpen:
		return "", ""
	case to.Kind == "pointer":
		if f.Kind == "pointer" {
			f = f.Elem
		}
		return f.into(to.Elem)
	case wider(f.Kind, to.Kind):
		return "", ""
	case f.Kind == "tuple" && to.Kind == "tuple" && !f.Same(to):
		return "", "is stored by position, and its fields are others now"
	case f.Kind != to.Kind || f.Name != to.Name || f.Len != to.Len:
		return "", fmt.Sprintf("was %s and is %s", f, to)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Fields)) {
		if path, why := f.Fields[name].into(to.Fields[name]); why != "" {
			return "." + name + path, why
		}
	}
	if path, why := f.Key.into(to.Key); why != "" {
		return "[key]" + path, why
	}
	path, why = f.Elem.into(to.Elem)
	if why != "" {
		path = "[]" + path
	}
	return path, why
}

// wider says whether every number of one kind is one of the other.
func wider(from, to string) bool {
	was, bits := number(from)
	is, room := number(to)
	if was == "" || is == "" {
		return false
	}
	return was == is && bits <= room || was == "uint" && is == "int" && bits < room
}

// number takes the name of a kind of numbers apart.
func number(kind string) (class string, bits int) {
	for _, class := range []string{"int", "uint", "float"} {
		if size, ok := strings.CutPrefix(kind, class); ok {
			bits, _ := strconv.Atoi(size)
			return class, bits
		}
	}
	return "", 0
}

// Same says whether the forms are equal.
func (f *Form) Same(to *Form) bool {
	a, err := json.Marshal(f)
	b, err2 := json.Marshal(to)
	return err == nil && err2 == nil && bytes.Equal(a, b)
}

// String is what the form is called in errors.
func (f *Form) String() string {
	switch {
	case f.Kind == "own":
		return f.Name
	case f.Len > 0:
		return fmt.Sprintf("%s of %d", f.Kind, f.Len)
	case f.Kind == "pointer" && f.Elem != nil:
		return "*" + f.Elem.String()
	default:
		return f.Kind
	}
}
