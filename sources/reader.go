package sources

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/topology"
)

// Reader reads the lines of a stream such as os.Stdin, as one split.
//
// It cannot be replayed: what was read is gone, and the records between the last
// checkpoint and a failure with it. So a job that resumes anywhere but exactly
// where the stream stands is refused. Use Lines for data that must not be lost.
//
// The stream is read only when records are wanted, 256 KiB ahead of them at
// most. A read that waits cannot be interrupted: when a job stops meanwhile,
// one goroutine stays until the read returns.
func Reader(r io.Reader, opts ...LinesOption) topology.Source[string] {
	return &readerSource{stream: &stream{r: r}, options: linesOptions(opts)}
}

type readerSource struct {
	stream  *stream
	options fileOptions
}

func (s *readerSource) Splits(context.Context) ([]string, error) {
	if err := s.options.check(); err != nil {
		return nil, err
	}
	return numbered(1), nil
}

func (s *readerSource) Open(_ context.Context, r topology.OpenRequest) (topology.SourceReader[string], error) {
	if err := s.options.check(); err != nil {
		return nil, err
	}
	if _, err := split(r.Split, 1); err != nil {
		return nil, err
	}
	if r.Start.Kind > dataflow.StartBeginning || r.Until != (topology.Until{}) {
		return nil, errors.New("a stream is read from where it stands to its end; it knows no other starts and ends")
	}
	scan, err := s.stream.take(s.options.maxLineBytes, r.Position)
	if err != nil {
		return nil, err
	}
	return &streamReader{stream: s.stream, scan: scan}, nil
}

// stream is what all readers of one io.Reader share: the lines that were read
// ahead survive a reader.
type stream struct {
	r io.Reader

	mu      sync.Mutex
	open    bool
	scan    *scanner
	pending chan chunk // of a read under way
}

type chunk struct {
	data []byte
	err  error
}

// take hands the stream to a reader that wants to begin at a position.
func (s *stream) take(maxLine int, position []byte) (*scanner, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		return nil, errors.New("the stream is being read already")
	}
	if s.scan == nil {
		s.scan = newScanner(maxLine, 0, s.fill)
	}
	if position != nil && !bytes.Equal(position, s.position()) {
		return nil, fmt.Errorf("the job resumes at byte %.20s of a stream that stands at byte %s, and a stream cannot be read twice; read a file with sources.Lines, or start the job afresh",
			position, s.position())
	}
	s.open = true
	return s.scan, nil
}

func (s *stream) position() []byte { return strconv.AppendInt(nil, s.scan.offset, 10) }

// fill reads in a goroutine, so that ctx can end the wait. A read that outlives
// its wait is picked up by the next.
func (s *stream) fill(ctx context.Context, p []byte) (int, error) {
	if s.pending == nil {
		s.pending = make(chan chunk, 1)
		go func(to chan<- chunk, buf []byte) {
			n, err := s.r.Read(buf)
			to <- chunk{buf[:n], err}
		}(s.pending, make([]byte, len(p)))
	}
	select {
	case c := <-s.pending:
		s.pending = nil
		return copy(p, c.data), c.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

type streamReader struct {
	stream *stream
	scan   *scanner
	ended  bool
	closed bool
}

// Read waits for the first line only: on a terminal, each line comes at once.
func (r *streamReader) Read(ctx context.Context, b *topology.Batch[string], max int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for n := 0; n < max && (n == 0 || r.scan.buffered()); n++ {
		rec, err := r.scan.next(ctx)
		switch {
		case err == ErrTooLong:
			return recordError("input", rec, tooLongError(r.scan.max))
		case err == io.EOF:
			r.ended = true
			return io.EOF
		case err == nil:
			b.Values = append(b.Values, string(rec.data))
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			return fmt.Errorf("the stream cannot be read: %w", err)
		}
	}
	return nil
}

func (r *streamReader) Position() []byte { return r.stream.position() }

func (r *streamReader) Lag() int64 {
	if r.ended {
		return 0
	}
	return -1
}

// Close gives the stream back. It does not close it.
func (r *streamReader) Close() error {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	if !r.closed {
		r.closed, r.stream.open = true, false
	}
	return nil
}
