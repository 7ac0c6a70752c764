package actor

// page is a decoded batch of a log: immutable once made, shared by all.
type page struct {
	log       uint32 // id of the log
	base, end uint64 // the offsets that it covers
}
