package codec

import (
	"reflect"
	"time"
)

// utcOf returns a function that moves every time inside a value of type t to
// UTC, or nil when it holds none. The library gives times in the zone of the
// machine; a result that depends on that would change with the machine that
// resumes a job.
func utcOf(t reflect.Type, s shape) func(reflect.Value) {
	if !s.times {
		return nil
	}
	return func(v reflect.Value) { toUTC(v) }
}

func toUTC(v reflect.Value) {
	if v.Type() == timeType {
		v.Set(reflect.ValueOf(v.Interface().(time.Time).UTC()))
		return
	}
	if hasOwnForm(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			toUTC(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			// The exported fields of an embedded struct can be set even when
			// the struct itself is not exported.
			if f := v.Field(i); f.CanSet() || v.Type().Field(i).Anonymous {
				toUTC(f)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			toUTC(v.Index(i))
		}
	case reflect.Map:
		mapToUTC(v)
	}
}

// mapToUTC rebuilds the map: neither its keys nor its values can be set in place.
func mapToUTC(v reflect.Value) {
	if v.IsNil() {
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), v.Len())
	for it := v.MapRange(); it.Next(); {
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		key.Set(it.Key())
		value.Set(it.Value())
		toUTC(key)
		toUTC(value)
		out.SetMapIndex(key, value)
	}
	v.Set(out)
}
