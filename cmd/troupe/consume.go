package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
	"github.com/troupestream/troupe/internal/codec"
)

func consumeVerb() *verb {
	return &verb{name: "topic consume", args: "NAME", takes: 1, about: "print the records of a topic, and follow it",
		define: func(f *flag.FlagSet) action {
			c := &consumption{}
			c.flags(f)
			return c.run
		}}
}

// consumption is what `topic consume` is told.
type consumption struct {
	from       place
	partitions numbers
	group      string
	untilEnd   bool
	most       int

	session *session
	mu      sync.Mutex
	printed int
}

func (c *consumption) flags(f *flag.FlagSet) {
	f.Var(&c.from, "from", "the `place` to begin at: "+placeForms+"; default earliest. With -group, where nothing is committed")
	f.Var(&c.partitions, "partition", "only this `partition`; several: 0,3")
	f.StringVar(&c.group, "group", "", "consume as the `group`, and commit")
	f.BoolVar(&c.untilEnd, "until-end", false, "end where the topic ends now")
	f.IntVar(&c.most, "n", 0, "end after so many `records`; 0: do not")
}

func (c *consumption) run(ctx context.Context, s *session) error {
	c.session = s
	switch {
	case c.most < 0:
		return mistakef("-n %d: it cannot be negative", c.most)
	case c.group != "" && c.partitions != nil:
		return mistakef("-partition and -group: a group has all partitions; leave one of them out")
	}
	if _, err := s.sys.Topic(ctx, s.args[0]); err != nil {
		return err
	}
	from, err := c.from.start(time.Now())
	if err != nil {
		return err
	}
	if c.group != "" {
		err = c.asGroup(ctx, from)
	} else {
		err = c.alone(ctx, from)
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) { // it was told to stop
		return nil
	}
	return err
}

// alone reads, and commits nothing.
func (c *consumption) alone(ctx context.Context, from actor.From) error {
	opts := []topics.ReaderOption{topics.ReadFrom(from)}
	if c.partitions != nil {
		opts = append(opts, topics.ReadPartitions(c.partitions...))
	}
	if c.untilEnd {
		opts = append(opts, topics.UntilEnd())
	}
	r, err := topics.Of[[]byte](c.session.args[0]).StoredAs(codec.Raw()).NewReader(ctx, c.session, opts...)
	if err != nil {
		return err
	}
	defer r.Close()
	for e, err := range r.All(ctx) {
		switch {
		case errors.Is(err, actor.ErrOffsetOutOfRange):
			fmt.Fprintf(c.session.errs, "troupe: records were dropped before they could be read: %v\n", err)
		case err != nil:
			return err
		default:
			if done, err := c.print(&e.Record, e.TopicPartition, e.Offset, e.AppendTime, ""); done || err != nil {
				return err
			}
		}
	}
	return nil
}

// recordJSON is a record. A key or value that is no text is in Base64; one that is
// not there is null in both forms.
type recordJSON struct {
	Topic       string       `json:"topic"`
	Partition   int          `json:"partition"`
	Offset      uint64       `json:"offset"`
	Time        string       `json:"time"`                 // of arrival
	EventTime   string       `json:"event_time,omitempty"` // that its producer gave it
	Key         *string      `json:"key"`
	KeyBase64   []byte       `json:"key_base64,omitempty"`
	Headers     []headerJSON `json:"headers"`
	Value       *string      `json:"value"`
	ValueBase64 []byte       `json:"value_base64,omitempty"`
	Cause       string       `json:"cause,omitempty"` // with -group: why it is delivered
}

type headerJSON struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

// print prints a record, and says whether that was the last one asked for. Where it
// was that already, it prints nothing.
func (c *consumption) print(r *actor.Record, at actor.TopicPartition, offset uint64, appended int64, cause string) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most > 0 && c.printed >= c.most {
		return true, nil
	}
	c.printed++
	if c.session.json {
		err = c.session.printJSON(recordOf(r, at, offset, appended, cause))
	} else {
		_, err = fmt.Fprintln(c.session.out, lineOf(r, at.Partition, offset, appended))
	}
	return c.printed == c.most, err
}

func recordOf(r *actor.Record, at actor.TopicPartition, offset uint64, appended int64, cause string) recordJSON {
	v := recordJSON{Topic: at.Topic, Partition: at.Partition, Offset: offset, Time: clock(appended), Headers: headersOf(r.Headers), Cause: cause}
	if r.Time != actor.NoTime {
		v.EventTime = clock(r.Time)
	}
	v.Key, v.KeyBase64 = stringOf(r.Key)
	v.Value, v.ValueBase64 = stringOf(r.Value)
	return v
}

func headersOf(all []actor.Header) []headerJSON {
	list := []headerJSON{}
	for _, h := range all {
		one := headerJSON{Key: h.Key}
		one.Value, one.ValueBase64 = stringOf(h.Value)
		list = append(list, one)
	}
	return list
}

// lineOf is a record for people: where and when, then key, headers and value, with
// tabs in between. "-" is no key, "(tombstone)" no value.
func lineOf(r *actor.Record, partition int, offset uint64, appended int64) string {
	key := "-"
	if r.Key != nil {
		key = text(r.Key)
	}
	return fmt.Sprintf("%d:%d\t%s\t%s\t%s\t%s", partition, offset, clock(appended), key, headersText(r.Headers), bodyText(r.Value))
}

// headersText is headers for people.
func headersText(all []actor.Header) string {
	if len(all) == 0 {
		return "-"
	}
	var words []string
	for _, h := range all {
		words = append(words, h.Key+"="+text(h.Value))
	}
	return strings.Join(words, " ")
}
