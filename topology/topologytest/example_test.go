package topologytest_test

import (
	"fmt"

	"github.com/troupestream/troupe/topology/topologytest"
)

// A Driver goes step by step. In a test, New takes the *testing.T.
func ExampleDriver() {
	lines, counts := topologytest.Input[string](), topologytest.Collect[count]()
	d := topologytest.New(&failing{}, wordcount(lines, counts))

	lines.Push("to be")
	s := d.Snapshot()
	lines.Push("or not", "to be")
	fmt.Println(len(counts.Values()), "updates")

	d.Restore(s, topologytest.Parallelism(2)) // what came after the snapshot is lost
	fmt.Println(len(counts.Values()), "updates")

	d.Run() // and comes again
	fmt.Println(len(counts.Values()), "updates")
	// Output:
	// 6 updates
	// 2 updates
	// 6 updates
}
