package sources

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/troupestream/troupe/internal/csvrow"
)

// Limits of everything that reads lines.
const (
	// DefaultMaxLineBytes is how long a line may be, without its end: 1 MiB.
	DefaultMaxLineBytes = 1 << 20
	// chunkBytes is how much is asked of a file at once.
	chunkBytes = 256 << 10
	// batchBytes ends a batch early, so that long lines do not add up.
	batchBytes = 1 << 20
	// rawBytes is how much of a line that is too long its error shows.
	rawBytes = 4 << 10
)

// bom is the byte order mark that some programs put at the beginning of a file.
const bom = "\ufeff"

// ErrTooLong: a line, or a row of CSV, exceeds MaxLineBytes. Test for it with
// errors.Is.
var ErrTooLong = errors.New("the line is too long")

// scanner cuts a stream of bytes into records: lines, or rows of CSV, which may
// hold newlines in quotes. It knows at which byte and line it is, and keeps at
// most one record and one chunk in memory.
type scanner struct {
	fill  func(ctx context.Context, p []byte) (int, error)
	max   int
	chunk int
	comma byte // between the cells of rows, where newlines in quotes end nothing; 0: lines

	buf      []byte
	r, w     int // buf[r:w] is not consumed yet
	searched int // bytes of buf[r:w] known to hold no end of a line
	quotes   csvrow.Searched
	offset   int64 // of buf[r] in the stream
	line     int64 // number of the line that begins at buf[r], from 1
	ended    bool

	skipping bool   // inside a line that is too long
	skipped  int64  // bytes of it
	begin    []byte // its first bytes
}

// record is one record of a scanner; its bytes are valid until the next call.
type record struct {
	data []byte // without the end of the line
	line int64  // where it began
	long bool   // it exceeds the limit, and data is how it begins
}

func newScanner(max int, comma byte, fill func(context.Context, []byte) (int, error)) *scanner {
	return &scanner{fill: fill, max: max, chunk: chunkBytes, comma: comma, line: 1}
}

// next returns the next record. ErrTooLong: the record begins with rec.data,
// and has been passed over. Other errors leave the scanner where it was, and
// the call can be repeated.
func (s *scanner) next(ctx context.Context) (rec record, err error) {
	if s.skipping {
		return s.skip(ctx)
	}
	for {
		n := s.find()
		if n >= 0 {
			return s.take(n)
		}
		if s.w-s.r > s.max+len(bom+"\r\n") {
			return s.tooLong(ctx)
		}
		if s.ended {
			return s.last()
		}
		if err := s.more(ctx); err != nil {
			return rec, err
		}
	}
}

// quick is next for the common case: a line that is short enough and lies in the
// buffer to its end. Otherwise it returns false and changes nothing.
func (s *scanner) quick() (rec record, ok bool) {
	b := s.buf[s.r:s.w]
	if s.comma != 0 || s.searched != 0 || s.offset == 0 || s.skipping {
		return rec, false
	}
	n := bytes.IndexByte(b, '\n')
	if n < 0 || n > s.max {
		return rec, false
	}
	rec.data, rec.line = b[:n], s.line
	if n > 0 && b[n-1] == '\r' {
		rec.data = b[:n-1]
	}
	s.r += n + 1
	s.offset += int64(n) + 1
	s.line++
	return rec, true
}

// buffered says whether next would return without asking for more bytes.
func (s *scanner) buffered() bool { return s.find() >= 0 }

// find returns the length of the record at hand with its newline, or -1.
func (s *scanner) find() int {
	if s.comma != 0 {
		n, at := csvrow.End(s.buf[s.r:s.w], s.comma, s.quotes)
		if n < 0 {
			s.quotes = at
		}
		return n
	}
	if i := bytes.IndexByte(s.buf[s.r+s.searched:s.w], '\n'); i >= 0 {
		return s.searched + i + 1
	}
	s.searched = s.w - s.r
	return -1
}

// take consumes n bytes: a record and the end of its line.
func (s *scanner) take(n int) (record, error) {
	rec := record{data: trimEnd(s.buf[s.r : s.r+n]), line: s.line}
	if s.offset == 0 {
		rec.data = bytes.TrimPrefix(rec.data, []byte(bom))
	}
	s.consume(n)
	if len(rec.data) > s.max {
		rec.data = rec.data[:min(rawBytes, len(rec.data))]
		return rec, ErrTooLong
	}
	return rec, nil
}

func (s *scanner) consume(n int) {
	s.line++
	if s.comma != 0 {
		s.line += int64(bytes.Count(s.buf[s.r:s.r+n-1], []byte{'\n'}))
	}
	s.r += n
	s.offset += int64(n)
	s.searched, s.quotes = 0, csvrow.Searched{}
}

// last returns what stands behind the last newline.
func (s *scanner) last() (record, error) {
	if s.r == s.w {
		return record{}, io.EOF
	}
	if s.comma != 0 && s.quotes.Open(s.buf[s.r:s.w], s.comma) {
		return s.firstLine()
	}
	return s.take(s.w - s.r)
}

// firstLine gives up the idea that the quotes of the row at hand will close,
// and takes its first line only: one stray quote does not cost the whole file.
func (s *scanner) firstLine() (record, error) {
	n := s.w - s.r
	if i := bytes.IndexByte(s.buf[s.r:s.w], '\n'); i >= 0 {
		n = i + 1
	}
	return s.take(n)
}

// tooLong passes over a line that does not fit, in memory that does not grow.
// The position moves only when the end of the line is found: until then it can
// be interrupted, and goes on at the next call.
func (s *scanner) tooLong(ctx context.Context) (record, error) {
	if s.comma != 0 && bytes.IndexByte(s.buf[s.r:s.w], '\n') >= 0 {
		return s.firstLine()
	}
	s.skipping = true
	s.begin = bytes.Clone(s.buf[s.r : s.r+min(rawBytes, s.w-s.r)])
	return s.skip(ctx)
}

func (s *scanner) skip(ctx context.Context) (record, error) {
	for {
		n := s.w - s.r
		if i := bytes.IndexByte(s.buf[s.r:s.w], '\n'); i >= 0 {
			n = i + 1
		}
		s.r += n
		s.skipped += int64(n)
		if s.r < s.w || s.ended || n > 0 && s.buf[s.r-1] == '\n' {
			break
		}
		if err := s.more(ctx); err != nil {
			return record{}, err
		}
	}
	rec := record{data: s.begin, line: s.line}
	s.line++
	s.offset += s.skipped
	s.skipping, s.skipped, s.begin = false, 0, nil
	s.searched, s.quotes = 0, csvrow.Searched{}
	return rec, ErrTooLong
}

// seek moves to another position. The caller moves what fill reads from.
func (s *scanner) seek(offset, line int64) {
	*s = scanner{fill: s.fill, max: s.max, chunk: s.chunk, comma: s.comma, buf: s.buf, offset: offset, line: line}
}

// more reads one chunk behind what is buffered.
func (s *scanner) more(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.r > 0 {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	if len(s.buf)-s.w < s.chunk {
		grown := make([]byte, max(2*len(s.buf), s.w+s.chunk))
		copy(grown, s.buf[:s.w])
		s.buf = grown
	}
	n, err := s.fill(ctx, s.buf[s.w:s.w+s.chunk])
	s.w += n
	if err == io.EOF {
		s.ended = true
		return nil
	}
	return err
}

// skipTo consumes records until one begins at byte offset or behind it.
func (s *scanner) skipTo(ctx context.Context, offset int64) error {
	for s.offset < offset {
		_, err := s.next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil && err != ErrTooLong {
			return err
		}
	}
	return nil
}

func trimEnd(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return b
}

func tooLongError(max int) error {
	return fmt.Errorf("%w: it exceeds MaxLineBytes (%d); raise the limit if such lines are meant to be read", ErrTooLong, max)
}
