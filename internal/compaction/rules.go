package compaction

import "math"

// NoTime is the time of what has none.
const NoTime = int64(math.MinInt64)

// Record is what the decision about a record depends on.
type Record struct {
	Key       []byte // nil: it has none, and no other replaces it
	Tombstone bool   // it deletes its key
	Offset    uint64
	Appended  int64 // Unix milliseconds
	Compacted int64 // when the tombstone was first part of a compacted log in force; NoTime: not known
}

// Rules decide what of a log goes into its next compacted log. That log is made
// of the one before, in which every key has at most one record, and of the part
// of the log behind it that Keys has seen as a whole.
type Rules struct {
	Keys *Keys
	// Low is the offset below which everything was trimmed.
	Low uint64
	// Oldest is the append time below which nothing is kept; NoTime: all is.
	Oldest int64
	// Former is when the compacted log before this came into force: for its
	// tombstones without a time it is theirs. From then on no reader has seen the
	// values that they have replaced.
	Former int64
	// Expired is the time at or below which a tombstone has stood long enough.
	Expired int64
}

// OfFormer decides about a record of the compacted log before. The time that a
// tombstone is to be stamped with is returned; NoTime for what is none.
func (r *Rules) OfFormer(rec *Record) (keep bool, compacted int64) {
	if !r.keeps(rec) {
		return false, NoTime
	}
	if !rec.Tombstone || rec.Key == nil {
		return true, NoTime
	}
	if compacted = rec.Compacted; compacted == NoTime {
		compacted = r.Former
	}
	return compacted > r.Expired, compacted
}

// OfHead decides about a record of the part behind it. Its tombstones stay: the
// values before them are what readers still see.
func (r *Rules) OfHead(rec *Record) bool { return r.keeps(rec) }

func (r *Rules) keeps(rec *Record) bool {
	return rec.Offset >= r.Low && (r.Oldest == NoTime || rec.Appended >= r.Oldest) &&
		(rec.Key == nil || !r.Keys.superseded(rec.Key, rec.Offset))
}
