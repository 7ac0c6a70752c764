package sources

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// model is the naive cut of a text into lines.
func model(text string, max int) (lines []record, long []int64) {
	number := int64(0)
	for text != "" {
		number++
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		line = strings.TrimSuffix(line, "\r")
		if number == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if len(line) > max {
			long = append(long, number)
		} else {
			lines = append(lines, record{data: []byte(line), line: number})
		}
	}
	return lines, long
}

// flaky fails with an error that can be overcome every third time.
func flaky(r io.Reader) func(context.Context, []byte) (int, error) {
	n := 0
	return func(_ context.Context, p []byte) (int, error) {
		if n++; n%3 == 0 {
			return 0, errFlaky
		}
		return r.Read(p)
	}
}

var errFlaky = errors.New("try again")

// The scanner yields the lines of the model whatever the pieces are that it
// reads in, with errors in between, and its offsets are where the lines begin.
func TestScannerCutsLikeTheModel(t *testing.T) {
	piece := rapid.SampledFrom([]string{"\n", "\r\n", "a", "bb", "\r", "cccccccc", "ddddddddddddd", "\ufeff"})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(piece).Draw(t, "pieces"), "")
		max := rapid.IntRange(1, 12).Draw(t, "max")
		var r io.Reader = strings.NewReader(text)
		if rapid.Bool().Draw(t, "byte by byte") {
			r = iotest.OneByteReader(r)
		}
		s := newScanner(max, 0, flaky(r))
		s.chunk = rapid.IntRange(1, 20).Draw(t, "chunk")
		want, wantLong := model(text, max)
		for {
			begin := s.offset
			rec, err := s.next(t.Context())
			switch {
			case err == errFlaky:
				if s.offset != begin {
					t.Fatalf("an error moved the offset from %d to %d", begin, s.offset)
				}
				continue
			case err == io.EOF:
				if len(want) != 0 || len(wantLong) != 0 || s.offset != int64(len(text)) {
					t.Fatalf("ended at %d of %d with %d lines to go", s.offset, len(text), len(want)+len(wantLong))
				}
				return
			case err == ErrTooLong:
				if len(wantLong) == 0 || rec.line != wantLong[0] || !strings.HasPrefix(text[begin:], string(rec.data)) && begin > 0 {
					t.Fatalf("line %d is too long, want %d", rec.line, wantLong)
				}
				wantLong = wantLong[1:]
			case err != nil:
				t.Fatal(err)
			default:
				if len(want) == 0 || string(rec.data) != string(want[0].data) || rec.line != want[0].line {
					t.Fatalf("got line %d %q, want %+v", rec.line, rec.data, want)
				}
				want = want[1:]
			}
			if s.offset > 0 && s.offset < int64(len(text)) && text[s.offset-1] != '\n' {
				t.Fatalf("offset %d is not the beginning of a line", s.offset)
			}
		}
	})
}

func TestLongLinesTakeBoundedMemory(t *testing.T) {
	long := io.MultiReader(strings.NewReader("first\n"), io.LimitReader(zeros{}, 64<<20), strings.NewReader("\nlast"))
	s := newScanner(1000, 0, func(_ context.Context, p []byte) (int, error) { return long.Read(p) })
	s.chunk = 4096
	var got []string
	for {
		rec, err := s.next(t.Context())
		if err == io.EOF {
			break
		}
		got = append(got, string(rec.data[:min(5, len(rec.data))]))
		if len(s.buf) > 16<<10 || len(rec.data) > rawBytes {
			t.Fatalf("the buffer has %d bytes, the record %d", len(s.buf), len(rec.data))
		}
	}
	if want := []string{"first", "00000", "last"}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", got, want)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("0"), len(p))), nil }
