package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/filemark"
	"github.com/troupestream/troupe/topology"
)

// bufferBytes is how much a sink gathers before it writes to its file: 256 KiB.
const bufferBytes = 256 << 10

// Lines writes each record as a line of a text file. A record that contains an
// end of line is an error of that record.
func Lines(path string) topology.Sink[string] {
	return &fileSink[string]{path: path, newFormat: lineFormat}
}

// JSONLines writes each record as a line of JSON, by encoding/json and without
// escaping HTML: fields come in the order of the struct. A record that JSON
// cannot express (NaN, a channel), or whose own MarshalJSON fails or panics, is
// an error of that record. Bytes of strings that are not UTF-8 become U+FFFD.
func JSONLines[T any](path string) topology.Sink[T] {
	return &fileSink[T]{path: path, newFormat: jsonFormat[T]}
}

// CSVOption is an option of CSV.
type CSVOption interface{ csv(*csvOptions) }

type csvOptions struct{ comma rune }

type csvOption func(*csvOptions)

func (f csvOption) csv(o *csvOptions) { f(o) }

// Comma sets what stands between cells, as in ';' or '\t'. The default is ','.
func Comma(c rune) CSVOption { return csvOption(func(o *csvOptions) { o.comma = c }) }

// CSV writes structs as rows of comma-separated values (RFC 4180) below a
// header. The columns are the exported fields in order, named by their csv tag
// or else by themselves; sources.CSV reads the same types and says which there
// are.
func CSV[T any](path string, opts ...CSVOption) topology.Sink[T] {
	o := csvOptions{comma: ','}
	for _, opt := range opts {
		opt.csv(&o)
	}
	return &fileSink[T]{path: path, newFormat: func() (format[T], error) { return csvFormat[T](o.comma) }}
}

type fileSink[T any] struct {
	path      string
	newFormat func() (format[T], error)
}

// Info promises effectively once, by one writer.
func (s *fileSink[T]) Info() topology.SinkInfo {
	return topology.SinkInfo{Guarantee: dataflow.EffectivelyOnce, MaxParallelism: 1}
}

// Open begins the file anew or continues it.
func (s *fileSink[T]) Open(_ context.Context, o topology.SinkOpen) (topology.SinkWriter[T], error) {
	at, resumed, err := s.committed(o)
	if err != nil {
		return nil, err
	}
	w, err := s.open(o, resumed)
	if err != nil {
		return nil, err
	}
	if err := w.begin(at, resumed); err != nil {
		w.letGo()
		return nil, err
	}
	return w, nil
}

// open opens the file and changes nothing in it.
func (s *fileSink[T]) open(o topology.SinkOpen, resumed bool) (*fileWriter[T], error) {
	f, err := s.newFormat()
	if err != nil {
		return nil, err
	}
	file, err := openOutput(s.path, resumed)
	if err != nil {
		return nil, err
	}
	claim, err := claimFile(file, owner{o.Job, o.Sink})
	if err != nil {
		file.Close()
		return nil, err
	}
	return &fileWriter[T]{file: file, format: f, claim: claim, path: s.path}, nil
}

// Check implements topology.SinkChecker. A file that is not there yet is not made.
func (s *fileSink[T]) Check(_ context.Context, o topology.SinkOpen) error {
	at, resumed, err := s.committed(o)
	if err != nil {
		return err
	}
	if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) && !resumed {
		if _, err := os.Stat(filepath.Dir(s.path)); errors.Is(err, fs.ErrNotExist) {
			return noDirectory(s.path)
		}
		_, err := s.newFormat()
		return err
	}
	w, err := s.open(o, resumed)
	if err != nil {
		return err
	}
	defer w.letGo()
	if resumed {
		return w.verify(at)
	}
	return nil
}

// committed returns the position of the checkpoint that the job resumes from,
// if there is one. It refuses what cannot be opened whatever the file is.
func (s *fileSink[T]) committed(o topology.SinkOpen) (at filemark.Mark, resumed bool, err error) {
	switch {
	case o.Tasks > 1:
		return at, false, fmt.Errorf("%s can have one writer and was opened for %d; set its parallelism to 1", s.path, o.Tasks)
	case s.path == "":
		return at, false, errors.New("it has no path; give the path of the file to write")
	case !o.Resumed || len(o.States) == 0:
		return at, false, nil
	}
	d := json.NewDecoder(bytes.NewReader(o.States[0]))
	d.DisallowUnknownFields()
	if err := d.Decode(&at); err != nil || len(o.States) > 1 || at.Bytes < 0 {
		return at, false, fmt.Errorf("the checkpoint does not hold the position of one file for %s (%d states, the first is %.100q); start the job afresh",
			s.path, len(o.States), o.States[0])
	}
	return at, true, nil
}

// openOutput opens the file without changing it. A file that should be resumed
// must exist.
func openOutput(path string, resumed bool) (*os.File, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file; give the path of a file, or use sinks.Writer for pipes and terminals", path)
	case errors.Is(err, fs.ErrNotExist) && resumed:
		return nil, fmt.Errorf("%s is gone, which the checkpoint continues: put it back, or start the job afresh: %w", path, fs.ErrNotExist)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noDirectory(path)
	}
	if err != nil {
		return nil, fmt.Errorf("the file cannot be written: %w", err)
	}
	return f, nil
}

func noDirectory(path string) error {
	return fmt.Errorf("%s cannot be created because its directory does not exist; create %s first: %w", path, filepath.Dir(path), fs.ErrNotExist)
}

// fileWriter writes one file. After a failed write it stays failed: what is in
// the file behind the last checkpoint is unknown then.
type fileWriter[T any] struct {
	file   *os.File
	path   string
	format format[T]
	claim  *claim
	buf    []byte
	size   int64 // bytes of the file, without buf
	failed error
	closed bool
}

func (w *fileWriter[T]) begin(at filemark.Mark, resumed bool) error {
	if resumed {
		if err := w.verify(at); err != nil {
			return err
		}
	}
	w.size = at.Bytes
	if err := w.file.Truncate(at.Bytes); err != nil {
		return fmt.Errorf("%s cannot be cut to %d bytes: %w", w.path, at.Bytes, err)
	}
	if _, err := w.file.Seek(at.Bytes, io.SeekStart); err != nil {
		return fmt.Errorf("%s cannot be written from byte %d: %w", w.path, at.Bytes, err)
	}
	if resumed {
		return nil
	}
	w.buf = append(w.buf, w.format.header...)
	return syncDir(filepath.Dir(w.path))
}

// letGo closes a file that nothing was written to.
func (w *fileWriter[T]) letGo() {
	w.claim.release()
	w.file.Close()
}

func (w *fileWriter[T]) verify(at filemark.Mark) error {
	info, err := w.file.Stat()
	if err != nil {
		return fmt.Errorf("%s cannot be examined: %w", w.path, err)
	}
	differs, err := at.Check(w.file, info.Size())
	if err != nil {
		return fmt.Errorf("%s cannot be compared with what the checkpoint wrote: %w", w.path, err)
	}
	if differs != "" {
		return fmt.Errorf("%s is not the file that the checkpoint wrote, it %s: put the old one back, or start the job afresh", w.path, differs)
	}
	return nil
}

// syncDir makes a new file's name durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("directory %s cannot be synced: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("directory %s cannot be synced: %w", dir, err)
	}
	return nil
}

// Write encodes the batch into the buffer, and writes the buffer when it is full.
func (w *fileWriter[T]) Write(ctx context.Context, b *topology.Batch[T]) error {
	if err := w.usable(ctx); err != nil {
		return err
	}
	for i := range b.Values {
		grown, err := w.format.append(w.buf, &b.Values[i])
		if err != nil {
			return unwritable(i, w.path, err)
		}
		w.buf = grown
		if len(w.buf) >= bufferBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *fileWriter[T]) usable(ctx context.Context) error {
	switch {
	case w.closed:
		return fmt.Errorf("%s: the sink is closed", w.path)
	case w.failed != nil:
		return w.failed
	case !w.claim.held():
		return fmt.Errorf("%s is written by a newer start of the job", w.path)
	}
	return ctx.Err()
}

func (w *fileWriter[T]) flush() error {
	n, err := w.file.Write(w.buf)
	w.size += int64(n)
	w.buf = w.buf[:0]
	if cap(w.buf) > 4*bufferBytes {
		w.buf = nil // one huge record is no reason to keep its memory
	}
	return w.fail(err)
}

func (w *fileWriter[T]) fail(err error) error {
	if err == nil {
		return nil
	}
	w.failed = fmt.Errorf("%s cannot be written, and what came since the last checkpoint is not committed: %w", w.path, err)
	return w.failed
}

// Prepare puts everything on disk and returns the length of the file.
func (w *fileWriter[T]) Prepare(ctx context.Context, _ uint64) ([]byte, error) {
	if err := w.usable(ctx); err != nil {
		return nil, err
	}
	if err := w.flush(); err != nil {
		return nil, err
	}
	if err := w.fail(w.file.Sync()); err != nil {
		return nil, err
	}
	mark, err := filemark.Of(w.file, w.size)
	if err != nil {
		return nil, w.fail(err)
	}
	return json.Marshal(mark)
}

// Commit has nothing to do: Prepare did it.
func (w *fileWriter[T]) Commit(context.Context, uint64) error { return nil }

// Close writes what is buffered, unless a newer writer has taken over.
func (w *fileWriter[T]) Close() error {
	if w.closed {
		return nil
	}
	var err error
	if w.failed == nil && w.claim.held() {
		err = w.flush()
	}
	w.closed = true
	w.claim.release()
	return errors.Join(err, w.file.Close())
}
