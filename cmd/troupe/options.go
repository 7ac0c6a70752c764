package main

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// changes are options that say what a configuration is to be like. Those that were given
// are applied in their order.
type changes[C any] []func(*C)

func (o *changes[C]) change(f func(*C)) { *o = append(*o, f) }

func (o changes[C]) applyTo(c *C) {
	for _, f := range o {
		f(c)
	}
}

// whole declares an option that is a whole number, of least or more.
func whole[C any](o *changes[C], f *flag.FlagSet, name, about string, least int64, set func(*C, int64)) {
	f.Func(name, about, func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < least {
			return fmt.Errorf("it must be a number of %d or more", least)
		}
		o.change(func(c *C) { set(c, n) })
		return nil
	})
}

// span declares an option that is a time.
func span[C any](o *changes[C], f *flag.FlagSet, name, about string, set func(*C, time.Duration)) {
	f.Func(name, about, func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("it must be a time such as 90s or 168h")
		}
		o.change(func(c *C) { set(c, d) })
		return nil
	})
}

// named declares an option that is one of some names.
func named[C, T any](o *changes[C], f *flag.FlagSet, name, about string, names map[string]T, set func(*C, T)) {
	all := strings.Join(slices.Sorted(maps.Keys(names)), ", ")
	f.Func(name, about+": "+all, func(text string) error {
		v, ok := names[text]
		if !ok {
			return fmt.Errorf("it must be one of %s", all)
		}
		o.change(func(c *C) { set(c, v) })
		return nil
	})
}

// word declares an option that is a text.
func word[C any](o *changes[C], f *flag.FlagSet, name, about string, set func(*C, string)) {
	f.Func(name, about, func(text string) error {
		o.change(func(c *C) { set(c, text) })
		return nil
	})
}

// onOff declares an option that is on or off.
func onOff[C any](o *changes[C], f *flag.FlagSet, name, about string, set func(*C, bool)) {
	f.BoolFunc(name, about, func(text string) error {
		on, err := strconv.ParseBool(text)
		o.change(func(c *C) { set(c, on) })
		return err
	})
}

// share declares an option that is a number, by a rule.
func share[C any](o *changes[C], f *flag.FlagSet, name, about, rule string, is func(float64) bool, set func(*C, float64)) {
	f.Func(name, about, func(text string) error {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !is(v) {
			return fmt.Errorf("it must be %s", rule)
		}
		o.change(func(c *C) { set(c, v) })
		return nil
	})
}

func nameOf[T comparable](names map[string]T, v T) string {
	for name, one := range names {
		if one == v {
			return name
		}
	}
	return "unknown"
}
