package sinks_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/topology"
)

// show opens a sink as a job does, and writes values to it.
func show[T any](s topology.Sink[T], values ...T) {
	ctx := context.Background()
	w, err := s.Open(ctx, topology.SinkOpen{Job: "example", Sink: "out", Tasks: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	if err := w.Write(ctx, &topology.Batch[T]{Values: values}); err != nil {
		fmt.Println(err)
	}
}

type payment struct {
	ID     string        `json:"id" csv:"id"`
	Cents  int           `json:"cents" csv:"cents"`
	Took   time.Duration `json:"took" csv:"took"`
	Coupon *string       `json:"coupon,omitempty" csv:"coupon"`
}

// inFile gives f a path in a directory of its own and prints the file.
func inFile(f func(path string)) {
	dir, err := os.MkdirTemp("", "sinks")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "out")
	f(path)
	data, err := os.ReadFile(path)
	fmt.Print(string(data))
	if err != nil {
		fmt.Println(err)
	}
}

func ExampleJSONLines() {
	inFile(func(path string) {
		show(sinks.JSONLines[payment](path), payment{ID: "p1", Cents: 250}, payment{ID: "<p2>"})
	})
	// Output:
	// {"id":"p1","cents":250,"took":0}
	// {"id":"<p2>","cents":0,"took":0}
}

func ExampleCSV() {
	code := "spring, 10 %"
	inFile(func(path string) {
		show(sinks.CSV[payment](path), payment{"p1", 250, time.Second, &code}, payment{ID: "p2"})
	})
	// Output:
	// id,cents,took,coupon
	// p1,250,1s,"spring, 10 %"
	// p2,0,0s,
}

func ExampleLines() {
	inFile(func(path string) { show(sinks.Lines(path), "one", "two") })
	// Output:
	// one
	// two
}

func ExampleWriter() {
	show(sinks.Writer(os.Stdout), "hello", "world")
	// Output:
	// hello
	// world
}

func ExampleJSONWriter() {
	show(sinks.JSONWriter[[]int](os.Stdout), []int{1, 2}, nil)
	// Output:
	// [1,2]
	// null
}

func ExampleSlice() {
	results := sinks.Slice[int]()
	show(results, 1, 2, 3)
	fmt.Println(results.Values())
	// Output: [1 2 3]
}

func ExampleDiscard() {
	dropped := sinks.Discard[string]()
	show(dropped, "a", "b")
	fmt.Println(dropped.Count())
	// Output: 2
}
