package runtime_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/runtime"
	"github.com/troupestream/troupe/runtime/runtimetest"
)

// What the lives of TestKillNineOfTopics publish to.
const (
	keptTopic    = "kept"    // all of it
	trimmedTopic = "trimmed" // its newest records
	latestTopic  = "latest"  // the newest record of each key

	topicKeys  = 40
	topicTrims = 300 // records that trimmedTopic keeps
	lastLife   = 500 // records that the last life publishes to each
)

// TestKillNineOfTopics kills a process, over and over, that publishes to three topics
// under a name, has one of them trimmed and another one compacted without a pause, and
// has a group read the first. Each record that was acknowledged must be where that
// said, once; none may have come that was not sent; the group must have had every
// record, and each again only if it was behind what had been committed; and of each key
// the newest record must be in the compacted topic.
func TestKillNineOfTopics(t *testing.T) {
	t.Parallel()
	dir := runtimetest.Dir(t)
	// Half of them after so many acknowledgements: starting takes its time.
	k := runtimetest.Kills{Count: 10, Within: 1200 * time.Millisecond, Moments: 2500}
	killed := runtimetest.KillLoop(t, k, func(ctx context.Context, l *runtimetest.Life) error { return topicLife(ctx, dir, l) })
	if killed < k.KillCount()*3/4 {
		t.Errorf("only %d of %d lives were ended by a kill", killed, k.KillCount())
	}
	judgeTopics(t, dir)
}

// topicLife publishes, reads, trims and compacts until it is killed; the last one a
// little, and until the group has everything.
func topicLife(ctx context.Context, dir string, l *runtimetest.Life) (err error) {
	e, err := runtime.Open(ctx, runtime.DataDir(filepath.Join(dir, "data")), runtime.Logger(quiet))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close(ctx)) }()
	ctx, end := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer end()
	topics := map[string]*actor.Topic{}
	for name, config := range map[string]actor.TopicConfig{keptTopic: {Partitions: 2}, trimmedTopic: {},
		latestTopic: {Compaction: actor.Compaction{Enabled: true, MinCleanableDirtyRatio: 1}}} {
		if topics[name], err = e.Declare(ctx, name, config); err != nil {
			return err
		}
	}
	errs := make(chan error, 8)
	begin := func(f func() error) {
		group.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				errs <- err
			}
		})
	}
	begin(func() error { return trimForEver(ctx, topics[trimmedTopic]) })
	begin(func() error { return compactForEver(ctx, topics[latestTopic]) })
	c, err := follow(ctx, e, dir)
	if err != nil {
		return err
	}
	var published sync.WaitGroup
	var underWay atomic.Int64
	moment := func(first bool) { // a life in which each topic has something is of more use
		if first {
			underWay.Add(1)
		}
		if underWay.Load() == int64(len(topics)) {
			l.Moment()
		}
	}
	for name, topic := range topics {
		published.Add(1)
		begin(func() error { defer published.Done(); return publishLife(ctx, topic, dir, name, l, moment) })
	}
	if published.Wait(); l.Last {
		err = drained(ctx, c, topics[keptTopic], dir)
	}
	select {
	case err = <-errs:
	default:
	}
	return errors.Join(err, c.Close(ctx))
}

func trimForEver(ctx context.Context, topic *actor.Topic) error {
	for ctx.Err() == nil {
		b, err := topic.Bounds(ctx, 0)
		if err == nil && b.Next > topicTrims {
			_, err = topic.Trim(ctx, 0, b.Next-topicTrims)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func compactForEver(ctx context.Context, topic *actor.Topic) error {
	for ctx.Err() == nil {
		if _, err := topic.Compact(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// follow has the group read the first topic. A delivery is written down before it
// counts as done.
func follow(ctx context.Context, e *runtime.Engine, dir string) (*actor.Consumer, error) {
	f, err := appendTo(dir, "delivered")
	if err != nil {
		return nil, err
	}
	return e.System().NewConsumer(ctx, actor.ConsumerOptions{Group: "readers", Topics: []string{keptTopic}, Concurrency: 4,
		CommitInterval: 5 * time.Millisecond, SessionTimeout: time.Second}, func(_ context.Context, d *actor.Delivery) error {
		_, err := fmt.Fprintln(f, d.Partition, d.Offset, string(d.Value))
		return err
	})
}

func appendTo(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// publishLife publishes numbered records, and writes down what is acknowledged. The last
// life ends; the others go on until they are killed. moment is called after each, and told
// of the first.
func publishLife(ctx context.Context, topic *actor.Topic, dir, name string, l *runtimetest.Life, moment func(first bool)) error {
	f, err := appendTo(dir, "acked-"+name)
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := topic.NewPublisher(ctx, actor.PublisherOptions{ID: "shop", BufferBytes: 64 << 10})
	if err != nil {
		return err
	}
	var told atomic.Bool
	for n := 0; ctx.Err() == nil && (!l.Last || n < lastLife); n++ {
		value := fmt.Sprintf("%d-%06d", l.Number, n)
		r := &actor.Record{Key: fmt.Appendf(nil, "key-%d", n%topicKeys), Value: []byte(value), Time: actor.NoTime}
		if err := p.PublishFunc(ctx, actor.AnyPartition, r, func(at actor.Published, err error) {
			if err == nil {
				_, err = fmt.Fprintln(f, at.Partition, at.Offset, value)
			}
			if err != nil && ctx.Err() == nil {
				panic(err)
			}
			moment(!told.Swap(true))
		}); err != nil {
			return err
		}
	}
	return p.Close(ctx)
}

// drained waits until the group has committed all of a topic.
func drained(ctx context.Context, c *actor.Consumer, topic *actor.Topic, dir string) error {
	for i := range topic.Partitions() {
		b, err := topic.Bounds(ctx, i)
		if err != nil {
			return err
		}
		for {
			all, err := notes(dir, "delivered")
			if err != nil || slices.ContainsFunc(all, func(n note) bool { return n.partition == i && n.offset == b.Next-1 }) {
				break
			}
			if err := c.Err(); err != nil {
				return err
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// note is a line of what was acknowledged or delivered.
type note struct {
	partition int
	offset    uint64
	value     string
}

func notes(dir, name string) (all []note, err error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var n note
		if _, err := fmt.Sscan(lines.Text(), &n.partition, &n.offset, &n.value); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", name, lines.Text(), err)
		}
		all = append(all, n)
	}
	return all, nil
}

// judgeTopics holds what is in the topics against what was acknowledged and delivered.
func judgeTopics(t *testing.T, dir string) {
	t.Helper()
	e := openFaults(t, dir)
	defer closeEngine(t, e)
	held := map[string]map[string]note{}
	for _, name := range []string{keptTopic, trimmedTopic, latestTopic} {
		held[name] = readAll(t, e, name)
		acked, err := notes(dir, "acked-"+name)
		if err != nil {
			t.Fatal(err)
		}
		if len(acked) <= lastLife {
			t.Errorf("topic %s: %d records were acknowledged, so no life that was killed had any", name, len(acked))
		}
		newest := map[string]note{}
		for _, a := range acked {
			if at, ok := held[name][a.value]; ok && at != a {
				t.Errorf("topic %s: %s was acknowledged at %+v, and is at %+v", name, a.value, a, at)
			} else if !ok && name == keptTopic {
				t.Errorf("topic %s: %s was acknowledged at %+v, and is not there", name, a.value, a)
			}
			if key := keyOf(t, a.value); newest[key].value == "" || newest[key].offset < a.offset {
				newest[key] = a
			}
		}
		switch name {
		case trimmedTopic:
			if n := len(held[name]); n < topicTrims {
				t.Errorf("topic %s holds %d records, at least %d were to stay", name, n, topicTrims)
			}
		case latestTopic:
			judgeLatest(t, held[name], newest)
		}
	}
	judgeDelivered(t, dir, held[keptTopic])
}

// keyOf is the key of a record, which its number says.
func keyOf(t *testing.T, value string) string {
	t.Helper()
	var life, n int
	if _, err := fmt.Sscanf(value, "%d-%d", &life, &n); err != nil {
		t.Fatalf("a record that was not sent: %q", value)
	}
	return fmt.Sprintf("key-%d", n%topicKeys)
}

// judgeLatest: of each key there is a record as new as the newest that was acknowledged.
func judgeLatest(t *testing.T, held map[string]note, newest map[string]note) {
	t.Helper()
	latest := map[string]uint64{}
	for value, at := range held {
		key := keyOf(t, value)
		latest[key] = max(latest[key], at.offset)
	}
	for key, a := range newest {
		if latest[key] < a.offset {
			t.Errorf("key %s: its newest record was acknowledged at %d, the newest there is at %d", key, a.offset, latest[key])
		}
	}
}

// judgeDelivered: the group had each record there is, and no other.
func judgeDelivered(t *testing.T, dir string, held map[string]note) {
	t.Helper()
	delivered, err := notes(dir, "delivered")
	if err != nil {
		t.Fatal(err)
	}
	had := map[string]bool{}
	for _, d := range delivered {
		if at, ok := held[d.value]; !ok || at != d {
			t.Errorf("%+v was delivered; it is at %+v (%v)", d, at, ok)
		}
		had[d.value] = true
	}
	for value, at := range held {
		if !had[value] {
			t.Errorf("%+v was never delivered", at)
		}
	}
	if repeated := len(delivered) - len(had); repeated > len(delivered)/2 {
		t.Errorf("%d of %d deliveries were repetitions", repeated, len(delivered))
	}
}

// readAll returns what a topic holds, by value. Offsets only grow.
func readAll(t *testing.T, e *runtime.Engine, name string) map[string]note {
	t.Helper()
	ctx := within(t)
	topic, err := e.Topic(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]note{}
	for partition := range topic.Partitions() {
		b, err := topic.Bounds(ctx, partition)
		if err != nil {
			t.Fatal(err)
		}
		r, err := topic.OpenReader(ctx, partition, actor.FromBeginning())
		if err != nil {
			t.Fatal(err)
		}
		for at := uint64(0); at < b.Next; {
			batch, err := r.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var record actor.Record
			for offset := batch.Offset(); batch.Next(&record); offset = batch.Offset() {
				n := note{partition, offset, string(record.Value)}
				if other, twice := all[n.value]; twice || offset < at {
					t.Errorf("topic %s: %+v, behind offset %d; it is also at %+v (%v)", name, n, at, other, twice)
				}
				all[n.value], at = n, offset+1
			}
			if err := batch.Err(); err != nil {
				t.Fatal(err)
			}
			at = max(at, r.Offset())
		}
		r.Close()
	}
	return all
}
