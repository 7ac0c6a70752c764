package sources

import "github.com/troupestream/troupe/topology"

// Lines reads text files line by line. The path may be a pattern, as in
// "logs/*.txt": then every file that matches is a split.
func Lines(path string, opts ...LinesOption) topology.Source[string] {
	return newLines(path, opts, parser[string]{parse: parseString})
}

// RawLines is Lines for those who work on bytes. The lines share memory in
// slabs of 64 KiB, which is never written again: they may be kept, but keeping
// one keeps its slab.
func RawLines(path string, opts ...LinesOption) topology.Source[[]byte] {
	s := newLines(path, opts, parser[[]byte]{})
	s.newParser = func(*fileOptions) (parser[[]byte], error) {
		return parser[[]byte]{parse: new(slab).parse}, nil
	}
	return s
}

// Line is a line of a file, and which one.
type Line struct {
	Number int64 // in its file, from 1
	Text   string
	// TooLong: the line exceeds MaxLineBytes, and Text is its first 4 KiB.
	TooLong bool
}

// NumberedLines is Lines for those who want to say later which line a record
// was. A line that is too long is a record too, and not an error.
func NumberedLines(path string, opts ...LinesOption) topology.Source[Line] {
	return newLines(path, opts, parser[Line]{parse: parseNumbered, takesLong: true})
}

func parseNumbered(rec record) (Line, bool, error) {
	return Line{Number: rec.line, Text: string(rec.data), TooLong: rec.long}, true, nil
}

func newLines[T any](path string, opts []LinesOption, p parser[T]) *fileSource[T] {
	s := &fileSource[T]{pattern: path, options: linesOptions(opts)}
	s.newParser = func(*fileOptions) (parser[T], error) { return p, nil }
	return s
}

func linesOptions(opts []LinesOption) fileOptions {
	o := defaultFileOptions()
	for _, opt := range opts {
		opt.lines(&o)
	}
	return o
}

func parseString(rec record) (string, bool, error) { return string(rec.data), true, nil }

const slabBytes = 64 << 10

// slab hands out copies of lines that lie one behind the other.
type slab struct{ free []byte }

func (s *slab) parse(rec record) ([]byte, bool, error) {
	data := rec.data
	if len(data) > slabBytes/4 {
		return append([]byte(nil), data...), true, nil
	}
	if len(data) > len(s.free) {
		s.free = make([]byte, slabBytes)
	}
	n := copy(s.free, data)
	line := s.free[:n:n]
	s.free = s.free[n:]
	return line, true, nil
}
