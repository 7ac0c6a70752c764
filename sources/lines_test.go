package sources

import (
	"slices"
	"strings"
	"testing"

	"github.com/troupestream/troupe/topology"
)

// A line that is too long is a record like any other, with its number, and
// resuming behind it goes on with the right one.
func TestNumberedLines(t *testing.T) {
	long := strings.Repeat("x", 9000)
	path := write(t, "text", "a\r\n\n"+long+"\nb")
	s := NumberedLines(path, MaxLineBytes(8))
	want := []Line{{1, "a", false}, {2, "", false}, {3, long[:4096], true}, {4, "b", false}}
	got, flawed := readAll(t, s, topology.OpenRequest{Split: path})
	if !slices.Equal(got, want) || len(flawed) > 0 {
		t.Errorf("read %.60v and errors %v", got, flawed)
	}
	for n := range len(want) {
		at := positionAfter(t, s, path, n)
		if got, _ := readAll(t, s, topology.OpenRequest{Split: path, Position: at}); !slices.Equal(got, want[n:]) {
			t.Errorf("behind %d lines: %.60v", n, got)
		}
	}
}
