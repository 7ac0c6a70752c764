package sinks

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/troupestream/troupe/internal/csvrow"
)

// format renders records. Each writer has its own.
type format[T any] struct {
	header []byte // what a file begins with
	// append appends a record with the end of its line, or returns dst as it was.
	append func(dst []byte, v *T) ([]byte, error)
}

// jsonFormat writes JSON without escaping HTML.
func jsonFormat[T any]() (format[T], error) {
	var scratch bytes.Buffer
	encoder := json.NewEncoder(&scratch)
	encoder.SetEscapeHTML(false)
	return format[T]{append: func(dst []byte, v *T) ([]byte, error) {
		scratch.Reset()
		if err := encoder.Encode(v); err != nil {
			return dst, err
		}
		return append(dst, scratch.Bytes()...), nil
	}}, nil
}

func lineFormat() (format[string], error) {
	return format[string]{append: func(dst []byte, v *string) ([]byte, error) {
		if strings.ContainsAny(*v, "\r\n") {
			return dst, errors.New("the record contains an end of line and would become several lines; use JSONLines or CSV for such text")
		}
		return append(append(dst, *v...), '\n'), nil
	}}, nil
}

func csvFormat[T any](comma rune) (format[T], error) {
	if err := csvrow.CheckComma(comma); err != nil {
		return format[T]{}, err
	}
	plan, err := csvrow.NewPlan[T]()
	if err != nil {
		return format[T]{}, err
	}
	w := &csvrow.Writer[T]{Plan: plan, Comma: byte(comma)}
	return format[T]{header: plan.AppendHeader(nil, w.Comma), append: w.Append}, nil
}
