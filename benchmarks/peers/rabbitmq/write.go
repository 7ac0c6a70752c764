package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// write prints a table for each kind of cell. JSON has the quartiles as well.
func write(w io.Writer, results []result, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	table := ""
	for i := range results {
		r := &results[i]
		if r.Table != table {
			if table != "" {
				fmt.Fprintln(t)
			}
			table = r.Table
			fmt.Fprintf(t, "%s\tpeer\t%s\t\n", table, strings.Join(r.Columns, "\t"))
		}
		fmt.Fprintf(t, "%s\t%s\t", r.Cell, r.Peer)
		for _, column := range r.Columns {
			fmt.Fprintf(t, "%s\t", short(r.Figures[column].Median))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func short(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.2f M", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1f K", n/1e3)
	case n >= 100:
		return fmt.Sprintf("%.0f", n)
	default:
		return fmt.Sprintf("%.1f", n)
	}
}
