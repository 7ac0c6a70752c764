package pipeline

import (
	"context"
	"sync"

	"github.com/troupestream/troupe/benchmarks/measure"
)

const (
	channelBuffer = 128 // the best of 0, 128 and 1,024 in most runs
	batchSize     = 256
)

// Channels is the pipeline that Go programmers write first: a goroutine for
// each step, and channels of single records between them.
func Channels(d *Data) measure.Variant {
	return measure.Variant{Name: "channels", Run: func(ctx context.Context) (int64, uint64, error) {
		return d.pipe(ctx, d.countSingly)
	}}
}

// ChannelsBatched is the same with batches of 256 records, which the last step
// hands back to the first to be filled again.
func ChannelsBatched(d *Data) measure.Variant {
	return measure.Variant{Name: "channels-batched", Run: func(ctx context.Context) (int64, uint64, error) {
		return d.pipe(ctx, d.countBatches)
	}}
}

// pipe runs a pipeline whose steps report trouble by fail.
func (d *Data) pipe(ctx context.Context,
	pass func(ctx context.Context, fail context.CancelCauseFunc, counts Counts)) (int64, uint64, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	counts := Counts{}
	records, err := d.passes(ctx, func() error {
		pass(ctx, fail, counts)
		return nil
	})
	return records, counts.Checksum(), err
}

func (d *Data) countSingly(ctx context.Context, fail context.CancelCauseFunc, counts Counts) {
	raw, parsed, kept := make(chan []byte, channelBuffer), make(chan Event, channelBuffer), make(chan Event, channelBuffer)
	var wg sync.WaitGroup
	wg.Go(func() { d.feed(ctx, raw) })
	wg.Go(func() { parseEach(fail, raw, parsed) })
	wg.Go(func() { keepEach(parsed, kept) })
	for e := range kept {
		counts[e.User]++
	}
	wg.Wait()
}

// feed sends the records, until it is told to stop. It looks now and then only:
// a select for each record would be measured instead of the channel.
func (d *Data) feed(ctx context.Context, out chan<- []byte) {
	defer close(out)
	for i := range d.Len() {
		if i%batchSize == 0 && ctx.Err() != nil {
			return
		}
		out <- d.Record(i)
	}
}

func parseEach(fail context.CancelCauseFunc, in <-chan []byte, out chan<- Event) {
	defer close(out)
	for record := range in {
		e, ok := Scan(record)
		if !ok {
			fail(errRecord)
		}
		out <- e
	}
}

func keepEach(in <-chan Event, out chan<- Event) {
	defer close(out)
	for e := range in {
		if e.Kept() {
			out <- e
		}
	}
}

// batch travels through all steps.
type batch struct {
	first, end int // the records
	events     []Event
}

func (d *Data) countBatches(ctx context.Context, fail context.CancelCauseFunc, counts Counts) {
	const circulating = 16
	free := make(chan *batch, circulating)
	for range circulating {
		free <- &batch{events: make([]Event, 0, batchSize)}
	}
	raw, parsed, kept := make(chan *batch, circulating), make(chan *batch, circulating), make(chan *batch, circulating)
	var wg sync.WaitGroup
	wg.Go(func() { d.feedBatches(ctx, free, raw) })
	wg.Go(func() { d.parseBatches(fail, raw, parsed) })
	wg.Go(func() { keepBatches(parsed, kept) })
	for b := range kept {
		for i := range b.events {
			counts[b.events[i].User]++
		}
		free <- b
	}
	wg.Wait()
}

func (d *Data) feedBatches(ctx context.Context, free <-chan *batch, out chan<- *batch) {
	defer close(out)
	for i := 0; i < d.Len() && ctx.Err() == nil; i += batchSize {
		b := <-free
		b.first, b.end = i, min(i+batchSize, d.Len())
		out <- b
	}
}

func (d *Data) parseBatches(fail context.CancelCauseFunc, in <-chan *batch, out chan<- *batch) {
	defer close(out)
	for b := range in {
		b.events = b.events[:0]
		for i := b.first; i < b.end; i++ {
			e, ok := Scan(d.Record(i))
			if !ok {
				fail(errRecord)
			}
			b.events = append(b.events, e)
		}
		out <- b
	}
}

func keepBatches(in <-chan *batch, out chan<- *batch) {
	defer close(out)
	for b := range in {
		n := 0
		for i := range b.events {
			if b.events[i].Kept() {
				b.events[n] = b.events[i]
				n++
			}
		}
		b.events = b.events[:n]
		out <- b
	}
}

// Plain returns all the plain variants; the first is the baseline.
func Plain(d *Data) []measure.Variant {
	return []measure.Variant{Loop(d), LoopSharded(d), Channels(d), ChannelsBatched(d)}
}
