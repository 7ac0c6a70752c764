package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

func write(w io.Writer, results []result, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "durability\tbytes\tpartitions\tpeer\tproduce/s\tCPU ns\tconsume/s\tCPU ns\tend to end/s\tCPU ns\tack p50 µs\tp99\tp99.9\t")
	for i := range results {
		r := &results[i]
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%.0f\t%s\t%.0f\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t\n", r.Durability, r.Bytes, r.Partitions, r.Peer,
			short(r.Produce.RecordsPerS), r.Produce.CPUNs, short(r.Consume.RecordsPerS), r.Consume.CPUNs,
			short(r.EndToEnd.RecordsPerS), r.EndToEnd.CPUNs, r.P50us, r.P99us, r.P999us)
	}
	return t.Flush()
}

func short(n float64) string {
	if n >= 1e6 {
		return fmt.Sprintf("%.2f M", n/1e6)
	}
	return fmt.Sprintf("%.0f K", n/1e3)
}
