// Package measure compares variants of a job fairly on a machine that others
// use too.
//
// Before each run it waits for a quiet moment. Variants run in turns, forwards
// and then backwards (A B B A), so that what drifts hits all of them; a ratio
// is always that of two runs of one round, and what is reported is the median
// of these ratios with its quartiles. Beside the wall clock stands the
// processor time, which is the steadier figure. A time counts only after the
// run's result was checked.
package measure
