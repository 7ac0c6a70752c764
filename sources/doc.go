// Package sources holds the ends of a topology where data comes in.
//
//	source         a split is   its position is             replayable
//	Slice          a slice      the index of the next       yes
//	Lines          a file       byte, line, file identity   yes
//	RawLines       a file       byte, line, file identity   yes
//	NumberedLines  a file       byte, line, file identity   yes
//	NDJSON         a file       byte, line, file identity   yes
//	CSV            a file       byte, line, file identity   yes
//	Generator      a share      the index of the next       yes
//	Topic          a partition  the offset of the next      yes
//	Queue          the queue    what is not acknowledged    from the newest checkpoint
//	Reader         the stream   the byte                    no
//
// Records of one split come in order; splits are read independently of each
// other and their records interleave.
//
// # Files
//
// A source of files reads one file, or all that match a pattern as in
// path/filepath.Match; each file is a split. A file may grow between two runs,
// and be read up to any point, but what was read must stay: a job that resumes
// checks that the file is long enough, that its first 1024 bytes are those it
// has read, and so are the last 1024 in front of its position. A file that was
// truncated, replaced or rewritten is refused.
//
// Lines end in "\n" or "\r\n"; the last one may lack it. A byte order mark at
// the beginning is left out. A record that cannot be read (malformed, or longer
// than MaxLineBytes) is a topology.RecordError that names file and line; it is
// passed over, and the policy of the source decides what becomes of it.
//
// Starts and ends are byte offsets: reading begins with the first record that
// begins at the offset or behind it, and ends in front of the first one that
// begins at the limit or behind it. Files know no times.
//
// # Conformance
//
// Package sourcetest holds the suite that all of these pass, for sources of
// your own.
package sources
