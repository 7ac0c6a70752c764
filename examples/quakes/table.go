package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// tableRows is how many networks the table shows, those with most quakes first.
const tableRows = 10

// totals are what a network adds up to over all windows.
type totals struct {
	net      string
	quakes   int
	windows  int
	maxMag   float64
	depthSum float64
}

// printTable sums the output files up. What it says is what they say, whichever
// runs have written them.
func printTable(w io.Writer, s *settings, lines int64) error {
	nets, err := sumUp(s.out)
	if err != nil {
		return err
	}
	late, err := countLines(s.late)
	if err != nil {
		return err
	}
	bad, err := countLines(s.bad)
	if err != nil {
		return err
	}
	var quakes, windows int
	for _, n := range nets {
		quakes, windows = quakes+n.quakes, windows+n.windows
	}
	fmt.Fprintf(w, "%d lines: %d quakes in %d windows, %d late, %d bad\n", lines, quakes, windows, late, bad)
	if quakes == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return writeTable(w, nets)
}

func writeTable(w io.Writer, nets []totals) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "net\tquakes\twindows\tmax mag\tmean depth\t")
	for _, n := range nets[:min(len(nets), tableRows)] {
		fmt.Fprintf(t, "%s\t%d\t%d\t%.1f\t%.1f km\t\n", n.net, n.quakes, n.windows, n.maxMag, n.depthSum/float64(n.quakes))
	}
	err := t.Flush()
	if rest := len(nets) - tableRows; rest > 0 && err == nil {
		_, err = fmt.Fprintf(w, "and %d more networks\n", rest)
	}
	return err
}

func sumUp(path string) ([]totals, error) {
	byNet := map[string]*totals{}
	err := eachLine(path, func(line []byte) error {
		var r Row
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		n := byNet[r.Net]
		if n == nil {
			n = &totals{net: r.Net, maxMag: r.MaxMag}
			byNet[r.Net] = n
		}
		n.add(r)
		return nil
	})
	nets := make([]totals, 0, len(byNet))
	for _, n := range byNet {
		nets = append(nets, *n)
	}
	slices.SortFunc(nets, func(a, b totals) int {
		if a.quakes != b.quakes {
			return b.quakes - a.quakes
		}
		return strings.Compare(a.net, b.net)
	})
	return nets, err
}

func (t *totals) add(r Row) {
	t.quakes += r.Count
	t.windows++
	t.maxMag = max(t.maxMag, r.MaxMag)
	t.depthSum += r.MeanDepth * float64(r.Count)
}

func countLines(path string) (n int, err error) {
	err = eachLine(path, func([]byte) error { n++; return nil })
	return n, err
}

// eachLine calls f with every line of a file of ours.
func eachLine(path string, f func(line []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("the results cannot be read, begin anew with another -data directory: %w", err)
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	s.Buffer(nil, maxOutputLine)
	for s.Scan() {
		if err := f(s.Bytes()); err != nil {
			return fmt.Errorf("%s is not as it was written, begin anew with another -data directory: %w", path, err)
		}
	}
	return s.Err()
}
