package actor

import (
	"testing"
	"time"
)

func TestNextPortion(t *testing.T) {
	for name, c := range map[string]struct {
		portion, records int
		took             time.Duration
		want             int
	}{
		"quick":                    {32, 32, time.Millisecond, 64},
		"quick, at the most":       {512, 512, time.Millisecond, 512},
		"quick, with little there": {256, 1, time.Microsecond, 256},
		"neither":                  {64, 64, 50 * time.Millisecond, 64},
		"slow":                     {512, 512, 512 * time.Millisecond, 20},
		"as slow as can be":        {32, 32, time.Hour, 1},
		"slow, and one":            {1, 1, time.Second, 1},
	} {
		if got := nextPortion(c.portion, 512, c.records, c.took); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
