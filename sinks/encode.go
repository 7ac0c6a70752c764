package sinks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/troupestream/troupe/internal/csvrow"
	"github.com/troupestream/troupe/internal/dataflow"
)

// format renders records. Each writer has its own.
type format[T any] struct {
	header []byte // what a file begins with
	// append appends a record with the end of its line. What is behind dst after
	// an error is of no account.
	append func(dst []byte, v *T) ([]byte, error)
}

// jsonFormat writes JSON without escaping HTML.
func jsonFormat[T any]() (format[T], error) {
	var scratch bytes.Buffer
	encoder := json.NewEncoder(&scratch)
	encoder.SetEscapeHTML(false)
	return format[T]{append: func(dst []byte, v *T) (grown []byte, err error) {
		defer dataflow.Recovered(&err) // of a type's own MarshalJSON, say
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
	appendRow := func(dst []byte, v *T) (grown []byte, err error) {
		defer dataflow.Recovered(&err)
		return w.Append(dst, v)
	}
	return format[T]{header: plan.AppendHeader(nil, w.Comma), append: appendRow}, nil
}

// unwritable is the error of a record that append has refused.
func unwritable(i int, where string, err error) error {
	return &dataflow.RecordError{Index: i, Where: where, Err: fmt.Errorf("the record cannot be encoded: %w", err), Stack: dataflow.StackOf(err)}
}
