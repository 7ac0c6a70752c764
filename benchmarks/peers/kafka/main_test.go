package main

import (
	"strings"
	"testing"
)

// TestMeasure: every figure comes from records that were counted, with the peers that
// need nothing installed.
func TestMeasure(t *testing.T) {
	peers, closeAll, err := open(t.Context(), t.TempDir(), "", []string{"troupe", "jetstream"})
	defer closeAll()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	results, err := measureAll(t.Context(), peers, plan{scale: 0.001, rounds: 1, cells: "no sync 100 B x 8", log: &log})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || strings.Count(log.String(), "\n") != 2 {
		t.Fatalf("%d results, and said: %s", len(results), &log)
	}
	for _, r := range results {
		if r.Produce.RecordsPerS <= 0 || r.Consume.RecordsPerS <= 0 || r.EndToEnd.RecordsPerS <= 0 || r.P50us <= 0 || r.P50us > r.P999us {
			t.Errorf("%+v", r)
		}
	}
	var table strings.Builder
	if err := write(&table, results, false); err != nil || strings.Count(table.String(), "\n") != 3 {
		t.Errorf("%v\n%s", err, &table)
	}
}

func TestMedians(t *testing.T) {
	m := medians([]result{{P50us: 5, Produce: rate{RecordsPerS: 1}}, {P50us: 1, Produce: rate{RecordsPerS: 2}}, {P50us: 3, Produce: rate{RecordsPerS: 9}}})
	if m.P50us != 3 || m.Produce.RecordsPerS != 2 {
		t.Errorf("%+v", m)
	}
}

func TestAPeerThatIsNotThere(t *testing.T) {
	for name, want := range map[string]string{"kafka": "mvn dependency:copy-dependencies", "pulsar": "no peer"} {
		_, closeAll, err := open(t.Context(), t.TempDir(), t.TempDir(), []string{name})
		if closeAll(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
