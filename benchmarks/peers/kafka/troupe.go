package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
)

// troupePeer is an engine in this process: the way its users begin.
type troupePeer struct{ engine *runtime.Engine }

func openTroupe(ctx context.Context, dir string) (peer, error) {
	e, err := runtime.Open(ctx, runtime.DataDir(filepath.Join(dir, "troupe")), runtime.Logger(slog.New(slog.DiscardHandler)))
	return &troupePeer{e}, err
}

func (t *troupePeer) name() string { return "troupe" }

func (t *troupePeer) create(ctx context.Context, topic string, partitions int, d durability) error {
	config := actor.TopicConfig{Partitions: partitions} // synced, unless told otherwise
	if d == unsynced {
		config.Durability = actor.Interval
	}
	_, err := t.engine.Declare(ctx, topic, config)
	return err
}

func (t *troupePeer) remove(ctx context.Context, topic string) error {
	return t.engine.System().DeleteTopic(ctx, topic)
}

func (t *troupePeer) producer(ctx context.Context, topic string, _ bool) (producer, error) {
	at, err := t.engine.System().Topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	p, err := at.NewPublisher(ctx, actor.PublisherOptions{})
	return &troupeProducer{Publisher: p}, err
}

type troupeProducer struct {
	*actor.Publisher
	record actor.Record // used again for each: Publish has taken it over when it returns
}

func (p *troupeProducer) publish(ctx context.Context, key, value []byte, done func(error)) error {
	p.record = actor.Record{Key: key, Value: value, Time: actor.NoTime}
	return p.PublishFunc(ctx, actor.AnyPartition, &p.record, func(_ actor.Published, err error) { done(err) })
}

func (p *troupeProducer) flush(ctx context.Context) error { return p.Flush(ctx) }
func (p *troupeProducer) close()                          { _ = p.Close(context.Background()) }

// consume reads all partitions side by side, as the Kafka client does.
func (t *troupePeer) consume(ctx context.Context, topic string, partitions int, each func([]byte) bool) error {
	at, err := t.engine.System().Topic(ctx, topic)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	var group sync.WaitGroup
	errs := make([]error, partitions)
	for i := range partitions {
		group.Go(func() {
			errs[i] = read(ctx, at, i, func(values [][]byte) {
				mu.Lock()
				defer mu.Unlock()
				for _, v := range values {
					if !each(v) {
						stop()
					}
				}
			})
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func read(ctx context.Context, topic *actor.Topic, partition int, each func([][]byte)) error {
	r, err := topic.OpenReader(ctx, partition, actor.FromBeginning())
	if err != nil {
		return err
	}
	defer r.Close()
	var record actor.Record
	var values [][]byte
	for {
		batch, err := r.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		values = values[:0]
		for batch.Next(&record) {
			values = append(values, record.Value)
		}
		if err := batch.Err(); err != nil {
			return err
		}
		each(values)
	}
}

func (t *troupePeer) processor() time.Duration { return 0 }
func (t *troupePeer) close()                   { _ = t.engine.Close(context.Background()) }
