package sources_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// show reads a source as a job does, one split after the other.
func show[T any](s topology.Source[T]) {
	ctx := context.Background()
	splits, err := s.Splits(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, split := range splits {
		r, err := s.Open(ctx, topology.OpenRequest{Split: split})
		if err != nil {
			fmt.Println(err)
			return
		}
		for err == nil || errors.As(err, new(*topology.RecordError)) {
			b := new(topology.Batch[T])
			err = r.Read(ctx, b, 100)
			for _, v := range b.Values {
				fmt.Printf("%v\n", v)
			}
			if err != nil && err != io.EOF {
				fmt.Println(filepath.Base(err.Error()))
			}
		}
		r.Close()
	}
}

// inFile puts text into a file and hands its path to f.
func inFile(name, text string, f func(path string)) {
	dir, err := os.MkdirTemp("", "sources")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	f(path)
}

func ExampleSlice() {
	show(sources.Slice("a", "b"))
	// Output:
	// a
	// b
}

func ExampleSlices() {
	show(sources.Slices([]int{1, 2}, []int{3}))
	// Output:
	// 1
	// 2
	// 3
}

func ExampleLines() {
	inFile("words.txt", "to be\r\nor not", func(path string) { show(sources.Lines(path)) })
	// Output:
	// to be
	// or not
}

func ExampleRawLines() {
	inFile("words.txt", "to be\nor not\n", func(path string) { show(sources.RawLines(path)) })
	// Output:
	// [116 111 32 98 101]
	// [111 114 32 110 111 116]
}

type reading struct {
	Station string  `json:"station" csv:"station"`
	Celsius float64 `json:"celsius" csv:"celsius"`
}

func ExampleNDJSON() {
	text := `{"station":"north","celsius":-3.5}
{"station":"south","celsius":"warm"}
{"station":"west","celsius":11}`
	inFile("readings.ndjson", text, func(path string) { show(sources.NDJSON[reading](path)) })
	// Output:
	// {north -3.5}
	// readings.ndjson:2:35: json: cannot unmarshal string into Go struct field reading.celsius of type float64
	// {west 11}
}

func ExampleCSV() {
	text := "celsius,station\n-3.5,north\nwarm,\"south, near the river\"\n11,west\n"
	inFile("readings.csv", text, func(path string) { show(sources.CSV[reading](path)) })
	// Output:
	// {north -3.5}
	// readings.csv:3:1: column "celsius": "warm" is not a number
	// {west 11}
}

func ExampleGenerator() {
	squares := func(i int64) int64 { return i * i }
	show(sources.Generator(squares, sources.Count(5), sources.Rate(10_000)))
	// Output:
	// 0
	// 1
	// 4
	// 9
	// 16
}

func ExampleReader() {
	input := strings.NewReader("typed by\nhand\n") // such as os.Stdin
	show(sources.Reader(input))
	// Output:
	// typed by
	// hand
}
