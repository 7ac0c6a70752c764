package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/partitioner"
)

func produceVerb() *verb {
	return &verb{name: "topic produce", args: "NAME", takes: 1, about: "publish each line of the standard input as a record",
		define: func(f *flag.FlagSet) action {
			p := &production{partition: actor.AnyPartition}
			p.flags(f)
			return p.run
		}}
}

// production is what `topic produce` is told, and what has become of it.
type production struct {
	separator string
	null      *string
	headers   []actor.Header
	partition int

	mu    sync.Mutex
	went  map[int]*wentJSON
	lost  int
	first error // why the first of those was lost
}

// wentJSON is what went to a partition.
type wentJSON struct {
	Partition   int    `json:"partition"`
	Records     int    `json:"records"`
	FirstOffset uint64 `json:"first_offset"`
	LastOffset  uint64 `json:"last_offset"`
}

func (p *production) flags(f *flag.FlagSet) {
	f.StringVar(&p.separator, "key-separator", "", "the key is what stands in front of the first `text`; a line without it has no key")
	f.Func("null-value", "a value that is this `text` is none: a tombstone", func(text string) error {
		p.null = &text
		return nil
	})
	f.Func("header", "a header of all records, as `key=value`; may be given again", func(text string) error {
		key, value, found := strings.Cut(text, "=")
		if !found || key == "" {
			return errors.New("it must be key=value")
		}
		p.headers = append(p.headers, actor.Header{Key: key, Value: []byte(value)})
		return nil
	})
	f.Func("partition", "the `partition`; default: by key, as in Kafka, and by turns without one", func(text string) error {
		var n numbers
		if err := n.Set(text); err != nil || len(n) != 1 {
			return fmt.Errorf("%q is no partition: they are numbered from 0", text)
		}
		p.partition = n[0]
		return nil
	})
}

// line is a line of the input, or why there is none.
type line struct {
	text []byte
	err  error
}

func (p *production) run(ctx context.Context, s *session) error {
	t, err := s.sys.Topic(ctx, s.args[0])
	if err != nil {
		return err
	}
	if p.partition >= t.Partitions() {
		return fmt.Errorf("topic %s has no partition %d: it has %d, numbered from 0", t.Name(), p.partition, t.Partitions())
	}
	publisher, err := t.NewPublisher(ctx, actor.PublisherOptions{Keyless: new(partitioner.RoundRobin)})
	if err != nil {
		return err
	}
	p.went = map[int]*wentJSON{}
	// What was read is published to the end, also when there is to be no more.
	err = p.publish(ctx, publisher, lines(ctx, s.in))
	err = errors.Join(err, publisher.Close(context.WithoutCancel(ctx)))
	if p.lost > 0 {
		err = errors.Join(err, fmt.Errorf("not published: %s: %w", count(p.lost), p.first))
	}
	return errors.Join(p.show(s), err)
}

// publish publishes lines until there are no more, or ctx ends.
func (p *production) publish(ctx context.Context, to *actor.Publisher, in <-chan line) error {
	return eachLine(ctx, in, func(text []byte) error {
		r := p.record(text)
		return to.PublishFunc(ctx, p.partition, &r, p.settled)
	})
}

// eachLine calls f with lines until there are no more, or ctx ends.
func eachLine(ctx context.Context, in <-chan line, f func(text []byte) error) error {
	for number := 1; ; number++ {
		var l line
		select {
		case <-ctx.Done():
			return nil
		case l = <-in:
		}
		if l.err == io.EOF || ctx.Err() != nil {
			return nil
		}
		if l.err == nil {
			l.err = f(l.text)
		}
		if l.err != nil {
			return fmt.Errorf("line %d: %w", number, l.err)
		}
	}
}

// lines reads lines in the background: a read from a terminal cannot be ended.
func lines(ctx context.Context, in io.Reader) <-chan line {
	out := make(chan line, 64)
	go func() {
		s := bufio.NewScanner(in)
		s.Buffer(nil, codec.DefaultLimits().RecordBytes)
		send := func(l line) bool {
			select {
			case out <- l:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for s.Scan() {
			if !send(line{text: slices.Clone(s.Bytes())}) {
				return
			}
		}
		err := s.Err()
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("it is longer than a record may be, %d bytes", codec.DefaultLimits().RecordBytes)
		}
		if err == nil {
			err = io.EOF
		}
		send(line{err: err})
	}()
	return out
}

// record makes a record of a line.
func (p *production) record(text []byte) actor.Record {
	r := actor.Record{Value: append([]byte{}, text...), Headers: p.headers, Time: time.Now().UnixMilli()}
	if p.separator != "" {
		if key, value, found := bytes.Cut(text, []byte(p.separator)); found {
			r.Key, r.Value = append([]byte{}, key...), append([]byte{}, value...)
		}
	}
	if p.null != nil && string(r.Value) == *p.null {
		r.Value = nil
	}
	return r
}

func (p *production) settled(at actor.Published, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if p.lost++; p.first == nil {
			p.first = err
		}
		return
	}
	w := p.went[at.Partition]
	if w == nil {
		w = &wentJSON{Partition: at.Partition, FirstOffset: at.Offset}
		p.went[at.Partition] = w
	}
	w.Records++
	w.LastOffset = at.Offset
}

// show says where the records went.
func (p *production) show(s *session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, rows, n := []wentJSON{}, [][]string{row("PARTITION", "RECORDS", "FIRST", "LAST")}, 0
	for _, w := range p.went {
		all = append(all, *w)
	}
	slices.SortFunc(all, func(a, b wentJSON) int { return a.Partition - b.Partition })
	for _, w := range all {
		n += w.Records
		rows = append(rows, row(w.Partition, w.Records, w.FirstOffset, w.LastOffset))
	}
	if s.json {
		return s.printJSON(struct {
			Topic      string     `json:"topic"`
			Records    int        `json:"records"`
			Partitions []wentJSON `json:"partitions"`
		}{s.args[0], n, all})
	}
	if _, err := fmt.Fprintf(s.out, "%s to topic %s\n", count(n), s.args[0]); err != nil || n == 0 {
		return err
	}
	return table(s.out, rows...)
}
