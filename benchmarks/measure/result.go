package measure

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is what a benchmark reports of a variant: as JSON the fields below,
// without those that do not apply; for people also how sure they are.
type Result struct {
	Name           string   `json:"name"`
	RecordBytes    int      `json:"record_bytes,omitempty"`
	Durability     string   `json:"durability,omitempty"` // "fsync", "interval" or "memory"
	RecordsPerS    float64  `json:"records_per_s"`
	CPUNsPerRecord *float64 `json:"cpu_ns_per_record,omitempty"`
	AllocsPerRec   *float64 `json:"allocs_per_record,omitempty"`
	RatioToLoop    *float64 `json:"ratio_to_loop,omitempty"`
	RatioToRaw     *float64 `json:"ratio_to_raw,omitempty"`
	RatioToSerial  *float64 `json:"ratio_to_serial,omitempty"`
	P50us          *float64 `json:"p50_us,omitempty"`
	P99us          *float64 `json:"p99_us,omitempty"`

	Ratio     Quartiles `json:"-"` // of the rounds' ratios; zero without a baseline
	Runs      int       `json:"-"`
	Disturbed int       `json:"-"` // runs during which others used the machine
}

// Ratio says what a result's ratios refer to.
type Ratio uint8

// The baselines.
const (
	ToLoop   Ratio = iota // the plain loop on one core
	ToRaw                 // raw writes to a file
	ToSerial              // one record after the other
)

// Results sums up what Compare returned. Rates, processor time and allocations
// are medians over the runs; ratios are medians over the rounds. Rounds in which
// others disturbed the variant or its baseline are left out, as long as at
// least three remain.
func Results(series []Series, baseline string, to Ratio) []Result {
	b := slices.IndexFunc(series, func(s Series) bool { return s.Name == baseline })
	var out []Result
	for i := range series {
		r := sum(&series[i])
		if b >= 0 {
			r.Ratio = QuartilesOf(ratios(&series[i], &series[b]))
			*r.ratioTo(to) = &r.Ratio.Median
		}
		out = append(out, r)
	}
	return out
}

// ratioTo is the field of a ratio.
func (r *Result) ratioTo(to Ratio) **float64 {
	return [...]**float64{ToLoop: &r.RatioToLoop, ToRaw: &r.RatioToRaw, ToSerial: &r.RatioToSerial}[to]
}

const enough = 3

func sum(s *Series) Result {
	r := Result{Name: s.Name, Runs: len(s.Runs)}
	var calm []Run
	for _, run := range s.Runs {
		if run.disturbed() {
			r.Disturbed++
		} else {
			calm = append(calm, run)
		}
	}
	if len(calm) < enough {
		calm = s.Runs
	}
	r.RecordsPerS = median(calm, Run.rate)
	cpu, allocs := median(calm, Run.cpuNs), median(calm, Run.allocs)
	r.CPUNsPerRecord, r.AllocsPerRec = &cpu, &allocs
	return r
}

func median(runs []Run, f func(Run) float64) float64 {
	figures := make([]float64, len(runs))
	for i, r := range runs {
		figures[i] = f(r)
	}
	return QuartilesOf(figures).Median
}

func ratios(s, base *Series) []float64 {
	var all, calm []float64
	for i := range min(len(s.Runs), len(base.Runs)) {
		r := s.Runs[i].ratio(base.Runs[i])
		all = append(all, r)
		if !s.Runs[i].disturbed() && !base.Runs[i].disturbed() {
			calm = append(calm, r)
		}
	}
	if len(calm) < enough {
		return all
	}
	return calm
}

// SetLatencies sets p50_us and p99_us.
func (r *Result) SetLatencies(took []time.Duration) {
	p50 := float64(Percentile(took, 50)) / float64(time.Microsecond)
	p99 := float64(Percentile(took, 99)) / float64(time.Microsecond)
	r.P50us, r.P99us = &p50, &p99
}

// WriteJSON writes one object per line.
func WriteJSON(w io.Writer, results []Result) error {
	e := json.NewEncoder(w)
	for i := range results {
		if err := e.Encode(&results[i]); err != nil {
			return err
		}
	}
	return nil
}

// WriteTable writes results for people.
func WriteTable(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join([]string{"variant", "durability", "bytes", "records/s", "MB/s", "CPU ns/rec", "allocs/rec",
		"ratio", "(quartiles)", "p50 µs", "p99 µs", "runs", "disturbed"}, "\t"))
	for i := range results {
		fmt.Fprintln(t, strings.Join(row(&results[i]), "\t"))
	}
	return t.Flush()
}

func row(r *Result) []string {
	ratio := cmp.Or(r.RatioToLoop, r.RatioToRaw, r.RatioToSerial)
	spread := "-"
	if ratio != nil && r.Ratio != (Quartiles{}) {
		spread = fmt.Sprintf("(%.2f-%.2f)", r.Ratio.Low, r.Ratio.High)
	}
	return []string{r.Name, or(r.Durability), count(r.RecordBytes), rate(r.RecordsPerS), r.bandwidth(),
		figure(r.CPUNsPerRecord, 1), figure(r.AllocsPerRec, 3), figure(ratio, 2), spread, figure(r.P50us, 1), figure(r.P99us, 1),
		count(r.Runs), count(r.Disturbed)}
}

// bandwidth is in MB/s, of the records' own bytes.
func (r *Result) bandwidth() string {
	if r.RecordBytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", r.RecordsPerS*float64(r.RecordBytes)/1e6)
}

func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func count(n int) string { return fmt.Sprint(n) }

func figure(v *float64, digits int) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, *v)
}

// rate shortens a rate: "20.0 M", "48.7 K".
func rate(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.1f M", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.1f K", v/1e3)
	default:
		return fmt.Sprintf("%.1f", v)
	}
}
