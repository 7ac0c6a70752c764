// Package keygroup maps keys to key groups, and key groups to tasks.
//
// A key group is the unit in which keyed state is stored, snapshot and moved.
// The number of groups is fixed for the life of a job; the number of tasks is
// not. Contiguous ranges of groups go to a task, as in Flink's
// KeyGroupRangeAssignment, so that a change of parallelism moves as few groups
// as possible and every task can say what it owns in two numbers.
package keygroup

// Default is the number of key groups of a job that does not say otherwise.
const Default = 128

// Max is the largest number of key groups a job may have.
const Max = 32768

// Of returns the group, 0 to groups-1, of a key with the given hash. It uses
// the upper half of the hash (multiply and shift, after Lemire, "Fast random
// integer generation in an interval", 2019); hash tables within a group use
// the lower half.
func Of(hash uint64, groups int) int {
	return int((hash >> 32) * uint64(groups) >> 32)
}

// Owner returns the task, 0 to tasks-1, that owns a group.
func Owner(group, groups, tasks int) int {
	return group * tasks / groups
}

// Range is a run of key groups: First up to, but without, End.
type Range struct{ First, End int }

// RangeOf returns the groups that a task owns. With more tasks than groups
// some tasks own none.
func RangeOf(task, groups, tasks int) Range {
	return Range{First: ceil(task*groups, tasks), End: ceil((task+1)*groups, tasks)}
}

// Contains says whether the range holds a group.
func (r Range) Contains(group int) bool { return group >= r.First && group < r.End }

// Len is the number of groups in the range.
func (r Range) Len() int { return r.End - r.First }

func ceil(a, b int) int { return (a + b - 1) / b }
