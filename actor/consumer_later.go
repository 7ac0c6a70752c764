package actor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Delay topics: a record that is to be tried again later is put into the topic of its
// delay, retry-<group>-<delay>, and is done with where it was. The same group reads
// that topic. Since all that is in it waits equally long, what came first is due
// first: whoever reads it waits for its head, and needs no clock for anything else.

const laterPrefix = "retry-"

// HeaderRetry is the last header of a record in a delay topic: where it came from,
// how often it was tried, and why it failed.
const HeaderRetry = "troupe-retry"

// RetryLater tries a record again after a delay, and after the next delay if it fails
// again; when they are used up, then decides. Meanwhile it waits on disk, in a topic
// for each delay, and nothing waits behind it: the order of its key is given up.
// Where order counts, use ParkKey.
//
// The delay begins when the record is stored in the delay topic. Records are kept
// there for DeadLetterRetention beyond it, in one partition, unless the topic was
// declared otherwise before. A delay is in whole milliseconds.
//
// A handler is told the topic, partition and offset that the record came from first,
// and Delivery.Via.
func RetryLater(delays []time.Duration, then FailurePolicy) FailurePolicy {
	return retryLater{slices.Clone(delays), then}
}

type retryLater struct {
	delays []time.Duration
	then   FailurePolicy
}

func (r retryLater) Failed(ctx context.Context, d *Delivery, err error) Verdict {
	if d.later < len(r.delays) && d.replay == nil {
		return Verdict{action: verdictLater, after: r.delays[d.later]}
	}
	return r.then.Failed(ctx, d, err)
}

func (r retryLater) inner() []FailurePolicy { return []FailurePolicy{r.then} }

func (r retryLater) check(o *ConsumerOptions) error {
	var errs []error
	if len(r.delays) == 0 {
		errs = append(errs, errors.New("RetryLater: it names no delays"))
	}
	for _, d := range r.delays {
		if d < time.Millisecond || d%time.Millisecond != 0 {
			errs = append(errs, fmt.Errorf("RetryLater: a delay of %v: it must be whole milliseconds, 1 or more", d))
		} else if err := checkName(laterTopic(o.Group, d)); err != nil {
			errs = append(errs, fmt.Errorf("RetryLater: the name of the group is too long for the topics of delays: %w", err))
		}
	}
	return errors.Join(errs...)
}

// laterTopic is the topic of a delay: retry-cooks-90s, say.
func laterTopic(group string, delay time.Duration) string {
	return laterPrefix + group + "-" + delayName(delay)
}

var delayUnits = []struct {
	name string
	unit time.Duration
}{{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}

// delayName is a delay in the largest unit in which it is a whole number.
func delayName(d time.Duration) string {
	for _, u := range delayUnits {
		if d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.name
		}
	}
	return d.String()
}

// delayOf is the delay of a topic of the group's; ok is false for other topics.
func delayOf(group, topic string) (d time.Duration, ok bool) {
	rest, ours := strings.CutPrefix(topic, laterPrefix+group+"-")
	d, err := time.ParseDuration(rest)
	return d, ours && err == nil && d > 0 && delayName(d) == rest
}

// laterTopics returns the delay topics that a group is to read: those of its policy,
// which are declared if need be, and those that there are, lest a record be
// forgotten in a delay that the policy knew once.
func (c *Consumer) laterTopics(ctx context.Context) (all []string, err error) {
	o := &c.options
	walk(o.OnFailure, func(p FailurePolicy) {
		if r, ok := p.(retryLater); ok {
			for _, d := range r.delays {
				all = append(all, laterTopic(o.Group, d))
			}
		}
	})
	for _, name := range all {
		if _, err := c.mail.declare(ctx, name); err != nil {
			return nil, err
		}
	}
	existing, err := c.sys.Topics(ctx)
	for _, t := range existing {
		if _, ours := delayOf(o.Group, t.Name); ours {
			all = append(all, t.Name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), err
}

// forLater is the record of a delivery that failed, for a delay topic.
func forLater(d *Delivery, err error) *Record {
	next := *d
	next.later++
	next.LastError = briefly(err)
	r := d.Record
	r.Headers = append(r.Headers[:len(r.Headers):len(r.Headers)], next.origin())
	return &r
}

// origin is the header that says where a delivery comes from.
func (d *Delivery) origin() Header {
	return Header{Key: HeaderRetry, Value: fmt.Appendf(nil, "%s %d %d %d %d %d %s",
		d.Topic, d.Partition, d.Offset, d.AppendTime, d.Attempt, d.later, d.LastError)}
}

// comesFrom takes that header off, and follows it. A record that has none stays what
// it is.
func (d *Delivery) comesFrom() {
	n := len(d.Headers)
	if n == 0 || d.Headers[n-1].Key != HeaderRetry {
		return
	}
	words := bytes.SplitN(d.Headers[n-1].Value, []byte(" "), 7)
	if len(words) != 7 {
		return
	}
	var numbers [5]int64
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.ParseInt(string(words[i+1]), 10, 64); err != nil || numbers[i] < 0 {
			return
		}
	}
	d.Headers = d.Headers[: n-1 : n-1]
	if n == 1 {
		d.Headers = nil
	}
	d.Via, d.TopicPartition = d.Topic, TopicPartition{string(words[0]), int(numbers[0])}
	d.Offset, d.AppendTime = uint64(numbers[1]), numbers[2]
	d.Attempt, d.later, d.Cause, d.LastError = int(numbers[3])+1, int(numbers[4]), Nack, string(words[6])
}

// waitUntilDue waits for a batch of a delay topic.
func (f *consumerFetch) waitUntilDue(arrived int64) error {
	return sleep(f.ctx, time.Until(time.UnixMilli(arrived).Add(f.lane.delay)))
}
