package actor

import (
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
)

// A letter fits into a topic, however large the record is that it is about.
func TestLettersFit(t *testing.T) {
	l := newLetterbox(&attempt{spec: &JobSpec{Name: "job"}})
	limits := codec.DefaultLimits()
	for _, size := range []int{0, 100, limits.RecordBytes, 8 * limits.RecordBytes} {
		long := strings.Repeat("x", size)
		r := l.record(&dataflow.DeadLetter{Node: "op", Key: []byte(long), Value: []byte(long), Error: long, Stack: long, Origin: long})
		if err := limits.Check(&r); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if size == 100 && (len(r.Value) != 100 || len(r.Key) != 100) {
			t.Error("a record that fits is not cut")
		}
	}
}
