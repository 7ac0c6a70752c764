package codec

import goruntime "runtime"

// allocatedBy returns how many bytes f allocates. The count is of the whole
// process: callers leave room for what else runs.
func allocatedBy(f func()) uint64 {
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	f()
	goruntime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
