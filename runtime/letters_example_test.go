package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// Dead letters are read from their topic as any record is. What went wrong is
// in the headers.
func ExampleEngine_Topic() {
	ctx := context.Background()
	engine, err := runtime.Open(ctx, runtime.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close(ctx)

	b := topology.New("numbers", topology.OnError(topology.DeadLetter("bad-numbers")))
	texts := topology.From(b, "texts", sources.Slice("1", "two", "3"))
	numbers := topology.Map(texts, "number", func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			panic(err)
		}
		return n
	})
	topology.To(numbers, "out", sinks.Discard[int]())
	if _, err := engine.Run(ctx, b); err != nil {
		fmt.Println(err)
		return
	}
	if err := printLetters(ctx, engine, "bad-numbers"); err != nil {
		fmt.Println(err)
	}
	// Output:
	// "two": number failed 3 times: strconv.Atoi: parsing "two": invalid syntax
}

func printLetters(ctx context.Context, engine *runtime.Engine, name string) error {
	topic, err := engine.Topic(ctx, name)
	if err != nil {
		return err
	}
	reader, err := topic.OpenReader(ctx, 0, actor.FromBeginning())
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		batch, err := reader.TryNext(ctx)
		if errors.Is(err, actor.ErrEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		var letter actor.Record
		for batch.Next(&letter) {
			about := map[string]string{}
			for _, h := range letter.Headers {
				about[h.Key] = string(h.Value)
			}
			fmt.Printf("%q: %s failed %s times: %s\n", letter.Value,
				about[actor.HeaderOperator], about[actor.HeaderAttempts], about[actor.HeaderError])
		}
		if err := batch.Err(); err != nil {
			return err
		}
	}
}
