package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// printJSON prints a value on one line.
func (s *session) printJSON(v any) error {
	e := json.NewEncoder(s.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows in columns. The first row is the head.
func table(out io.Writer, rows ...[]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// row makes a row of what there is.
func row(cells ...any) []string {
	all := make([]string, len(cells))
	for i, c := range cells {
		if all[i] = fmt.Sprint(c); all[i] == "" {
			all[i] = "-"
		}
	}
	return all
}

// clock is a time of the log, in Unix ms; "" when there is none.
func clock(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// text is bytes for people: as they are if they can be shown on one line, else
// quoted.
func text(b []byte) string {
	s := string(b)
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) && r != '\t' {
			return strconv.Quote(s)
		}
	}
	return s
}

// stringOf is bytes for programs: a string if they are one, else only Base64, and
// neither if there are none.
func stringOf(b []byte) (s *string, base64 []byte) {
	switch text := string(b); {
	case b == nil:
		return nil, nil
	case utf8.ValidString(text):
		return &text, nil
	}
	return nil, b
}

// seconds is a duration for programs.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// count is "1 record", "2 records".
func count[N int | uint64](n N) string {
	if n == 1 {
		return "1 record"
	}
	return fmt.Sprintf("%d records", n)
}
