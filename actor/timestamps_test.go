package actor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// timesOf are the times of all records of a partition.
func timesOf(t *testing.T, topic *Topic) []int64 {
	t.Helper()
	r := openReader(t, topic, 0, FromBeginning())
	var all []int64
	for {
		batch, err := r.TryNext(testContext(t))
		if errors.Is(err, ErrEnd) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		for rec := (Record{}); batch.Next(&rec); {
			all = append(all, rec.Time)
		}
	}
}

// Records of such a topic have the time of the partition, whatever theirs was and
// whoever appended them; what it is then altered to holds for what follows.
func TestAppendTime(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		ctx := context.Background()
		s := NewSystem(storagefake.New())
		topic := declare(t, s, "orders", TopicConfig{Timestamps: LogAppendTime})
		p := newProducer(t, topic, ProducerOptions{ID: "job"})
		began := time.Now()
		at := func(minutes int) int64 { return began.Add(time.Duration(minutes) * time.Minute).UnixMilli() }
		create := at(1000)
		some := []Record{{Key: []byte("k"), Value: []byte("v"), Time: create, Headers: []Header{{Key: "h", Value: []byte("x")}}}, {Time: NoTime}}
		if _, err := p.Append(ctx, 0, some); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		pub, err := topic.NewPublisher(ctx, PublisherOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pub.PublishSync(ctx, 0, &some[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		again := newProducer(t, topic, ProducerOptions{ID: "job", Epoch: 1})
		if ack, err := again.Append(ctx, 0, append(some, some[0])); err != nil || ack.Duplicates != 2 {
			t.Errorf("sent again: %+v, %v", ack, err)
		}
		if some[0].Time != create {
			t.Error("the caller's record was changed")
		}
		if _, err := s.AlterTopic(ctx, "orders", func(c *TopicConfig) { c.Timestamps = CreateTime }); err != nil {
			t.Fatal(err)
		}
		if _, err := again.Append(ctx, 0, some); err != nil {
			t.Fatal(err)
		}
		want := []int64{at(0), at(0), at(1), at(2), create, NoTime}
		if got := timesOf(t, topic); len(got) != len(want) {
			t.Errorf("the times are %v", got)
		} else {
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("record %d has time %d, want %d", i, got[i], want[i])
				}
			}
		}
		if err := errors.Join(pub.Close(ctx), p.Close(ctx), again.Close(ctx), s.Close(ctx)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTimestampsAreDeclared(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	declare(t, s, "orders", TopicConfig{Timestamps: LogAppendTime})
	if _, err := s.Declare(testContext(t), "orders", TopicConfig{}); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "timestamps append, not create") {
		t.Errorf("another declaration: %v", err)
	}
	if _, err := s.Declare(testContext(t), "other", TopicConfig{Timestamps: 9}); err == nil {
		t.Error("timestamps that there are not were taken")
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	s = logSystem(t, store.Restart())
	topic, err := s.Topic(testContext(t), "orders")
	if err != nil || topic.Config().Timestamps != LogAppendTime {
		t.Errorf("after a restart: %+v, %v", topic, err)
	}
}
