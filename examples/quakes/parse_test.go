package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupestream/troupe/sources"
)

func TestParse(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{`{"net":"ak","time":1517365101235,"mag":-0.3,"depth":-1.5}`, ""},
		{``, "it is not the JSON of an earthquake: it ends too early"},
		{`{"net":"ak",`, "it is not the JSON of an earthquake: it ends too early"},
		{`{"net":"ak"} x`, "more follows the JSON object"},
		{`quake`, "it is not the JSON of an earthquake: invalid character 'q' looking for beginning of value"},
		{`{"magnitude":3}`, `it is not the JSON of an earthquake: json: unknown field "magnitude"`},
		{`{"mag":"3"}`, "it is not the JSON of an earthquake: json: cannot unmarshal string into Go struct field feature.mag of type float64"},
		{`{"time":1.5}`, "it is not the JSON of an earthquake: json: cannot unmarshal number 1.5 into Go struct field feature.time of type int64"},
		{`{"time":0,"mag":1,"depth":1}`, "net must be 1 to 32 bytes long"},
		{`{"net":"` + strings.Repeat("n", 33) + `","time":0,"mag":1,"depth":1}`, "net must be 1 to 32 bytes long"},
		{`{"net":"ak","time":0,"mag":null,"depth":1}`, "time, mag and depth must be there and not null"},
		{`{"net":"ak","mag":1,"depth":1}`, "time, mag and depth must be there and not null"},
		{`{"net":"ak","time":0,"mag":1e308,"depth":1}`, "1e+308 is not a magnitude"},
		{`{"net":"ak","time":0,"mag":1,"depth":-1e308}`, "-1e+308 km is not a depth"},
		{`{"net":"ak","time":9223372036854775807,"mag":1,"depth":1}`, "time 9223372036854775807 is not in the years 1 to 9999"},
		{`null`, "net must be 1 to 32 bytes long"},
	} {
		_, err := parse(sources.Line{Number: 1, Text: test.line})
		if got := message(err); got != test.want {
			t.Errorf("%s\n got %s\nwant %s", test.line, got, test.want)
		}
	}
	q, err := parse(sources.Line{Number: 7, Text: `{"net":"ak","time":5,"mag":-0.3,"depth":-1.5}`})
	if err != nil || q.Net != "ak" || q.time().UnixMilli() != 5 || q.Mag != -0.3 || q.Depth != -1.5 || q.Line != 7 {
		t.Errorf("%+v %v", q, err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzParse: whatever a line holds, it is a quake or bad, and never a panic; a
// quake is one that the windows take.
func FuzzParse(f *testing.F) {
	f.Add(`{"net":"ak","time":1517365101235,"mag":2.3,"depth":0}`)
	f.Add(`{"net":"ak","time":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := parse(sources.Line{Number: 1, Text: text})
		if err == nil && (q.Net == "" || q.time().UTC().Year() > maxYear || len(q.Record) != len(text)) {
			t.Errorf("%q became %+v", text, q)
		}
	})
}

// Bad lines are kept with what is wrong with them, and cost nothing else.
func TestBadLines(t *testing.T) {
	dir := t.TempDir()
	good := `{"net":"ak","time":1517365101235,"mag":2.3,"depth":0}`
	in := filepath.Join(dir, "in")
	text := good + "\n" + `{"net":` + "\n\n" + strings.Repeat("x", 2<<20) + "\n\xff\n" + good
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, f := quakes(t, dir, in)
	want := `{"line":2,"error":"it is not the JSON of an earthquake: it ends too early","text":"{\"net\":"}
{"line":3,"error":"it is not the JSON of an earthquake: it ends too early","text":""}
{"line":4,"error":"the line is longer than 1048576 bytes","text":"` + strings.Repeat("x", 4096) + `"}
{"line":5,"error":"it is not the JSON of an earthquake: invalid character 'ÿ' looking for beginning of value","text":"\ufffd"}
`
	if f.bad != want {
		t.Errorf("got  %.600s\nwant %.600s", f.bad, want)
	}
	if onTime, late, bad := f.lines(); onTime != 2 || late != 0 || bad != 4 {
		t.Errorf("%d on time, %d late, %d bad", onTime, late, bad)
	}
}
