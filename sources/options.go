package sources

import (
	"fmt"

	"github.com/troupestream/troupe/internal/csvrow"
)

// LinesOption is an option of Lines, RawLines, NumberedLines and Reader:
// MaxLineBytes.
type LinesOption interface{ lines(*fileOptions) }

// NDJSONOption is an option of NDJSON: MaxLineBytes, DisallowUnknown.
type NDJSONOption interface{ ndjson(*fileOptions) }

// CSVOption is an option of CSV: MaxLineBytes, Comma, IgnoreExtraColumns.
type CSVOption interface{ csv(*fileOptions) }

// FileOption is an option of every source that reads lines.
type FileOption interface {
	LinesOption
	NDJSONOption
	CSVOption
}

type fileOptions struct {
	maxLineBytes    int
	disallowUnknown bool
	ignoreExtra     bool
	comma           rune
}

func defaultFileOptions() fileOptions {
	return fileOptions{maxLineBytes: DefaultMaxLineBytes, comma: ','}
}

func (o *fileOptions) check() error {
	if o.maxLineBytes < 1 {
		return fmt.Errorf("the option MaxLineBytes is %d; it must be at least 1", o.maxLineBytes)
	}
	return csvrow.CheckComma(o.comma)
}

type anyFileOption func(*fileOptions)

func (f anyFileOption) lines(o *fileOptions)  { f(o) }
func (f anyFileOption) ndjson(o *fileOptions) { f(o) }
func (f anyFileOption) csv(o *fileOptions)    { f(o) }

// MaxLineBytes limits how long a line (of CSV: a row) may be, without its end.
// The default is DefaultMaxLineBytes, 1 MiB. A longer one is an error of that
// record; it is passed over in bounded memory.
func MaxLineBytes(n int) FileOption {
	return anyFileOption(func(o *fileOptions) { o.maxLineBytes = n })
}

type ndjsonOption func(*fileOptions)

func (f ndjsonOption) ndjson(o *fileOptions) { f(o) }

// DisallowUnknown makes a JSON object with a field that the type lacks an error
// of that record. Without it such fields are ignored.
func DisallowUnknown() NDJSONOption {
	return ndjsonOption(func(o *fileOptions) { o.disallowUnknown = true })
}

type csvOption func(*fileOptions)

func (f csvOption) csv(o *fileOptions) { f(o) }

// IgnoreExtraColumns accepts files with columns that the struct has no field
// for. Without it such a file is refused when it is opened.
func IgnoreExtraColumns() CSVOption {
	return csvOption(func(o *fileOptions) { o.ignoreExtra = true })
}

// Comma sets what stands between cells, as in ';' or '\t'. The default is ','.
func Comma(c rune) CSVOption {
	return csvOption(func(o *fileOptions) { o.comma = c })
}
