package topics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// texts is a topic of strings with two partitions; publish appends to one.
func texts(ctx context.Context, t testing.TB, sys *actor.System) (topic Topic[string], publish func(partition int, values ...string)) {
	t.Helper()
	topic = fresh[string]().Partitions(2).AsJSON()
	if _, err := topic.open(actor.WithSystem(ctx, sys)); err != nil {
		t.Fatal(err)
	}
	return topic, func(partition int, values ...string) {
		t.Helper()
		p, err := topic.NewProducer(ctx, systemOf{sys})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if _, err := p.PublishTo(ctx, partition, Message[string]{Key: []byte("k"), Value: v}); err != nil {
				t.Fatal(err)
			}
			if err := p.Flush(ctx); err != nil { // a batch for each
				t.Fatal(err)
			}
		}
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func newReader[T any](ctx context.Context, t testing.TB, sys *actor.System, topic Topic[T], opts ...ReaderOption) *Reader[T] {
	t.Helper()
	r, err := topic.NewReader(ctx, systemOf{sys}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// reads reads n records, or up to the end with -1, and tells them by partition.
func reads(ctx context.Context, t testing.TB, r *Reader[string], n int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var all []string
	for ; n != 0; n-- {
		e, err := r.Next(ctx)
		if errors.Is(err, actor.ErrEnd) && n < 0 {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%d:%s", e.Partition, e.Value))
	}
	slices.SortStableFunc(all, func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
	return strings.Join(all, " ")
}

// virtual runs f in virtual time, which begins at midnight.
func virtual(t *testing.T, f func(ctx context.Context, t *testing.T, sys *actor.System)) {
	synctest.Test(t, func(t *testing.T) {
		store := storagefake.New()
		sys := actor.NewSystem(store)
		ctx, cancel := context.WithCancel(context.Background())
		f(ctx, t, sys)
		cancel()
		if err := sys.Close(context.Background()); err != nil {
			t.Error(err)
		}
		store.Close()
		time.Sleep(time.Second) // for Proto.Actor's throttle of dead letters
	})
}

// Records come a minute apart: 0 at midnight to 4, alternately.
func TestReaderBeginsAndEnds(t *testing.T) {
	midnight := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		opts []ReaderOption
		want string
	}{
		"earliest":     {nil, "0:0 0:2 0:4 1:1 1:3"},
		"latest":       {[]ReaderOption{ReadFrom(actor.FromEnd())}, ""},
		"offset":       {[]ReaderOption{ReadFrom(actor.FromOffset(1))}, "0:2 0:4 1:3"},
		"time":         {[]ReaderOption{ReadFrom(actor.FromTime(midnight.Add(90 * time.Second)))}, "0:2 0:4 1:3"},
		"ago":          {[]ReaderOption{ReadAgo(150 * time.Second)}, "0:4 1:3"},
		"no time ago":  {[]ReaderOption{ReadAgo(0)}, ""},
		"partition":    {[]ReaderOption{ReadPartitions(1)}, "1:1 1:3"},
		"until offset": {[]ReaderOption{UntilOffset(1)}, "0:0 1:1"},
		"until time":   {[]ReaderOption{UntilTime(midnight.Add(2 * time.Minute))}, "0:0 1:1"},
		"nothing":      {[]ReaderOption{ReadFrom(actor.FromOffset(1)), UntilOffset(1)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(ctx context.Context, t *testing.T, sys *actor.System) {
				topic, publish := texts(ctx, t, sys)
				for i := range 5 {
					publish(i%2, fmt.Sprint(i))
					time.Sleep(time.Minute)
				}
				r := newReader(ctx, t, sys, topic, append([]ReaderOption{UntilEnd()}, c.opts...)...)
				publish(0, "new")
				if got := reads(ctx, t, r, -1); got != c.want {
					t.Errorf("it read %q, want %q", got, c.want)
				}
				r.Close()
			})
		})
	}
}

// Readers follow, each at its own pace.
func TestReadersAreIndependent(t *testing.T) {
	ctx, sys := engine(t)
	topic, publish := texts(ctx, t, sys)
	a, b := newReader(ctx, t, sys, topic), newReader(ctx, t, sys, topic, UntilOffset(2), ReadPartitions(0))
	publish(0, "a")
	if got := reads(ctx, t, a, 1); got != "0:a" {
		t.Errorf("it read %s", got)
	}
	publish(0, "b", "c")
	publish(1, "d")
	if got := reads(ctx, t, a, 3); got != "0:b 0:c 1:d" {
		t.Errorf("it read %s", got)
	}
	if got := reads(ctx, t, b, -1); got != "0:a 0:b" {
		t.Errorf("the other read %s", got)
	}
	if at, err := b.Offset(0); at != 2 || err != nil {
		t.Errorf("the other ended at %d, %v", at, err)
	}
}

func TestReaderSeeksAndPauses(t *testing.T) {
	ctx, sys := engine(t)
	topic, publish := texts(ctx, t, sys)
	publish(0, "a", "b", "c")
	publish(1, "x")
	r := newReader(ctx, t, sys, topic)
	if got := reads(ctx, t, r, 4); got != "0:a 0:b 0:c 1:x" {
		t.Errorf("it read %s", got)
	}
	if err := errors.Join(r.Pause(1), r.Seek(ctx, 0, actor.FromOffset(1))); err != nil {
		t.Fatal(err)
	}
	publish(1, "y")
	if got := reads(ctx, t, r, 2); got != "0:b 0:c" {
		t.Errorf("after a seek it read %s", got)
	}
	// A Next that waits hears of it.
	got := make(chan string, 1)
	go func() { got <- reads(ctx, t, r, 1) }()
	if err := r.Resume(1); err != nil {
		t.Fatal(err)
	}
	if text := receive(t, got); text != "1:y" {
		t.Errorf("after the pause it read %s", text)
	}
	if err := r.Seek(ctx, 0, actor.FromOffset(99)); !errors.Is(err, actor.ErrOffsetOutOfRange) {
		t.Errorf("seeking behind the end: %v", err)
	}
	for _, err := range []error{r.Pause(7), r.Resume(-1), r.Seek(ctx, 7, actor.FromEnd())} {
		if err == nil {
			t.Error("a partition that it does not read")
		}
	}
	if err := r.Pause(2); !errors.Is(err, ErrNoPartition) {
		t.Errorf("a partition that it does not read: %v", err)
	}
}

func TestReaderAt(t *testing.T) {
	ctx, sys := engine(t)
	topic, publish := texts(ctx, t, sys)
	publish(1, "a", "b", "c")
	r := newReader(ctx, t, sys, topic)
	e, err := r.At(ctx, 1, 1)
	if err != nil || e.Value != "b" || e.Offset != 1 || string(e.Key) != "k" || e.AppendTime == 0 {
		t.Errorf("offset 1 holds %+v, %v", e, err)
	}
	if at, timed := e.EventTime(); !timed || at.IsZero() {
		t.Error("it has no time")
	}
	for _, at := range []struct {
		partition int
		offset    uint64
	}{{0, 0}, {1, 3}, {1, 4}} {
		if _, err := r.At(ctx, at.partition, at.offset); !errors.Is(err, actor.ErrOffsetOutOfRange) {
			t.Errorf("partition %d, offset %d: %v", at.partition, at.offset, err)
		}
	}
	if got := reads(ctx, t, r, 3); got != "1:a 1:b 1:c" {
		t.Errorf("then it read %s", got)
	}
}

// What cannot be decoded, and what was dropped, is told, and the reader goes on.
func TestReaderGoesOnBehindErrors(t *testing.T) {
	ctx, sys := engine(t)
	bills := fresh[bill]().AsJSON()
	raw, err := bills.open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	unequal(ctx, t, sys, bills.name, "0", "1", `{"Sum":2}`, "{{{", "", `{"Sum":5}`)
	r := newReader(ctx, t, sys, bills, UntilEnd())
	if _, err := raw.Trim(ctx, 0, 2); err != nil {
		t.Fatal(err)
	}
	if err := r.Seek(ctx, 0, actor.FromBeginning()); err != nil {
		t.Fatal(err)
	}
	var told []string
	for e, err := range r.All(ctx) {
		switch {
		case errors.Is(err, ErrUndecodable):
			told = append(told, fmt.Sprintf("%d undecodable %s", e.Offset, e.Record.Value))
		case err != nil:
			t.Fatal(err)
		default:
			told = append(told, fmt.Sprintf("%d %d %v", e.Offset, e.Value.Sum, e.Tombstone))
		}
	}
	if got, want := strings.Join(told, ", "), "2 2 false, 3 undecodable {{{, 4 0 true, 5 5 false"; got != want {
		t.Errorf("it told %s, want %s", got, want)
	}
}

// Retention that overtakes a reader is told once.
func TestRetentionOvertakesAReader(t *testing.T) {
	ctx, sys := engine(t)
	topic, publish := texts(ctx, t, sys)
	publish(0, "a", "b", "c")
	r := newReader(ctx, t, sys, topic, ReadPartitions(0), UntilEnd())
	if err := r.Pause(0); err != nil {
		t.Fatal(err)
	}
	raw, err := sys.Topic(ctx, topic.name)
	if err == nil {
		_, err = raw.Trim(ctx, 0, 2)
	}
	if err == nil {
		err = r.Resume(0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(ctx); !errors.Is(err, actor.ErrOffsetOutOfRange) {
		t.Errorf("it was told %v", err)
	}
	if got := reads(ctx, t, r, -1); got != "0:c" {
		t.Errorf("then it read %s", got)
	}
}

func TestReaderIsRefused(t *testing.T) {
	ctx, sys := engine(t)
	topic, _ := texts(ctx, t, sys)
	for want, opt := range map[string]ReaderOption{
		"has no partition 2":   ReadPartitions(2),
		"is named twice":       ReadPartitions(0, 0),
		"it names none":        ReadPartitions(),
		"has yet to come":      UntilTime(time.Now().Add(time.Hour)),
		"lies ahead":           ReadAgo(-time.Second),
		"offset 3 is out of r": ReadFrom(actor.FromOffset(3)),
	} {
		_, err := topic.NewReader(ctx, systemOf{sys}, opt)
		requireError(t, err, "read topic "+topic.name, want)
	}
	_, err := topic.NewReader(ctx, nil)
	requireError(t, err, "topic "+topic.name, "the engine is nil")
	r := newReader(ctx, t, sys, topic)
	waits := make(chan error, 1)
	go func() {
		_, err := r.Next(ctx)
		waits <- err
	}()
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, waits); !errors.Is(err, actor.ErrClosed) {
		t.Errorf("a Next that waited: %v", err)
	}
	if err := r.Pause(0); !errors.Is(err, actor.ErrClosed) {
		t.Errorf("a pause: %v", err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := newReader(ctx, t, sys, topic).Next(over); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
}

// Whatever is sought and paused on the way, records come in order from wherever the
// reader was put, each once.
func TestReaderAgainstAModel(t *testing.T) {
	ctx, sys := engine(t)
	topic, publish := texts(ctx, t, sys)
	const each = 20
	for i := range each {
		publish(0, fmt.Sprint(i))
		publish(1, fmt.Sprint(i))
	}
	rapid.Check(t, func(rt *rapid.T) {
		r, err := topic.NewReader(ctx, systemOf{sys}, UntilEnd())
		if err != nil {
			rt.Fatal(err)
		}
		defer r.Close()
		next, paused := [2]uint64{}, [2]bool{}
		rt.Repeat(map[string]func(*rapid.T){
			"next": func(rt *rapid.T) {
				for p := range paused {
					if paused[p] && next[p] < each {
						rt.Skip()
					}
				}
				e, err := r.Next(ctx)
				if next == [2]uint64{each, each} {
					if !errors.Is(err, actor.ErrEnd) {
						rt.Fatalf("at the end: %+v, %v", e, err)
					}
					return
				}
				if err != nil || e.Offset != next[e.Partition] || e.Value != fmt.Sprint(e.Offset) {
					rt.Fatalf("want one of %v, got %+v, %v", next, e, err)
				}
				next[e.Partition]++
			},
			"seek": func(rt *rapid.T) {
				p, to := rapid.IntRange(0, 1).Draw(rt, "partition"), rapid.Uint64Range(0, each).Draw(rt, "to")
				if err := r.Seek(ctx, p, actor.FromOffset(to)); err != nil {
					rt.Fatal(err)
				}
				next[p] = to
			},
			"pause": func(rt *rapid.T) {
				p := rapid.IntRange(0, 1).Draw(rt, "partition")
				if err := r.Pause(p); err != nil {
					rt.Fatal(err)
				}
				paused[p] = true
			},
			"resume": func(rt *rapid.T) {
				p := rapid.IntRange(0, 1).Draw(rt, "partition")
				if err := r.Resume(p); err != nil {
					rt.Fatal(err)
				}
				paused[p] = false
			},
			"": func(rt *rapid.T) {
				for p, want := range next {
					if at, err := r.Offset(p); err != nil || at != want {
						rt.Fatalf("partition %d is at %d, %v; want %d", p, at, err, want)
					}
				}
			},
		})
	})
}
