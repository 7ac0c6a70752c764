package codec

// At is the place of the record that Next will yield among the records of its batch:
// what RecordAt needs to read it again.
func (o *Batch) At() uint32 {
	if o.Info.Sparse {
		return uint32(o.pos) // what only a sparse batch has was read ahead
	}
	return uint32(o.pos + 1)
}

// Records returns the bytes of the records, uncompressed. They must not be changed.
func (o *Batch) Records() []byte { return o.b }

// RecordAt reads the record at a place that Batch.At gave, in what Batch.Records gave. It
// is false, and r of no use, if there is none. The slice of headers of r is used again;
// all the rest points into records.
func RecordAt(records []byte, at uint32, r *Record) bool {
	return uint64(at) < uint64(len(records)) && parseFields(records, int(at), r) >= 0
}

// BodyAt reads only the key and the value of the record at such a place: it allocates
// nothing.
func BodyAt(records []byte, at uint32) (key, value []byte, ok bool) {
	if uint64(at) >= uint64(len(records)) {
		return nil, nil, false
	}
	key, pos := shortBin(records, int(at))
	if pos < 0 {
		return nil, nil, false
	}
	value, pos = shortBin(records, pos)
	return key, value, pos >= 0
}
