package runtime_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

func TestWordCount(t *testing.T) {
	for _, p := range []int{1, 2, 3} {
		t.Run(fmt.Sprint("parallelism ", p), func(t *testing.T) {
			out := sinks.Slice[string]()
			b := topology.New("wordcount")
			lines := topology.From(b, "lines", sources.Slice("a b c", "b c", "c"))
			words := topology.FlatMap(lines, "split", strings.Fields)
			keyed := topology.KeyBy(words, "by-word", func(w string) string { return w })
			counts := topology.Fold(keyed, "count", func(w string, n string, _ string) string { return w })
			topology.To(counts, "out", topology.Sink[string](out))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			r, err := runtime.Run(ctx, b, runtime.Parallelism(p), runtime.DataDir(t.TempDir()+"/d"))
			if err != nil {
				t.Fatal(err)
			}
			got := out.Values()
			slices.Sort(got)
			if fmt.Sprint(got) != "[a b b c c c]" || !r.Finished {
				t.Fatalf("%v %+v", got, r)
			}
		})
	}
}
