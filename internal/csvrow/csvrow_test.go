package csvrow

import (
	"bytes"
	"encoding/csv"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// split cuts a text into rows and cells, as the source does.
func split(text []byte) (rows [][]string, err error) {
	row := Row{Comma: ','}
	for len(text) > 0 {
		n, _ := End(text, ',', Searched{})
		if n < 0 {
			n = len(text)
		}
		line := bytes.TrimSuffix(bytes.TrimSuffix(text[:n], []byte("\n")), []byte("\r"))
		text = text[n:]
		if len(line) == 0 {
			continue
		}
		if err := row.Split(line); err != nil {
			return rows, err
		}
		var cells []string
		for i := range row.Len() {
			cells = append(cells, string(row.Cell(i)))
		}
		rows = append(rows, cells)
	}
	return rows, nil
}

// Whatever encoding/csv writes, this package reads the same as it does.
func TestReadsWhatTheStandardLibraryWrites(t *testing.T) {
	cell := rapid.StringOf(rapid.SampledFrom([]rune("ab ,\"\n;é")))
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.SliceOfN(cell, 2, 4)).Draw(t, "rows")
		var text bytes.Buffer
		w := csv.NewWriter(&text)
		w.UseCRLF = rapid.Bool().Draw(t, "crlf")
		for _, row := range want {
			if err := w.Write(row); err != nil {
				t.Fatal(err)
			}
		}
		w.Flush()
		if w.UseCRLF {
			for _, row := range want {
				for i := range row {
					row[i] = strings.ReplaceAll(row[i], "\n", "\r\n")
				}
			}
		}
		got, err := split(text.Bytes())
		if err != nil || len(got) != len(want) {
			t.Fatalf("%q: %q, %v", text.String(), got, err)
		}
		for i := range got {
			if !slices.Equal(got[i], want[i]) {
				t.Fatalf("%q: row %d is %q, want %q", text.String(), i, got[i], want[i])
			}
		}
	})
}

type level uint8

type wide struct {
	Text   string  `csv:"the text"`
	Int    int64   `csv:"int"`
	Small  int8    `csv:"small"`
	Level  level   `csv:"level"`
	Float  float64 `csv:"float"`
	Single float32
	Flag   bool
	Took   time.Duration
	At     time.Time
	Maybe  *string `csv:"maybe"`
	Hidden int     `csv:"-"`
	lower  int     //lint:ignore U1000 that it is passed over is what is tested
}

// What is written comes back, through this package as through encoding/csv.
func TestRoundTrip(t *testing.T) {
	plan, err := NewPlan[wide]()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ab ,"\n;#\t\x27]*`)
		want := wide{
			Text: text.Draw(t, "text"), Int: rapid.Int64().Draw(t, "int"), Small: rapid.Int8().Draw(t, "small"),
			Level: level(rapid.Uint8().Draw(t, "level")), Float: rapid.Float64().Draw(t, "float"),
			Single: rapid.Float32().Draw(t, "single"), Flag: rapid.Bool().Draw(t, "flag"),
			Took: time.Duration(rapid.Int64().Draw(t, "took")), At: time.Unix(rapid.Int64Range(0, 1e10).Draw(t, "at"), 17).UTC(),
		}
		if s := text.Draw(t, "maybe"); s != "" {
			want.Maybe = &s
		}
		w := Writer[wide]{Plan: plan, Comma: ','}
		b, err := w.Append(plan.AppendHeader(nil, ','), &want)
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll(); err != nil || len(rows) != 2 {
			t.Fatalf("encoding/csv reads %q as %q, %v", b, rows, err)
		}
		if got := parseOne[wide](t, b); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q came back as %+v, want %+v", b, got, want)
		}
	})
}

type fataler interface {
	Helper()
	Fatal(...any)
}

// parseOne parses a header and one row.
func parseOne[T any](t fataler, b []byte) (v T) {
	t.Helper()
	plan, err := NewPlan[T]()
	if err != nil {
		t.Fatal(err)
	}
	n, _ := End(b, ',', Searched{})
	row := Row{Comma: ','}
	if err := row.Split(b[:n-1]); err != nil {
		t.Fatal(err)
	}
	if err := plan.Bind(&row, false); err != nil {
		t.Fatal(err)
	}
	if err := row.Split(bytes.TrimSuffix(b[n:], []byte("\n"))); err != nil {
		t.Fatal(err)
	}
	if err := plan.Parse(&row, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// An empty line is no row, so a row of one empty cell must not look like one.
func TestSingleEmptyCell(t *testing.T) {
	type single struct{ A string }
	plan, err := NewPlan[single]()
	if err != nil {
		t.Fatal(err)
	}
	w := Writer[single]{Plan: plan, Comma: ','}
	b, err := w.Append(nil, &single{})
	if err != nil || string(b) != "\"\"\n" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestEndGoesOnWhereItStopped(t *testing.T) {
	text := []byte("a,\"b\nc\"\"\n\",d\nnext")
	var s Searched
	for n := range text {
		end, at := End(text[:n], ',', s)
		if n >= 13 {
			if end != 13 {
				t.Fatalf("with %d bytes: the row ends at %d, want 13", n, end)
			}
			continue
		}
		if end != -1 {
			t.Fatalf("with %d bytes: the row ends at %d", n, end)
		}
		if want := n >= 3 && n < 10 && n != 7; at.Open(text[:n], ',') != want {
			t.Errorf("with %d bytes: inside quotes is %v, want %v", n, !want, want)
		}
		s = at
	}
}

// A quote where none should be costs its own line only.
func TestStrayQuotesEndNoLine(t *testing.T) {
	for _, text := range []string{"a\"b,c\n", "\"a\"b,c\n", "a,\"\"\"\",b\"\n", "\"a\" \"b\n"} {
		if n, _ := End([]byte(text+"more\n"), ',', Searched{}); n != len(text) {
			t.Errorf("%q ends at %d, want %d", text, n, len(text))
		}
	}
}

func TestSyntaxErrors(t *testing.T) {
	for text, want := range map[string]SyntaxError{
		`a"b`:           {Line: 0, Column: 2},
		`x,"open`:       {Line: 0, Column: 3},
		`"a"b,c`:        {Line: 0, Column: 4},
		"\"a\nb\",c\"d": {Line: 1, Column: 5},
	} {
		row := Row{Comma: ','}
		var got *SyntaxError
		if err := row.Split([]byte(text)); !errors.As(err, &got) {
			t.Errorf("%q: %v", text, err)
		} else if got.Line != want.Line || got.Column != want.Column || got.Msg == "" {
			t.Errorf("%q: at %d:%d, want %d:%d", text, got.Line, got.Column, want.Line, want.Column)
		}
	}
}

func TestPlansThatCannotBe(t *testing.T) {
	check := func(err error, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("the error %v does not say %q", err, part)
			}
		}
	}
	_, err := NewPlan[int]()
	check(err, "int", "need a struct")
	_, err = NewPlan[time.Time]()
	check(err, "need a struct")
	_, err = NewPlan[struct{ a int }]()
	check(err, "no exported field")
	_, err = NewPlan[struct {
		Bad  []int
		Pp   **int
		Opt  int `csv:"opt,omitempty"`
		A, B int `csv:"same"`
	}]()
	check(err, "field Bad", "field Pp", `option "omitempty"`, `column "same" is there twice`)
	_, err = NewPlan[struct{ level }]()
	check(err, "embedded")
	for _, c := range []rune{'"', '\n', 'é', 0} {
		check(CheckComma(c), "cannot separate")
	}
}

func TestErrorsDoNotKeepTheRow(t *testing.T) {
	type one struct{ N int8 }
	plan, err := NewPlan[one]()
	if err != nil {
		t.Fatal(err)
	}
	row := Row{Comma: ','}
	if err := errors.Join(row.Split([]byte("N")), plan.Bind(&row, false)); err != nil {
		t.Fatal(err)
	}
	src := []byte("300")
	if err := row.Split(src); err != nil {
		t.Fatal(err)
	}
	flaw := plan.Parse(&row, new(one))
	if err := row.Split([]byte("999")); err != nil {
		t.Fatal(err)
	}
	if want := `column "N": "300" does not fit an integer of 8 bits`; flaw == nil || flaw.Error() != want {
		t.Errorf("the error is %v, want %s", flaw, want)
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "a,b", `"a""b",c`, "\"a\nb\"", `a"b`, `"`, ",,"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		row := Row{Comma: ','}
		if err := row.Split(src); err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Column < 1 || syntax.Line < 0 {
				t.Fatalf("%v", err)
			}
			return
		}
		// Writing the cells again gives a row that reads the same.
		var again []byte
		var cells []string
		for i := range row.Len() {
			if i > 0 {
				again = append(again, ',')
			}
			cells = append(cells, string(row.Cell(i)))
			again = AppendCell(again, ',', row.Cell(i))
			if line, column := row.Pos(i); line < 0 || column < 1 {
				t.Fatalf("cell %d is at %d:%d", i, line, column)
			}
		}
		if err := row.Split(again); err != nil || row.Len() != len(cells) {
			t.Fatalf("%q: %v", again, err)
		}
		for i, c := range cells {
			if string(row.Cell(i)) != c {
				t.Fatalf("cell %d is %q, want %q", i, row.Cell(i), c)
			}
		}
	})
}
