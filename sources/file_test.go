package sources

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

func requireSays(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}

func TestLinesOfEveryKind(t *testing.T) {
	path := write(t, "mixed.txt", "\ufeffone\r\n\ntwo\rthree\nlast")
	got, flawed := readAll(t, Lines(path), topology.OpenRequest{Split: path})
	if want := []string{"one", "", "two\rthree", "last"}; !slices.Equal(got, want) || flawed != nil {
		t.Errorf("got %q and %v, want %q", got, flawed, want)
	}
	empty := write(t, "empty.txt", "")
	if got, _ := readAll(t, Lines(empty), topology.OpenRequest{Split: empty}); got != nil {
		t.Errorf("an empty file has %q", got)
	}
}

func TestStartsAndEnds(t *testing.T) {
	path := write(t, "abc.txt", "aa\nbb\ncc\n")
	for _, c := range []struct {
		start topology.Start
		until topology.Until
		want  string
	}{
		{topology.Start{}, topology.Until{}, "aa bb cc"},
		{topology.Start{Kind: dataflow.StartBeginning}, topology.Until{Offset: 6}, "aa bb"},
		{topology.Start{Kind: dataflow.StartOffset, Offset: 3}, topology.Until{Offset: 4}, "bb"},
		{topology.Start{Kind: dataflow.StartOffset, Offset: 4}, topology.Until{End: true}, "cc"},
		{topology.Start{Kind: dataflow.StartOffset, Offset: 9}, topology.Until{}, ""},
		{topology.Start{Kind: dataflow.StartEnd}, topology.Until{}, ""},
	} {
		got, _ := readAll(t, Lines(path), topology.OpenRequest{Split: path, Start: c.start, Until: c.until})
		if strings.Join(got, " ") != c.want {
			t.Errorf("from %+v until %+v: %q, want %q", c.start, c.until, got, c.want)
		}
	}
	for says, r := range map[string]topology.OpenRequest{
		"knows no times to start": {Split: path, Start: topology.Start{Kind: dataflow.StartTime}},
		"knows no times to read":  {Split: path, Until: topology.Until{Time: 1}},
		"cannot be read from":     {Split: path, Start: topology.Start{Kind: dataflow.StartOffset, Offset: 10}},
		"cannot end":              {Split: path, Until: topology.Until{Offset: -1}},
	} {
		requireSays(t, openError(t, Lines(path), r), path, says)
	}
}

// A file that grew goes on where it was read to; one that is another is refused.
func TestResumeChecksTheFile(t *testing.T) {
	text := strings.Repeat("some line of text\n", 200)
	path := write(t, "grown.txt", text)
	at := positionAfter(t, Lines(path), path, 150)
	resume := topology.OpenRequest{Split: path, Position: at}
	if err := os.WriteFile(path, []byte(text+"more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := readAll(t, Lines(path), resume); len(got) != 51 || got[50] != "more" {
		t.Errorf("read %d lines after resuming, want 51", len(got))
	}
	for says, other := range map[string]string{
		"has 17 bytes and had at least": "some line of text",
		"begins differently":            "x" + text[1:],
		"in front of byte":              text[:2500] + "x" + text[2501:],
	} {
		if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		requireSays(t, openError(t, Lines(path), resume), path, says, "put the old one back, or start the job afresh")
	}
	for _, p := range []string{"x", "{}", `{"line":0,"bytes":1}`, `{"line":1,"bytes":-1}`, `{"line":1,"bytes":1,"other":2}`} {
		requireSays(t, openError(t, Lines(path), topology.OpenRequest{Split: path, Position: []byte(p)}), path, "start the job afresh")
	}
}

func TestPathsThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	splitsError := func(s interface {
		Splits(context.Context) ([]string, error)
	}) string {
		_, err := s.Splits(t.Context())
		if err == nil {
			t.Fatal("no error")
		}
		return err.Error()
	}
	missing := filepath.Join(dir, "missing.txt")
	_, err := Lines(missing).Splits(t.Context())
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	requireSays(t, err.Error(), missing)
	if strings.Contains(err.Error(), "working directory") {
		t.Errorf("%v: %s does not depend on the working directory", err, missing)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	requireSays(t, splitsError(Lines("missing.txt")), `"missing.txt"`, here)
	requireSays(t, splitsError(Lines("[")), "not a valid file pattern")
	requireSays(t, splitsError(Lines(missing, MaxLineBytes(0))), "MaxLineBytes is 0")
	requireSays(t, splitsError(CSV[quakeRow](missing, Comma('é'))), "cannot separate")
	requireSays(t, splitsError(CSV[int](missing)), "need a struct")
	requireSays(t, openError(t, Lines(dir), topology.OpenRequest{Split: dir}), dir, "not a regular file")
	requireSays(t, openError(t, Lines(missing), topology.OpenRequest{Split: missing}), missing, "cannot be read")

	odd := filepath.Join(dir, "odd[1].txt")
	if err := os.WriteFile(odd, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Lines(odd).Splits(t.Context()); err != nil || !slices.Equal(got, []string{odd}) {
		t.Errorf("a file whose name looks like a pattern: %q, %v", got, err)
	}
}

type quakeRow struct {
	Net string  `csv:"net" json:"net"`
	Mag float64 `csv:"mag" json:"mag"`
	N   int8    `csv:"n,optional" json:"n"`
}

func TestCSVErrorsNameTheCell(t *testing.T) {
	path := write(t, "q.csv", strings.Join([]string{
		`mag,net,n`,
		`1.5,ak,1`,
		`strong,ak,1`, // line 3
		``,
		`2,"multi`,
		`line",300`, // line 5 and 6
		`2,us`,      // line 7
		`2,u"s,1`,   // line 8
		`3,us,`,
		`4,"open`, // line 10, does not end
		`5,hv,7`,
	}, "\n"))
	got, flawed := readAll(t, CSV[quakeRow](path), topology.OpenRequest{Split: path})
	if want := []quakeRow{{"ak", 1.5, 1}, {"us", 3, 0}, {"hv", 5, 7}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want := []struct{ where, says string }{
		{":3:1", `column "mag": "strong" is not a number`},
		{":6:7", `column "n": "300" does not fit an integer of 8 bits`},
		{":7", `the row has 2 cells and the header 3`},
		{":8:4", `a quote (")`},
		{":10:3", `does not end`},
	}
	if len(flawed) != len(want) {
		t.Fatalf("got the errors %v", flawed)
	}
	for i, f := range flawed {
		if f.Where != path+want[i].where {
			t.Errorf("error %d is at %s, want %s", i, f.Where, want[i].where)
		}
		requireSays(t, f.Error(), want[i].says)
		if len(f.Raw) == 0 {
			t.Errorf("error %d does not have the row", i)
		}
	}
}

func TestCSVHeaders(t *testing.T) {
	for text, says := range map[string]string{
		"":                 "is empty and should begin with a header",
		"net\n":            `column "mag" of sources.quakeRow is missing`,
		"net,mag,depth\n":  `column "depth" has no field`,
		"net,mag,net\n":    `column "net" is there twice`,
		"net,m\"ag\n":      `a quote (")`,
		"\"net,mag\n1,2\n": "does not end",
	} {
		path := write(t, "h.csv", text)
		requireSays(t, openError(t, CSV[quakeRow](path), topology.OpenRequest{Split: path}), path, says)
	}
	path := write(t, "x.csv", "\ufeffdepth;net;mag\n1;ak;2\n")
	got, flawed := readAll(t, CSV[quakeRow](path, IgnoreExtraColumns(), Comma(';')), topology.OpenRequest{Split: path})
	if len(got) != 1 || got[0] != (quakeRow{"ak", 2, 0}) || flawed != nil {
		t.Errorf("got %+v, %v", got, flawed)
	}
}

func TestNDJSONErrorsNameTheLine(t *testing.T) {
	path := write(t, "q.ndjson", strings.Join([]string{
		`{"net":"ak","mag":1}`,
		`{"net":"ak",`,
		`{"net":7,"mag":1}`,
		"\t",
		`{"net":"us","mag":2,"depth":3}`,
		`{"net":"hv"} {}`,
		"{\"net\":\"a\xff\"}",
	}, "\n"))
	got, flawed := readAll(t, NDJSON[quakeRow](path), topology.OpenRequest{Split: path})
	if len(got) != 2 || len(flawed) != 4 {
		t.Fatalf("got %+v and %v", got, flawed)
	}
	for i, where := range []string{":2:12", ":3:8", ":6:14", ":7:10"} {
		if flawed[i].Where != path+where {
			t.Errorf("error %d is %v, want it at %s", i, flawed[i], where)
		}
	}
	got, flawed = readAll(t, NDJSON[quakeRow](path, DisallowUnknown()), topology.OpenRequest{Split: path})
	if len(got) != 1 || len(flawed) != 5 {
		t.Fatalf("strictly: %+v and %v", got, flawed)
	}
	requireSays(t, flawed[2].Error(), ":5", `unknown field "depth"`)
	requireSays(t, flawed[3].Error(), ":6", "more follows")
}

func TestTooLongLineIsNamed(t *testing.T) {
	path := write(t, "long.txt", "ok\n"+strings.Repeat("x", 10_000)+"\nok\n")
	got, flawed := readAll(t, Lines(path, MaxLineBytes(100)), topology.OpenRequest{Split: path})
	if len(got) != 2 || len(flawed) != 1 {
		t.Fatalf("got %q and %v", got, flawed)
	}
	requireSays(t, flawed[0].Error(), path+":2", "exceeds MaxLineBytes (100)")
	if len(flawed[0].Raw) == 0 || len(flawed[0].Raw) > rawBytes {
		t.Errorf("the error shows %d bytes", len(flawed[0].Raw))
	}
}

// Lines that share a slab must not grow into each other.
func TestRawLinesAreApart(t *testing.T) {
	path := write(t, "raw.txt", "one\ntwo\nthree\n"+strings.Repeat("x", slabBytes)+"\nfour\n")
	got, _ := readAll(t, RawLines(path), topology.OpenRequest{Split: path})
	_ = append(got[0], "XXXX"...)
	if string(got[1]) != "two" || string(got[4]) != "four" || len(got[3]) != slabBytes {
		t.Errorf("got %.20q", got)
	}
}

func TestGeneratorKeepsItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := Generator(func(i int64) int64 { return i }, Rate(100), Splits(2), Count(61))
		r, err := src.Open(t.Context(), topology.OpenRequest{Split: "0"})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		b := new(topology.Batch[int64])
		for b.Len() < 11 {
			if err := r.Read(t.Context(), b, 100); err != nil {
				t.Fatal(err)
			}
		}
		// 50 a second for this split, the first at once.
		if took := time.Since(begin); took != 200*time.Millisecond {
			t.Errorf("11 records took %v, want 200ms", took)
		}
		if want := []int64{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20}; !slices.Equal(b.Values, want) {
			t.Errorf("got %d", b.Values)
		}
		if r.Lag() != 20 {
			t.Errorf("the lag is %d, want 20", r.Lag())
		}
		<-time.After(500 * time.Millisecond) // what came due meanwhile is made up for
		b.Reset()
		if err := r.Read(t.Context(), b, 100); err != nil || b.Len() != 20 {
			t.Errorf("after a pause: %d records, %v, want 20", b.Len(), err)
		}
	})
}

func TestGeneratorsThatCannotBe(t *testing.T) {
	f := func(i int64) int64 { return i }
	for says, src := range map[string]topology.Source[int64]{
		"Count is -1": Generator(f, Count(-1)), "Splits is 0": Generator(f, Splits(0)), "must be 1 to 65536": Generator(f, Splits(1<<30)), "function is nil": Generator[int64](nil), "Rate is -1": Generator(f, Rate(-1)),
	} {
		_, err := src.Splits(t.Context())
		if err == nil {
			t.Fatalf("no error that says %q", says)
		}
		requireSays(t, err.Error(), says)
	}
	requireSays(t, openError(t, Generator(f), topology.OpenRequest{Split: "0", Until: topology.Until{End: true}}), "endless")
	requireSays(t, openError(t, Generator(f), topology.OpenRequest{Split: "0", Start: topology.Start{Kind: dataflow.StartEnd}}), "no end")
	requireSays(t, openError(t, Slice(1, 2), topology.OpenRequest{Split: "0", Position: []byte("3")}), "it has 2 records and cannot be read from 3")
	requireSays(t, openError(t, Slice(1, 2), topology.OpenRequest{Split: "0", Position: []byte("x")}), "is not a number")
	requireSays(t, openError(t, Slice(1, 2), topology.OpenRequest{Split: "0", Until: topology.Until{Time: 1}}), "knows no times")
	got, _ := readAll(t, Slice(1, 2, 3), topology.OpenRequest{Split: "0", Start: topology.Start{Kind: dataflow.StartOffset, Offset: 1}, Until: topology.Until{Offset: 2}})
	if !slices.Equal(got, []int{2}) {
		t.Errorf("got %d", got)
	}
}

func TestReaderHasOneReader(t *testing.T) {
	src := Reader(strings.NewReader("a\nb\n"))
	r, err := src.Open(t.Context(), topology.OpenRequest{Split: "0"})
	if err != nil {
		t.Fatal(err)
	}
	requireSays(t, openError(t, src, topology.OpenRequest{Split: "0"}), "being read already")
	if err := r.Read(t.Context(), new(topology.Batch[string]), 1); err != nil {
		t.Fatal(err)
	}
	at := r.Position()
	r.Close()
	requireSays(t, openError(t, src, topology.OpenRequest{Split: "0", Position: []byte("0")}), "cannot be read twice")
	requireSays(t, openError(t, src, topology.OpenRequest{Split: "0", Until: topology.Until{End: true}}), "no other starts and ends")
	// Exactly where the stream stands, it can go on.
	got, _ := readAll(t, src, topology.OpenRequest{Split: "0", Position: at})
	if !slices.Equal(got, []string{"b"}) {
		t.Errorf("got %q", got)
	}
}
