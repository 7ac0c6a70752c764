package actor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/telemetry"
)

// Headers of a dead letter. Its value is the record as its operator encodes
// records, its key the record's key, if it had one.
const (
	HeaderJob      = "troupe-job"
	HeaderOperator = "troupe-operator"
	HeaderError    = "troupe-error"
	HeaderStack    = "troupe-stack"
	HeaderAttempts = "troupe-attempts"
	HeaderOrigin   = "troupe-origin" // where the record came from, if that is known
	HeaderCut      = "troupe-cut"    // bytes of the value, if the letter has only its beginning
)

// StackBytes is how much of a stack a dead letter carries: 16 KiB.
const StackBytes = 16 << 10

// letterbox stores an attempt's dead letters. A checkpoint is not complete
// before the letters of the records it covers are stored, so none is lost; after
// a failure a record may be processed, and its letter stored, again.
type letterbox struct {
	attempt   *attempt
	producers map[string]*Producer // by topic

	mu  sync.Mutex
	err error // the first letter that could not be stored
}

func newLetterbox(a *attempt) *letterbox {
	return &letterbox{attempt: a, producers: map[string]*Producer{}}
}

// open declares the topics of the error policies.
func (l *letterbox) open(ctx context.Context) error {
	for _, name := range l.attempt.spec.Letters {
		t, err := l.attempt.sys.Topic(ctx, name)
		if errors.Is(err, ErrNoTopic) {
			t, err = l.attempt.sys.Declare(ctx, name, TopicConfig{Retention: Retention{Age: DeadLetterRetention}})
		}
		if err != nil {
			return fmt.Errorf("dead-letter topic %q: %w", name, err)
		}
		p, err := t.NewProducer(ProducerOptions{})
		if err != nil {
			return fmt.Errorf("dead-letter topic %q: %w", name, err)
		}
		l.producers[name] = p
	}
	return nil
}

// put begins to store a letter. It waits while the producer's window is full:
// a task that produces nothing but dead letters is slowed down to what the
// topic takes.
func (l *letterbox) put(d dataflow.DeadLetter) error {
	p := l.producers[d.Topic]
	if p == nil {
		return fmt.Errorf("internal: dead-letter topic %q is not declared", d.Topic)
	}
	err := p.AppendAsync(l.attempt.ctx, 0, []codec.Record{l.record(&d)}, func(_ Ack, err error) { l.stored(err) })
	if err != nil {
		return fmt.Errorf("dead-letter topic %q: %w", d.Topic, err)
	}
	return nil
}

func (l *letterbox) record(d *dataflow.DeadLetter) codec.Record {
	r := codec.Record{Key: d.Key, Value: d.Value, Time: d.Time, Headers: []codec.Header{
		{Key: HeaderJob, Value: []byte(l.attempt.spec.Name)},
		{Key: HeaderOperator, Value: []byte(d.Node)},
		{Key: HeaderError, Value: clipped(d.Error)},
		{Key: HeaderAttempts, Value: strconv.AppendInt(nil, int64(d.Attempts), 10)},
	}}
	if r.Value == nil {
		r.Value = []byte{} // nil would be a tombstone
	}
	if d.Stack != "" {
		r.Headers = append(r.Headers, codec.Header{Key: HeaderStack, Value: clipped(d.Stack)})
	}
	if d.Origin != "" {
		r.Headers = append(r.Headers, codec.Header{Key: HeaderOrigin, Value: clipped(d.Origin)})
	}
	if d.Trace != nil {
		r.Headers = telemetry.Inject(r.Headers, d.Trace)
	}
	fit(&r)
	return r
}

// letterRoom is what is left for a value next to the headers of a letter.
const letterRoom = 128 << 10

// fit cuts what is too long for a topic: a letter with the beginning of a record
// is better than a job that fails because nobody takes its poison.
func fit(r *codec.Record) {
	limits := codec.DefaultLimits()
	r.Key = r.Key[:min(len(r.Key), limits.KeyBytes)]
	if n, most := len(r.Value), limits.RecordBytes-limits.KeyBytes-letterRoom; n > most {
		r.Value = r.Value[:most]
		r.Headers = append(r.Headers, codec.Header{Key: HeaderCut, Value: strconv.AppendInt(nil, int64(n), 10)})
	}
}

func clipped(s string) []byte { return []byte(s[:min(len(s), StackBytes)]) }

func (l *letterbox) stored(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// flush calls done, once all letters put so far are stored or one could not be.
func (l *letterbox) flush(a *attempt, done func(error)) {
	if len(l.producers) == 0 {
		done(nil)
		return
	}
	a.background("the dead letters", func(ctx context.Context) {
		for _, p := range l.producers {
			if err := p.Flush(ctx); err != nil {
				l.stored(err)
			}
		}
		l.mu.Lock()
		err := l.err
		l.mu.Unlock()
		done(err)
	})
}
