package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
)

// refused runs on a data directory in which there is a topic that holds something.
func refused(t *testing.T, why string, partitions int, value string) {
	data := t.TempDir()
	if err := prepare(context.Background(), data, partitions, value); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if status := run([]string{"-data", data}, &stdout, &stderr); status != 1 || !strings.Contains(stderr.String(), why) {
		t.Errorf("status %d: %s%s", status, &stdout, &stderr)
	}
}

func prepare(ctx context.Context, data string, partitions int, value string) error {
	engine, err := runtime.Open(ctx, runtime.DataDir(data))
	if err != nil {
		return err
	}
	topic, err := engine.Declare(ctx, "orders", actor.TopicConfig{Partitions: partitions})
	if err != nil {
		return err
	}
	p, err := topic.NewPublisher(ctx, actor.PublisherOptions{})
	if err != nil {
		return err
	}
	if _, err := p.PublishSync(ctx, actor.AnyPartition, &actor.Record{Value: []byte(value), Time: actor.NoTime}); err != nil {
		return err
	}
	if err := p.Close(ctx); err != nil {
		return err
	}
	return engine.Close(ctx)
}
