package measure

import (
	"slices"
	"time"
)

// Quartiles describe a handful of figures.
type Quartiles struct{ Min, Low, Median, High, Max float64 }

// QuartilesOf interpolates between neighbours, as spreadsheets do. All are 0
// when there are no figures.
func QuartilesOf(figures []float64) Quartiles {
	if len(figures) == 0 {
		return Quartiles{}
	}
	s := slices.Sorted(slices.Values(figures))
	return Quartiles{Min: s[0], Low: quantile(s, 0.25), Median: quantile(s, 0.5), High: quantile(s, 0.75), Max: s[len(s)-1]}
}

func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// Percentile returns the p-th percentile (0 to 100) of durations: the lowest
// one that at least p percent do not exceed. 0 when there are none.
func Percentile(durations []time.Duration, p float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(durations))
	rank := int(p / 100 * float64(len(s)))
	if float64(rank) < p/100*float64(len(s)) {
		rank++ // round up
	}
	return s[min(max(rank-1, 0), len(s)-1)]
}
