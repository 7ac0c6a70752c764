package sources

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/filemark"
	"github.com/troupestream/troupe/topology"
)

// parser makes values of records. Each open split has its own.
type parser[T any] struct {
	// header takes the first record of a file; nil when files have no header.
	header func(data []byte) error
	// parse returns false for a record that is none, such as a blank line. The
	// data is valid during the call. The error may be a *flaw.
	parse func(rec record) (v T, ok bool, err error)
	// takesLong: lines that are too long are not errors, but for parse to see.
	takesLong bool
}

// flaw is an error that knows where in its record it is.
type flaw struct {
	line   int // counted from 0
	column int // byte of the line, counted from 1
	err    error
}

func (f *flaw) Error() string { return f.err.Error() }
func (f *flaw) Unwrap() error { return f.err }

// fileSource reads records from files, one split per file.
type fileSource[T any] struct {
	pattern   string
	options   fileOptions
	rows      bool
	newParser func(*fileOptions) (parser[T], error)
}

// Splits lists the files, sorted.
func (s *fileSource[T]) Splits(context.Context) ([]string, error) {
	if err := s.options.check(); err != nil {
		return nil, err
	}
	if _, err := s.newParser(&s.options); err != nil {
		return nil, err
	}
	// A file that exists is meant literally, even if its name looks like a pattern.
	if _, err := os.Stat(s.pattern); err == nil {
		return []string{filepath.Clean(s.pattern)}, nil
	}
	files, err := filepath.Glob(s.pattern)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is not a valid file pattern: %w", s.pattern, err)
	case len(files) == 0:
		return nil, s.missing()
	}
	slices.Sort(files)
	return files, nil
}

// missing says where a file was looked for that is not there.
func (s *fileSource[T]) missing() error {
	dir, err := os.Getwd()
	if filepath.IsAbs(s.pattern) || err != nil {
		return fmt.Errorf("there is no file %q: %w", s.pattern, fs.ErrNotExist)
	}
	return fmt.Errorf("there is no file %q in %s, the working directory: %w", s.pattern, dir, fs.ErrNotExist)
}

// Open opens one file.
func (s *fileSource[T]) Open(ctx context.Context, r topology.OpenRequest) (topology.SourceReader[T], error) {
	f, info, err := openRegular(r.Split)
	if err != nil {
		return nil, err
	}
	reader, err := s.open(ctx, f, info.Size(), r)
	if err != nil {
		f.Close()
		return nil, err
	}
	reader.done = filemark.Reading(info, r.Split)
	return reader, nil
}

func openRegular(path string) (*os.File, os.FileInfo, error) {
	// Looked at before it is opened: opening a named pipe would wait for a writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file; use sources.Reader for pipes and terminals", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	return f, info, nil
}

func (s *fileSource[T]) open(ctx context.Context, f *os.File, size int64, r topology.OpenRequest) (*fileReader[T], error) {
	if err := s.options.check(); err != nil {
		return nil, err
	}
	p, err := s.newParser(&s.options)
	if err != nil {
		return nil, err
	}
	fr := &fileReader[T]{file: f, parser: p}
	comma := byte(0)
	if s.rows {
		comma = byte(s.options.comma)
	}
	fr.scan = newScanner(s.options.maxLineBytes, comma, func(_ context.Context, b []byte) (int, error) { return f.Read(b) })
	if fr.until, err = limit(r.Until, size); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Split, err)
	}
	if err := fr.readHeader(ctx); err != nil {
		return nil, err
	}
	if r.Position != nil {
		return fr, fr.resume(r.Position, size)
	}
	return fr, fr.start(ctx, r.Start, size)
}

// limit is the byte in front of which reading ends.
func limit(u topology.Until, size int64) (int64, error) {
	if u.Time != 0 {
		return 0, errors.New("a file knows no times to read until; give an offset")
	}
	if u.Offset < 0 {
		return 0, fmt.Errorf("reading cannot end at offset %d", u.Offset)
	}
	until := int64(math.MaxInt64)
	if u.Offset > 0 {
		until = u.Offset
	}
	if u.End {
		until = min(until, size)
	}
	return until, nil
}

// fileReader reads one file.
type fileReader[T any] struct {
	file   *os.File
	scan   *scanner
	parser parser[T]
	until  int64
	ended  bool
	done   func() // it is not read any more
}

func (r *fileReader[T]) readHeader(ctx context.Context) error {
	if r.parser.header == nil {
		return nil
	}
	rec, err := r.scan.next(ctx)
	switch {
	case err == io.EOF:
		err = errors.New("the file is empty and should begin with a header")
	case err == ErrTooLong:
		err = tooLongError(r.scan.max)
	case err == nil:
		err = r.parser.header(rec.data)
	}
	if err != nil {
		return fmt.Errorf("the header of %s: %w", r.file.Name(), err)
	}
	return nil
}

func (r *fileReader[T]) start(ctx context.Context, s topology.Start, size int64) error {
	name := r.file.Name()
	switch s.Kind {
	case dataflow.StartDefault, dataflow.StartBeginning:
		return nil
	case dataflow.StartEnd:
		return r.skip(ctx, size)
	case dataflow.StartOffset:
		if s.Offset < 0 || s.Offset > size {
			return fmt.Errorf("%s has %d bytes and cannot be read from offset %d", name, size, s.Offset)
		}
		return r.skip(ctx, s.Offset)
	default:
		return fmt.Errorf("%s: a file knows no times to start at; give an offset, or start at the beginning", name)
	}
}

func (r *fileReader[T]) skip(ctx context.Context, to int64) error {
	if err := r.scan.skipTo(ctx, to); err != nil {
		return fmt.Errorf("%s: %w", r.file.Name(), err)
	}
	return nil
}

// position is where a file is to be read on.
type position struct {
	Line int64 `json:"line"`
	filemark.Mark
}

func (r *fileReader[T]) resume(encoded []byte, size int64) error {
	name := r.file.Name()
	var p position
	d := json.NewDecoder(bytes.NewReader(encoded))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil || p.Bytes < 0 || p.Line < 1 {
		return fmt.Errorf("the checkpoint's position in %s is not one of a file (%.100q); start the job afresh", name, encoded)
	}
	differs, err := p.Check(r.file, size)
	if err != nil {
		return fmt.Errorf("%s cannot be compared with the one that the checkpoint read: %w", name, err)
	}
	if differs != "" {
		return fmt.Errorf("%s is not the file that the checkpoint read, it %s: put the old one back, or start the job afresh", name, differs)
	}
	if _, err := r.file.Seek(p.Bytes, io.SeekStart); err != nil {
		return fmt.Errorf("%s cannot be read from byte %d: %w", name, p.Bytes, err)
	}
	r.scan.seek(p.Bytes, p.Line)
	return nil
}

// Read appends up to max records.
func (r *fileReader[T]) Read(ctx context.Context, b *topology.Batch[T], max int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	begin, full := b.Len(), b.Len()+max
	for from := r.scan.offset; b.Len() < full && r.scan.offset-from < batchBytes; {
		if r.scan.offset >= r.until {
			r.ended = true
			break
		}
		if err := r.one(ctx, b); err == io.EOF {
			r.ended = true
			break
		} else if err != nil {
			return err
		}
		if b.Len() == begin {
			from = r.scan.offset // nothing but blank lines yet
		}
	}
	if b.Len() > begin {
		return nil
	}
	return io.EOF
}

func (r *fileReader[T]) one(ctx context.Context, b *topology.Batch[T]) error {
	rec, ok := r.scan.quick()
	if !ok {
		var err error
		rec, err = r.scan.next(ctx)
		if rec.long = err == ErrTooLong; rec.long && !r.parser.takesLong {
			return r.flawed(rec, tooLongError(r.scan.max))
		}
		if err != nil && !rec.long {
			return err
		}
	}
	v, ok, err := r.parser.parse(rec)
	if err != nil {
		return r.flawed(rec, err)
	}
	if ok {
		b.Values = append(b.Values, v)
	}
	return nil
}

func (r *fileReader[T]) flawed(rec record, err error) error {
	return recordError(r.file.Name(), rec, err)
}

func recordError(name string, rec record, err error) error {
	where := fmt.Sprintf("%s:%d", name, rec.line)
	var f *flaw
	if errors.As(err, &f) {
		where = fmt.Sprintf("%s:%d:%d", name, rec.line+int64(f.line), f.column)
	}
	return &dataflow.RecordError{Raw: bytes.Clone(rec.data), Where: where, Err: err, Stack: dataflow.StackOf(err)}
}

// Position notes the byte and the line, and what the file looks like. If the
// file cannot be looked at any more, the position vouches for its length only:
// the next Read will meet the trouble.
func (r *fileReader[T]) Position() []byte {
	mark, _ := filemark.Of(r.file, r.scan.offset)
	b, _ := json.Marshal(position{Line: r.scan.line, Mark: mark}) // two numbers and two strings cannot fail
	return b
}

// Lag is 0 at the end and otherwise unknown.
func (r *fileReader[T]) Lag() int64 {
	if r.ended {
		return 0
	}
	return -1
}

// Close closes the file.
func (r *fileReader[T]) Close() error {
	r.done()
	return r.file.Close()
}
