package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

var errStamps = errors.New("out of stamps")

// failing handles what it can, and notes it; records whose value is bad fail.
func (n *diary) failing(bad ...string) Handler {
	return func(ctx context.Context, d *Delivery) error {
		_ = n.handle(ctx, d)
		for _, b := range bad {
			if string(d.Value) == b {
				return errStamps
			}
		}
		return nil
	}
}

// allOf reads what a topic holds now.
func allOf(t testing.TB, s *System, topic string) (all []Record) {
	t.Helper()
	ctx := context.Background()
	handle, err := s.Topic(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	for p := range handle.Partitions() {
		r := openReader(t, handle, p, FromBeginning())
		for {
			batch, err := r.TryNext(ctx)
			if errors.Is(err, ErrEnd) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for rec := (Record{}); batch.Next(&rec); rec = (Record{}) {
				all = append(all, rec)
			}
		}
		r.Close()
	}
	return all
}

func header(r *Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

func TestRetryInPlaceThenDeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "a", "bad", "c")
		var n diary
		c := startConsumer(t, s, ConsumerOptions{OnFailure: RetryInPlace(Backoff{Attempts: 3}, DeadLetter("lost-letters"))}, n.failing("bad"))
		time.Sleep(time.Minute)
		synctest.Wait()
		n.expect(t, "a bad bad bad c")
		if got := n.causes(); got != "0 first 1, 1 first 1, 1 nack 2, 1 nack 3, 2 first 1" {
			t.Errorf("it was told %s", got)
		}
		if last := n.seen[2].LastError; last != "out of stamps" {
			t.Errorf("it was told of the attempt before: %q", last)
		}
		closeConsumerOK(t, c)
		committedAt(t, s, 3)
		letters := allOf(t, s, "lost-letters")
		if len(letters) != 1 {
			t.Fatalf("there are %d letters", len(letters))
		}
		l := &letters[0]
		got := fmt.Sprint(string(l.Value), "; ", header(l, HeaderGroup), "; ", header(l, HeaderOrigin), "; ", header(l, HeaderAttempts), "; ", header(l, HeaderError))
		if want := "bad; mailers; topic orders, partition 0, offset 1; 3; out of stamps"; got != want {
			t.Errorf("the letter is %s, want %s", got, want)
		}
		if n := c.Stats(); n.Retries != 2 || n.DeadLetters != 1 {
			t.Errorf("it counts %+v", n)
		}
	})
}

// A letter has all of its record, and of a panic the stack.
func TestADeadLetterIsTheRecord(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		topic := declare(t, s, "orders", TopicConfig{})
		p := newProducer(t, topic, ProducerOptions{})
		in := []Record{{Key: []byte("k"), Value: []byte("v"), Time: 7, Headers: []Header{{Key: "h", Value: []byte("1")}}}}
		if _, err := p.Append(context.Background(), 0, in); err != nil {
			t.Fatal(err)
		}
		c := startConsumer(t, s, ConsumerOptions{OnFailure: DeadLetter("lost-letters")}, func(context.Context, *Delivery) error { panic("no stamps") })
		synctest.Wait()
		closeConsumerOK(t, c)
		l := allOf(t, s, "lost-letters")[0]
		if string(l.Key) != "k" || string(l.Value) != "v" || l.Time != 7 || header(&l, "h") != "1" || !strings.Contains(header(&l, HeaderStack), "consumer_policies_test.go") {
			t.Errorf("the letter is %+v", l)
		}
	})
}

// A record as large as a topic takes still fits into a letter.
func TestALetterThatWouldBeTooLarge(t *testing.T) {
	o := &ConsumerOptions{Group: "mailers"}
	for name, r := range map[string]Record{
		"value":   {Value: make([]byte, 1<<20)},
		"headers": {Value: []byte("v"), Headers: make([]Header, 64)},
		"bytes":   {Value: []byte("v"), Headers: []Header{{Key: "h", Value: make([]byte, 64<<10-1)}}},
	} {
		l := letter(o, &Delivery{Record: r}, dataflow.Protect(func() error { panic(strings.Repeat("x", 1<<20)) }))
		if err := limitsCheck(l); err != nil || header(l, HeaderGroup) != "mailers" || len(l.Value) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Jitter stays below its ceiling, which doubles up to the cap.
func TestBackoff(t *testing.T) {
	b := Backoff{Attempts: Forever, Base: 100 * time.Millisecond, Cap: time.Second}
	p := RetryInPlace(b, Skip())
	for here, ceiling := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond, 5: time.Second, 1 << 40: time.Second} {
		if got := b.ceiling(here); got != ceiling {
			t.Errorf("after %d attempts it waits up to %v, want %v", here, got, ceiling)
		}
		least, most := ceiling, time.Duration(0)
		for range 200 {
			v := p.Failed(context.Background(), &Delivery{here: here}, errStamps)
			if v.action != verdictRetry || v.after < 0 || v.after > ceiling {
				t.Fatalf("after %d attempts: %+v", here, v)
			}
			least, most = min(least, v.after), max(most, v.after)
		}
		if least > ceiling/4 || most < ceiling*3/4 {
			t.Errorf("after %d attempts it waits %v to %v of %v: that is no full jitter", here, least, most, ceiling)
		}
	}
}

func TestIfErrorSaysWhatIsNotTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		publish(t, s, 0, "bad", "b")
		var n diary
		c := startConsumer(t, s, ConsumerOptions{OnFailure: IfError(errStamps, Skip(), RetryInPlace(Backoff{}, StopOnFailure{}))}, n.failing("bad"))
		synctest.Wait()
		n.expect(t, "bad b")
		if got := c.Stats().Skipped; got != 1 {
			t.Errorf("it has skipped %d", got)
		}
		closeConsumerOK(t, c)
	})
}

// While a letter cannot be stored its record is not done; when it can, it is.
func TestALetterWaitsForTheDisk(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		store := storagefake.New()
		on(t, store, func(s *System) {
			declare(t, s, "orders", TopicConfig{})
			publish(t, s, 0, "bad", "b")
			var n diary
			hold := make(chan struct{})
			c := startConsumer(t, s, ConsumerOptions{OnFailure: DeadLetter("lost-letters")}, func(ctx context.Context, d *Delivery) error {
				<-hold
				return n.failing("bad")(ctx, d)
			})
			store.SetFull(true)
			close(hold)
			time.Sleep(10 * time.Minute)
			n.expect(t, "bad")
			store.SetFull(false)
			time.Sleep(time.Minute)
			synctest.Wait()
			n.expect(t, "bad b")
			closeConsumerOK(t, c)
			committedAt(t, s, 2)
			if got := len(allOf(t, s, "lost-letters")); got != 1 {
				t.Errorf("there are %d letters", got)
			}
		})
		time.Sleep(time.Second)
	})
}

func TestPoliciesAreChecked(t *testing.T) {
	s := logSystem(t, storagefake.New())
	declare(t, s, "orders", TopicConfig{})
	for says, p := range map[string]FailurePolicy{
		"its letters would come back": DeadLetter("orders"),
		"a name consists of":          RetryInPlace(Backoff{}, DeadLetter("No")),
		"Attempts must be positive":   If(nil, Skip(), RetryInPlace(Backoff{Attempts: -2}, Skip())),
		"its last argument is nil":    RetryInPlace(Backoff{}, nil),
	} {
		_, err := s.NewConsumer(testContext(t), ConsumerOptions{Group: "mailers", Topics: []string{"orders"}, OnFailure: p}, new(diary).handle)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want an error that says %q", err, says)
		}
	}
}

// A letter that its topic never takes stops the partition, and is not tried for ever.
func TestALetterWithoutAKey(t *testing.T) {
	bubble(t, func(t *testing.T, s *System) {
		declare(t, s, "orders", TopicConfig{})
		declare(t, s, "letters", TopicConfig{Compaction: Compaction{Enabled: true}})
		publish(t, s, 0, "a")
		c := startConsumer(t, s, ConsumerOptions{OnFailure: DeadLetter("letters")}, newSick("a").handle)
		synctest.Wait()
		if err := c.Close(context.Background()); !errors.Is(err, ErrNoKey) {
			t.Errorf("it ended with %v", err)
		}
	})
}
