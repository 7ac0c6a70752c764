package sources

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

// NDJSON reads files with one JSON value per line, by encoding/json. The path
// may be a pattern, as in "logs/*.ndjson": then every file that matches is a
// split. Blank lines are left out. A line that is not JSON, or not UTF-8, or does not fit T, is
// an error of that record which names file, line and column; one on which T's own
// UnmarshalJSON fails or panics names file and line.
func NDJSON[T any](path string, opts ...NDJSONOption) topology.Source[T] {
	s := &fileSource[T]{pattern: path, options: defaultFileOptions(), newParser: newJSONParser[T]}
	for _, opt := range opts {
		opt.ndjson(&s.options)
	}
	return s
}

func newJSONParser[T any](o *fileOptions) (parser[T], error) {
	decode := func(data []byte, v *T) error { return json.Unmarshal(data, v) }
	if o.disallowUnknown {
		decode = decodeStrictly[T]
	}
	return parser[T]{parse: func(rec record) (v T, ok bool, err error) {
		defer dataflow.Recovered(&err) // of a type's own UnmarshalJSON, say
		if blank(rec.data) {
			return v, false, nil
		}
		if err := decode(rec.data, &v); err != nil {
			return v, false, jsonFlaw(rec.data, err)
		}
		if !utf8.Valid(rec.data) { // which encoding/json would make something else of
			return v, false, notText(rec.data)
		}
		return v, true, nil
	}}, nil
}

// notText finds the first byte that is not UTF-8.
func notText(data []byte) error {
	at := 0
	for at < len(data) {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return &flaw{column: at + 1, err: errors.New("JSON is UTF-8, and this byte is not")}
}

func blank(data []byte) bool {
	return len(data) == 0 || data[0] <= ' ' && len(bytes.TrimSpace(data)) == 0
}

func decodeStrictly[T any](data []byte, v *T) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more follows the JSON value")
	}
	return nil
}

// jsonFlaw finds out at which byte of the line JSON went wrong.
func jsonFlaw(data []byte, err error) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return &flaw{column: int(max(syntax.Offset, 1)), err: err}
	case errors.As(err, &mismatch):
		return &flaw{column: int(max(mismatch.Offset, 1)), err: err}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &flaw{column: max(len(data), 1), err: errors.New("the JSON value does not end")}
	}
	return err
}
